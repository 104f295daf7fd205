"""One logical call on its way through the rooms, and what it inherits from the code around it."""

from __future__ import annotations

import math
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resilience.core.attempt import Attempt
    from resilience.core.endpoint import Endpoint
    from resilience.core.events import Event
    from resilience.core.outcome import Verdict
    from resilience.core.ports import Classifier, Runtime

NEVER = math.inf


@dataclass(frozen=True, slots=True)
class Ambient:
    """What the surrounding code has decided for every call made inside it."""

    deadline: float = NEVER
    """The instant, in the runtime's monotonic seconds, by which everything inside must be done."""
    runtime: Runtime | None = None
    """A runtime that replaces the real ones (virtual time in tests)."""


ambient: ContextVar[Ambient | None] = ContextVar("resilience_ambient", default=None)


class Call:
    """One logical call: its deadline, what may be repeated, and what has been tried so far.

    Mutable and slotted, because one is made per call and it lives for microseconds. Durations are seconds, instants
    are the runtime's monotonic seconds. A policy may change `deadline` for the rooms inside it, and restores it.
    """

    __slots__ = (
        "attempts",
        "classify",
        "deadline",
        "discard",
        "elsewhere",
        "emit",
        "key",
        "operation",
        "patience",
        "repeatable",
        "request",
        "runtime",
        "sends_left",
        "started",
        "tried",
        "verdict",
        "why",
    )

    def __init__(
        self,
        runtime: Runtime,
        request: Any,  # noqa: ANN401 - whatever the innermost room understands: an httpx.Request, or (args, kwargs)
        started: float,
        *,
        deadline: float = NEVER,
        operation: str = "",
        repeatable: bool = True,
        classify: Classifier | None = None,
    ) -> None:
        self.runtime = runtime
        self.request = request
        self.started = started
        self.deadline = deadline
        self.operation = operation
        self.repeatable = repeatable
        self.classify = classify
        self.attempts: list[Attempt] = []
        """Every send so far, oldest first; each settles exactly once."""
        self.tried: tuple[Endpoint, ...] = ()
        self.sends_left: float = math.inf
        self.patience = NEVER
        """Seconds this call is ready to queue for a free slot (httpx's pool timeout)."""
        self.key: str | None = None
        """What an affinity balancer pins the call by."""
        self.verdict: Verdict | None = None
        """The verdict of the latest attempt, where an inner room has reached one."""
        self.elsewhere: Callable[[], bool] | None = None
        """Is an endpoint ready that this call has not tried? None where there are no endpoints."""
        self.discard: Callable[[Any], Awaitable[None]] | None = None
        """Drops a reply that will not be handed out; None where replies hold nothing."""
        self.emit: Callable[[Event], None] | None = None
        """Tells the listeners; None where there are none."""
        self.why = ""
        """Why the retry policy stopped: ``budget``, ``deadline``, ``attempts`` … for the record."""

    def remaining(self) -> float:
        """Return the seconds left until the deadline; negative once it has passed, infinite without one."""
        return self.deadline - self.runtime.now()
