"""How this machine resolves names: nameservers, suffixes and the hosts file, as its administrator set them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import dns.exception
import dns.name

from resilience.core.endpoint import Address
from resilience.core.hostport import ip

if TYPE_CHECKING:
    from collections.abc import Iterable

HOSTS = "/etc/hosts" if os.name == "posix" else r"C:\Windows\System32\drivers\etc\hosts"
DNS_PORT = 53
_LOCAL = Address("127.0.0.1", DNS_PORT)
"""Whom glibc asks where nothing is configured."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Nameservers in their order, and the suffixes tried for a name with fewer than `ndots` dots."""

    servers: tuple[Address, ...]
    suffixes: tuple[dns.name.Name, ...] = ()
    ndots: int = 1

    def candidates(self, name: str, /) -> list[dns.name.Name]:
        """Return the absolute names that `name` may stand for, in the order of the system's resolver."""
        given = dns.name.from_text(name, None)
        if given.is_absolute():
            return [given]
        absolute = given.concatenate(dns.name.root)
        expanded: list[dns.name.Name] = []
        for suffix in self.suffixes:
            try:
                expanded.append(given.concatenate(suffix))
            except dns.exception.DNSException:  # together longer than a name can be
                continue
        return [absolute, *expanded] if len(given) > self.ndots else [*expanded, absolute]


def read_configuration(path: str | None = None, /) -> Configuration:
    """Return the machine's configuration: ``/etc/resolv.conf``, the registry on Windows, or a file by its `path`."""
    from dns import resolver  # noqa: PLC0415 - loads much that not every client needs

    try:
        found = resolver.Resolver(path or "/etc/resolv.conf")
    except (resolver.NoResolverConfiguration, dns.exception.DNSException, ValueError):
        return Configuration((_LOCAL,))
    servers = tuple(Address(server, DNS_PORT) for server in found.nameservers if isinstance(server, str))
    domain = () if found.domain in {None, dns.name.root} else (found.domain,)
    ndots = 1 if found.ndots is None else found.ndots
    return Configuration(servers or (_LOCAL,), tuple(found.search) or domain, ndots)


def listed_in_hosts(name: str, path: str = HOSTS, /) -> tuple[str, ...]:
    """Return the hosts file's addresses for `name`; none when it is not listed, or there is no such file."""
    try:
        state = Path(path).stat()
        names = _read_hosts(path, state.st_mtime_ns, state.st_size)
    except OSError:
        return ()
    return names.get(name.removesuffix(".").lower(), ())


@lru_cache(maxsize=2)
def _read_hosts(path: str, *_stamp: int) -> dict[str, tuple[str, ...]]:
    with Path(path).open(encoding="utf-8", errors="replace") as lines:
        return parse_hosts(lines)


def parse_hosts(lines: Iterable[str], /) -> dict[str, tuple[str, ...]]:
    """Return the addresses of each name (lower case), in the file's order; lines of nonsense are skipped."""
    names: dict[str, dict[str, None]] = {}
    for line in lines:
        fields = line.partition("#")[0].split()
        address = ip(fields[0]) if fields else None
        if address is not None:
            for name in fields[1:]:
                names.setdefault(name.lower(), {})[address] = None
    return {name: tuple(addresses) for name, addresses in names.items()}
