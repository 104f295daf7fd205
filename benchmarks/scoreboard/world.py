"""What subjects call: replicas behind a DNS name, gateways in front of them, and the faults."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from benchmarks.scoreboard import network
from benchmarks.scoreboard.grpc_twin import GrpcFleet
from benchmarks.scoreboard.told import Told
from resilience.lab import DnsServer, Fleet

if TYPE_CHECKING:
    from benchmarks.scoreboard.scenarios import Scenario
    from resilience.lab import Server

PORT = 8080
WEB = "web.lab.internal"
_GATEWAYS = ("front.lab.internal", "middle.lab.internal")
_SLOWER = 19
"""Service times that a slow replica takes in addition."""


@dataclass(slots=True)
class Service:
    """One tier: its name, its addresses, and where its proxy would listen."""

    name: str
    hosts: list[str]
    port: int
    via: str


@dataclass(slots=True)
class World:
    """Servers, names, gateways. The tiers, outermost first; the last one is the lab's fleet."""

    scenario: Scenario
    subject: str
    proxied: bool
    round: int = 1
    grpc: bool = False
    fleet: Fleet = field(init=False)
    dns: DnsServer = field(init=False)
    services: list[Service] = field(init=False)
    gateways: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Describe; nothing runs yet."""
        plan = self.scenario
        kind = GrpcFleet if self.grpc else Fleet
        self.fleet = kind(plan.replicas, "10.77.0.1{i}", PORT, service_time=plan.service_time, workers=plan.workers)
        self.dns = DnsServer(network.NAMESERVER, 53, rotate=True)
        self.services = [
            Service(name, [f"10.77.{tier}.11", f"10.77.{tier}.12"], PORT, f"{network.PROXY}:{8000 + tier}")
            for tier, name in enumerate(_GATEWAYS[: plan.tiers - 1], 1)
        ]
        self.services.append(Service(WEB, self.fleet.hosts, PORT, f"{network.PROXY}:8000"))

    def __enter__(self) -> Self:
        """Start servers and names."""
        self.fleet.start()
        self.dns.start()
        for service in self.services:
            self.dns.set(service.name, "A", service.hosts, self.scenario.ttl)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all."""
        for gateway in self.gateways:
            gateway.kill()
        self.dns.stop()
        for server in self.fleet:
            if server.alive:
                server.kill()

    def told(self, service: Service) -> Told:
        """Return what a subject is told about one tier."""
        plan, via = self.scenario, service.via if self.proxied else ""
        return Told(name=service.name, port=service.port, attempt=plan.attempt, total=plan.total, via=via)

    def start_gateways(self) -> None:
        """Start what stands between the tiers: each hands its calls on through the subject."""
        for here, below in reversed(list(zip(self.services, self.services[1:], strict=False))):
            command = [sys.executable, "-m", "benchmarks.scoreboard.gateway", self.subject, self.told(below).text()]
            pipe = subprocess.PIPE
            gateway = subprocess.Popen(
                [*command, json.dumps([here.hosts, here.port])], stdin=pipe, stdout=pipe, text=True
            )
            self.gateways.append(gateway)
            assert gateway.stdout is not None
            gateway.stdout.readline()

    # -- faults: on the victim, unless said otherwise

    @property
    def victim(self) -> Server:
        """The replica that fails: another one in each round.

        A client that stays with one address would otherwise be hit always or never. Numbered as the addresses are, which
        is the order the system's resolver gives them before DNS rotates them: RFC 6724 knows no difference between them,
        but for the last of eleven.
        """
        return self.fleet[(self.round - 1) % self.scenario.replicas]

    def kill(self) -> None:
        """Kill it: connections are refused."""
        self.victim.kill()

    def start(self) -> None:
        """Start it again."""
        self.victim.start()

    def restart(self) -> None:
        """Restart it at once: whoever was connected has to dial again."""
        self.victim.restart()

    def hang(self) -> None:
        """Stop its clock."""
        self.victim.hang()

    def resume(self) -> None:
        """Let it go on."""
        self.victim.resume()

    def hang_reports(self) -> None:
        """Answer nothing that is asked of one path, everywhere."""
        for server in self.fleet:
            server.fault(delay=30.0, path="/reports")

    def slow(self) -> None:
        """Make it 20 times as slow."""
        self.victim.fault(delay=_SLOWER * self.scenario.service_time)

    def reset(self) -> None:
        """Reset connections once the request was read."""
        self.victim.fault(reset="after")

    def refuse_one(self) -> None:
        """Answer 503 to 30 % of the requests."""
        self.victim.fault(status=503, ratio=0.3)

    def refuse_all(self) -> None:
        """Answer 503 to 30 % of the requests, everywhere."""
        for server in self.fleet:
            server.fault(status=503, ratio=0.3)

    def refuse_everything(self) -> None:
        """Answer 503 to every request, everywhere."""
        for server in self.fleet:
            server.fault(status=503)

    def halve(self) -> None:
        """Make every answer cost twice the work."""
        for server in self.fleet:
            server.fault(delay=self.scenario.service_time)

    def mend(self) -> None:
        """End the faults that servers know."""
        for server in self.fleet:
            server.fault()

    def black_hole(self) -> None:
        """Let packets to it vanish."""
        network.black_hole(self.victim.host, PORT)

    def clear(self) -> None:
        """Let them pass."""
        network.clear()

    def silence(self) -> None:
        """Make DNS silent."""
        self.dns.fault("silent")

    def speak(self) -> None:
        """Let DNS answer."""
        self.dns.fault()

    def replace(self) -> None:
        """Start a replica under a new address, tell DNS, and let an old one finish what it is answering."""
        web = self.services[-1]
        old = next(server for server in self.fleet if server.host == web.hosts[0])
        web.hosts = [*web.hosts[1:], self.fleet.add().host]
        self.dns.set(web.name, "A", web.hosts, self.scenario.ttl)
        old.stop(grace=1.0)
