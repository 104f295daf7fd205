"""One address of a service, with all that any room needs to know of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resilience.core.slots import Line, Slots

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilience.core.ports import AdaptiveSlots, Circuit, Route


@dataclass(frozen=True, slots=True)
class Address:
    """Where to dial: an IP address (or a name, where the dial resolves it) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return ``host:port``, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


# RFC 6298 smooths round-trip times with 1/8; a peak is followed at once, as Finagle's peak EWMA does.
_SMOOTHING = 0.125
# An endpoint seems to hang when so many attempts wait for it, the first of them for at least so many seconds and three
# times what its answers usually take. Five: so many failures in a row open a circuit. Unknown: RFC 8305's for a dial.
SILENT = 5
HUNG_AFTER = 0.05
HUNG_FACTOR = 3.0
UNKNOWN_PATIENCE = 0.25


class Endpoint:
    """One replica of a service: address, in-flight count, latency estimate, circuit, health.

    Each cause of not being ready is a flag of its own, so that ``status()`` can name it. The object outlives refreshes
    of the address list: its state belongs to the identity (address, port, name), not to one DNS answer.
    """

    label: str
    """``host:port``; written when it is first read."""

    __slots__ = (
        "adaptive",
        "address",
        "answers",
        "circuit",
        "draining",
        "ejected",
        "fit",
        "healthy",
        "label",
        "latency",
        "make_circuit",
        "panic",
        "route",
        "silent",
        "silent_since",
        "slots",
        "tier",
        "usual",
        "weight",
    )

    def __init__(
        self,
        address: Address,
        *,
        weight: float = 1.0,
        tier: int = 0,
        limit: float = math.inf,
        line: Line | None = None,
        circuit: Circuit | None = None,
        make_circuit: Callable[[], Circuit] | None = None,
    ) -> None:
        self.address = address
        self.weight = weight
        """Relative share of the traffic; above 0."""
        self.tier = tier
        """Lower tiers are used first (SRV priority)."""
        self.slots = Slots(limit, line)
        self.make_circuit = make_circuit
        """Makes the circuit when somebody first looks at it: of ten thousand endpoints few are ever called."""
        if make_circuit is None:
            self.circuit = circuit
        self.adaptive: AdaptiveSlots | None = None
        """What moves the limit of `slots` with what is learnt of the endpoint; None where nothing does."""
        self.latency: float | None = None
        """Smoothed seconds from send to headers, what was cut included; None before the first answer."""
        self.usual: float | None = None
        """The same of its answers alone: a hung endpoint shall not come to be measured by its own hanging."""
        self.silent = 0
        """Attempts begun since it last answered one."""
        self.silent_since = 0.0
        """When the first of them began."""
        self.answers = True
        """The latest verdict was not BAD: an unsent call can move here without being a burden."""
        self.route: Route | None = None
        """How to find out where to dial, where that is not simply `address`."""
        self.healthy = True
        self.draining = False
        self.ejected = False
        self.panic = False
        """Too few of its service are well: calls come here whatever is said of its health."""
        self.fit = True
        """Present, healthy, not draining, not ejected: what does not change from call to call."""

    if not TYPE_CHECKING:  # pragma: no branch  # it would hide every mistyped name

        def __getattr__(self, name: str) -> object:
            """Make what was left out: label and circuit, until they are first read; of many they never are."""
            if name == "label":
                self.label = str(self.address)
                return self.label
            if name != "circuit" or self.make_circuit is None:
                raise AttributeError(name)
            with self.slots.lock:
                try:  # another thread may have been faster, and two circuits would count apart
                    return object.__getattribute__(self, name)
                except AttributeError:
                    self.circuit = self.make_circuit()
                    return self.circuit

    def __repr__(self) -> str:
        return f"<Endpoint {self.label}>"

    def mark(
        self,
        *,
        healthy: bool | None = None,
        draining: bool | None = None,
        ejected: bool | None = None,
        panic: bool | None = None,
    ) -> None:
        """Change one of the lasting causes of (un)readiness. In a panic neither health nor ejection counts."""
        if healthy is not None:
            self.healthy = healthy
        if draining is not None:
            self.draining = draining
        if ejected is not None:
            self.ejected = ejected
        if panic is not None:
            self.panic = panic
        self.fit = not self.draining and (self.panic or (self.healthy and not self.ejected))

    @property
    def well(self) -> bool:
        """Neither active checks nor ejection speak against it."""
        return self.healthy and not self.ejected

    def open_to(self, now: float, /) -> bool:
        """Say whether a call would be let in as soon as a slot is free."""
        return self.fit and (self.circuit is None or self.circuit.would_admit(now))

    def ready(self, now: float, /) -> bool:
        """Say whether a call may be sent here now."""
        return (
            self.fit and self.slots.taken < self.slots.limit and (self.circuit is None or self.circuit.would_admit(now))
        )

    def hangs(self, now: float, /) -> bool:
        """Say whether it seems to hang: several attempts wait, and for longer than any answer of its usually takes.

        A black hole and a stopped process swallow whatever is sent until the first time limit ends. No reason to
        refuse a call, but one to prefer another endpoint.
        """
        if self.silent < SILENT or not self.slots.taken:
            return False
        usual = self.usual
        patience = UNKNOWN_PATIENCE if usual is None else max(HUNG_AFTER, HUNG_FACTOR * usual)
        return now - self.silent_since > patience

    def not_ready_because(self, now: float, /) -> tuple[str, ...]:
        """Name every cause of not being ready: ``draining``, ``unhealthy``, ``ejected``, ``circuit``, ``full``."""
        causes = {
            "draining": self.draining,
            "unhealthy": not self.healthy and not self.panic,
            "ejected": self.ejected and not self.panic,
            "circuit": self.circuit is not None and not self.circuit.would_admit(now),
            "full": self.slots.taken >= self.slots.limit,
        }
        return tuple(name for name, holds in causes.items() if holds)

    def observe(self, seconds: float, /, *, answered: bool = False) -> None:
        """Let one latency enter the estimate; that of an answer, what is usual too."""
        self.latency = _smoothed(self.latency, seconds)
        if answered:
            self.usual = _smoothed(self.usual, seconds)


def _smoothed(known: float | None, seconds: float) -> float:
    return seconds if known is None else known + _SMOOTHING * (seconds - known)
