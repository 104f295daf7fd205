"""Frozen facts handed to listeners. Names, fields and levels are stable; ``docs/events.md`` lists them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

DEBUG, INFO, WARNING = 10, 20, 30  # the stdlib's numbers; core imports no logging


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to `service` (``host:port``)."""

    name: ClassVar[str] = ""
    service: str

    @property
    def level(self) -> int:
        """How loud: 10 for attempts, 20 for changes and calls that needed help, 30 for failures."""
        return INFO


@dataclass(frozen=True, slots=True)
class AttemptEnded(Event):
    """One attempt has got its verdict. Durations are seconds."""

    name: ClassVar[str] = "attempt"
    endpoint: str
    number: int
    blame: str
    duration: float
    status: int | None = None
    error: str | None = None

    @property
    def level(self) -> int:
        """Attempts are for debugging."""
        return DEBUG


@dataclass(frozen=True, slots=True)
class RetryScheduled(Event):
    """A failed attempt will be followed by another, `wait` seconds from now."""

    name: ClassVar[str] = "retry"
    operation: str
    attempt: int
    wait: float
    reason: str

    @property
    def level(self) -> int:
        """A retry is a detail of its call: the call's own event says that help was needed."""
        return DEBUG


@dataclass(frozen=True, slots=True)
class HedgeSent(Event):
    """A call is sent once more, `after` seconds from its first send: that is late, or has failed."""

    name: ClassVar[str] = "hedge"
    operation: str
    attempt: int
    after: float

    @property
    def level(self) -> int:
        """A second send is a detail of its call, as a retry is."""
        return DEBUG


@dataclass(frozen=True, slots=True)
class CallEnded(Event):
    """One logical call is over: what was tried, for how long, with which outcome."""

    name: ClassVar[str] = "call"
    method: str
    operation: str
    attempts: int
    endpoints: tuple[str, ...]
    waited: float
    duration: float
    outcome: str
    """``ok``, ``status`` (a final answer of 5xx), ``failed``, ``rejected``, ``deadline`` or ``cancelled``."""
    status: int | None = None
    error: str | None = None
    stopped: str | None = None
    """Why no further attempt was made: ``budget``, ``deadline``, ``attempts``, ``not repeatable`` …"""

    @property
    def level(self) -> int:
        """WARNING for a final failure, INFO for a call that needed help, DEBUG for the plain success."""
        if self.outcome in {"failed", "rejected", "deadline", "status"}:
            return WARNING
        return INFO if self.attempts > 1 else DEBUG


@dataclass(frozen=True, slots=True)
class CircuitChanged(Event):
    """A circuit opened, half-opened or closed."""

    endpoint: str
    state: str
    reason: str
    open_for: float | None = None
    """Seconds until the next probe, when it opened."""

    @property
    def name(self) -> str:  # type: ignore[override]
        """``circuit_opened``, ``circuit_half_open`` or ``circuit_closed``."""
        return {"open": "circuit_opened", "half-open": "circuit_half_open", "closed": "circuit_closed"}[self.state]


@dataclass(frozen=True, slots=True)
class EndpointsChanged(Event):
    """The set of addresses of a service is another one now."""

    name: ClassVar[str] = "endpoints_changed"
    added: tuple[str, ...]
    removed: tuple[str, ...]
    total: int
    source: str


@dataclass(frozen=True, slots=True)
class HealthChanged(Event):
    """An active health check changed its mind about an endpoint."""

    name: ClassVar[str] = "health_changed"
    endpoint: str
    healthy: bool
    reason: str


@dataclass(frozen=True, slots=True)
class EndpointEjected(Event):
    """An endpoint fails more often than the others: it is left out for a while."""

    name: ClassVar[str] = "endpoint_ejected"
    endpoint: str
    ejected_for: float
    """Seconds until it takes part again."""
    rate: float
    """Its success rate since it was last judged."""
    expected: float
    """What the others make one expect, less what is left to chance."""


@dataclass(frozen=True, slots=True)
class EndpointReturned(Event):
    """An endpoint that was ejected takes part again."""

    name: ClassVar[str] = "endpoint_returned"
    endpoint: str


@dataclass(frozen=True, slots=True)
class PanicChanged(Event):
    """So few endpoints of a service are well that health and ejection are ignored; or no longer so few."""

    name: ClassVar[str] = "panic"
    panic: bool
    well: int
    """Endpoints that are healthy and not ejected."""
    total: int

    @property
    def level(self) -> int:
        """Worth a warning while it begins: what is left would not carry the load."""
        return WARNING if self.panic else INFO


@dataclass(frozen=True, slots=True)
class ResolutionFailed(Event):
    """A name could not be resolved; the last good set stays in use, if there is one."""

    name: ClassVar[str] = "resolution_failed"
    reason: str
    retry_in: float
    kept: int = field(default=0)
    """Addresses still in use."""

    @property
    def level(self) -> int:
        """Worth a warning: calls may soon fail."""
        return WARNING
