"""What passes between a circuit and its callers: options, permits, refusals, changes of state."""

from __future__ import annotations

from dataclasses import dataclass

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half-open"


@dataclass(frozen=True, slots=True)
class CircuitOptions:
    """When a circuit opens, and for how long. Durations are seconds."""

    failure_ratio: float = 0.5
    minimum_calls: int = 10
    window: float = 10.0
    consecutive_failures: int = 5
    open_for: float = 1.0
    max_open_for: float = 60.0
    probes: int = 1
    slow_after: float | None = None
    slow_ratio: float = 0.5
    slow_start: float | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of state and its reason; `open_for` in seconds when it opened."""

    state: str
    reason: str
    open_for: float | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """No leave for this call; `retry_after` seconds until it is worth asking again."""

    retry_after: float


class Permit:
    """Leave for one call, good for one verdict."""

    __slots__ = ("failures", "generation", "since", "spent")

    probe: bool = False
    lease_until: float = 0.0
    transition: Transition | None = None

    def __init__(self, generation: int, failures: int = 0) -> None:
        self.generation = generation
        self.failures = failures
        """Failures that its circuit had counted towards a run, ever, when it was handed out."""
        self.spent = False
        self.since: float | None = None
        """When the call began, where that is not when it was let in."""


class ProbePermit(Permit):
    """Leave for a call that tests whether a half-open circuit may close."""

    __slots__ = ("lease_until", "transition")

    probe = True

    def __init__(self, generation: int, lease_until: float, transition: Transition | None) -> None:
        super().__init__(generation)
        self.lease_until = lease_until
        """The instant after which it counts as lost."""
        self.transition = transition
        """The change of state that handing out this permit caused, if it did."""
