"""Several servers on one port number, one loopback address each."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any, ClassVar, Self

from resilience.lab.ports import common_port
from resilience.lab.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Fleet"]


class Fleet:
    """``n`` servers named a, b, c … on ``127.0.1.1``, ``127.0.1.2`` … and one port: a service's replicas.

    Iterable and indexable; started together, in well under half a second.
    """

    kind: ClassVar[type[Server]] = Server
    """What each server is; subclasses may have servers of another program."""

    def __init__(self, n: int, host_pattern: str = "127.0.1.{i}", port: int = 0, **options: Any) -> None:  # noqa: ANN401
        """Describe the fleet; nothing runs yet.

        Args:
            n: how many servers, at least 1.
            host_pattern: the address of each; ``{i}`` counts from 1.
            port: 0 picks one that is free on every address.
            options: further keywords of :class:`Server`.

        """
        if n < 1:
            message = f"n={n!r}: must be at least 1"
            raise ValueError(message)
        self._pattern = host_pattern
        self._options = options
        hosts = [host_pattern.format(i=i) for i in range(1, n + 1)]
        self.port = port or common_port(hosts)
        self.servers: list[Server] = [self._describe(i) for i in range(1, n + 1)]

    def _describe(self, i: int) -> Server:
        letters = string.ascii_lowercase
        name = letters[i - 1] if i <= len(letters) else f"s{i}"
        return self.kind(self._pattern.format(i=i), self.port, name=name, **self._options)

    def __enter__(self) -> Self:
        """Start all."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop all."""
        self.stop()

    def __iter__(self) -> Iterator[Server]:
        """Go through the servers in the order of their addresses."""
        return iter(self.servers)

    def __len__(self) -> int:
        """Count the servers, running or not."""
        return len(self.servers)

    def __getitem__(self, index: int) -> Server:
        """Give one server."""
        return self.servers[index]

    def start(self) -> Self:
        """Start the processes side by side and wait until all answer."""
        begun: list[Server] = []
        try:
            for server in self.servers:
                if not server.alive:
                    server.begin()
                    begun.append(server)
            for server in begun:
                server.ready()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop all."""
        for server in self.servers:
            server.stop()

    def add(self) -> Server:
        """Start one more server, under the next address."""
        server = self._describe(len(self.servers) + 1).start()
        self.servers.append(server)
        return server

    @property
    def addresses(self) -> list[str]:
        """``host:port`` of each."""
        return [server.address for server in self.servers]

    @property
    def hosts(self) -> list[str]:
        """The IP address of each: the values of an A record."""
        return [server.host for server in self.servers]
