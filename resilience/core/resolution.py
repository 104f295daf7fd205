"""What a name stands for, as a resolver found it."""

from __future__ import annotations

from dataclasses import dataclass

from resilience.core.endpoint import Address


@dataclass(frozen=True, slots=True)
class Target:
    """The upstream as the URL names it: host (lower case, IDNA-encoded), port, and whether TLS is spoken."""

    host: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        """Return ``host:port``."""
        return str(Address(self.host, self.port))


@dataclass(frozen=True, slots=True)
class Replica:
    """One address of a service, with its weight (above 0) and its tier (lower ones are used first)."""

    address: Address
    weight: float = 1.0
    tier: int = 0


@dataclass(frozen=True, slots=True)
class Resolution:
    """An answer: the replicas, how long it may be trusted, and where it comes from."""

    replicas: tuple[Replica, ...]
    ttl: float
    """Seconds until it should be asked for again; infinite for a static list."""
    source: str
    """``static``, ``dns``, ``system``, ``hosts`` or ``literal``."""
    fleet: bool = True
    """Each address a replica of its own (balanced), or all of them ways to one origin (dial candidates)."""
    why: str = ""
    """Why it is a fleet, or one origin: shown by ``describe()``."""
