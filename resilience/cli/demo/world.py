"""The world that is put under fire: six server processes and a DNS server, all on loopback."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Self

from resilience.lab import DnsServer, Fleet

if TYPE_CHECKING:
    from resilience.lab import Server

NAME = "web.demo.internal"
"""The service's name, known to the demo's DNS server alone."""
TTL = 5
"""Seconds for which its records may be kept."""
SIZE = 6
_SERVICE_TIME = 0.08
_SLOW = 0.5


class World:
    """Servers a to f behind one name; `moods` says what is wrong with each of them."""

    def __init__(self) -> None:
        self.fleet = Fleet(SIZE, service_time=_SERVICE_TIME)
        self.dns = DnsServer(rotate=True)
        self.living: list[Server] = list(self.fleet)
        """The replicas DNS knows of."""
        self.moods: dict[str, str] = {}
        """What is wrong, by the server's name."""

    def __enter__(self) -> Self:
        self.fleet.start()
        try:
            self.dns.start()
            self._publish()
        except BaseException:
            self.fleet.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.dns.stop()
        for server in self.fleet:
            if server.alive:
                server.kill()
            server.stop()

    def _publish(self) -> None:
        self.dns.set(NAME, "A", [server.host for server in self.living], TTL)

    def _feel(self, mood: str | None, *indexes: int) -> list[Server]:
        servers = [self.fleet[index] for index in indexes]
        for server in servers:
            if mood is None:
                self.moods.pop(server.name, None)
            else:
                self.moods[server.name] = mood
        return servers

    @property
    def url(self) -> str:
        """What both sides ask for."""
        return f"http://{NAME}:{self.fleet.port}/items"

    def reads(self) -> Counter[str]:
        """Count the requests the servers have read, by the side that sent them."""
        return Counter(seen.id.partition("-")[0] for server in self.fleet for seen in server.requests)

    # The faults, each with what mends it.

    def kill(self) -> None:
        """Kill a and b."""
        for server in self._feel("killed", 0, 1):
            server.kill()

    def revive(self) -> None:
        """Start them again, under their old addresses."""
        for server in self._feel(None, 0, 1):
            server.start()

    def hang(self) -> None:
        """Stop the clocks of c and d."""
        for server in self._feel("hung", 2, 3):
            server.hang()

    def resume(self) -> None:
        """Let them go on."""
        for server in self._feel(None, 2, 3):
            server.resume()

    def slow(self) -> None:
        """Slow e and f down."""
        for server in self._feel("slow", 4, 5):
            server.fault(delay=_SLOW)

    def speed_up(self) -> None:
        """Let them be as fast as before."""
        for server in self._feel(None, 4, 5):
            server.fault()

    def refuse(self) -> None:
        """Make a and b answer 503."""
        for server in self._feel("503", 0, 1):
            server.fault(status=503)

    def serve_again(self) -> None:
        """Let them answer."""
        for server in self._feel(None, 0, 1):
            server.fault()

    def replace(self) -> None:
        """Start two new servers, tell DNS, and kill c and d without a warning to anybody."""
        for old in self._feel("gone", 2, 3):
            self.living.remove(old)
            self.living.append(self.fleet.add())
            self._publish()
            old.kill()

    def nothing(self) -> None:
        """Nothing to mend: the new ones are here to stay."""

    def silence(self) -> None:
        """Make DNS silent, and restart e and f, so that whoever is connected to them has to dial again."""
        self.dns.fault("silent")
        for server in self._feel("restarted", 4, 5):
            server.restart()

    def speak(self) -> None:
        """Let DNS answer."""
        self._feel(None, 4, 5)
        self.dns.fault()
