"""One logical call on its way through the rooms, and what it inherits from the code around it."""

from __future__ import annotations

import math
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Self

    from resilience.core.attempt import Attempt
    from resilience.core.endpoint import Endpoint
    from resilience.core.events import Event
    from resilience.core.outcome import Verdict
    from resilience.core.ports import Classifier, Runtime

NEVER = math.inf


@dataclass(slots=True)
class Ambient:
    """What the surrounding code has decided for every call made inside it.

    A new one takes its place; changed itself by its maker only, for code that has inherited it and outlives its reason.
    Not frozen, because a frozen one takes four times as long to make, and every ``Timeout`` makes one per call.
    """

    deadline: float = NEVER
    """The instant, in the runtime's monotonic seconds, by which everything inside must be done."""
    runtime: Runtime | None = None
    """A runtime that replaces the real ones (virtual time in tests)."""


ambient: ContextVar[Ambient | None] = ContextVar("resilience_ambient", default=None)


class Elsewhere(IntEnum):
    """Is an endpoint ready that a call has not tried?"""

    NOWHERE = 0
    READY = 1
    ANSWERING = 2
    """Ready, and its latest verdict was not BAD."""


class Call:
    """One logical call: its deadline, what may be repeated, and what has been tried so far.

    Mutable, because one is made per call and it lives for microseconds; not slotted, because defaults on the class cost
    nothing and slots would have to be filled one by one, on every call. Durations are seconds, instants are the
    runtime's monotonic seconds. A policy may change `deadline` for the rooms inside it, and restores it.

    A call of a function has no endpoints; what only calls to endpoints need has its neutral value here
    (:class:`RoutedCall` fills it in).
    """

    repeatable: bool = True
    shareable: bool = True
    """Several sends of it may be under way at a time; not where all would read one file, which has one position."""
    classify: Classifier | None = None
    """Judges an attempt; None for a function, which each policy judges by itself."""
    sends_left: float = NEVER
    """Sends beyond those made that a policy further out still allows."""
    verdict: Verdict | None = None
    """The verdict of the latest attempt, where an inner room has reached one."""
    waited: float = 0.0
    """Seconds of backoff before the attempt that comes next."""
    why: str = ""
    """Why the retry policy stopped: ``budget``, ``deadline``, ``attempts`` … for the record."""
    stopped_for: float | None = None
    """The deadline for whose sake a policy gave the call up, now or ahead of it; None where none did."""
    queueing: bool = False
    """The call stands in a line of ours: a cut is then nobody's fault."""
    sent: int = 0
    """Attempts that have been made and have failed: to stand in a line after them is not to have sent nothing."""
    hedging: bool = False
    """A send beside another: it never probes a circuit."""
    lost: bool = False
    """Another send of the same call has won: cut now, it is to blame if it had its time."""
    usual: float = 0.0
    """Seconds that such a call takes, where that is known: of a send that has lost, what the winner took."""
    left_behind: Callable[[], None] | None = None
    """Judges what is under way, for whoever leaves a thread behind with it; None where nobody wants to know."""
    covered: Exception | None = None
    """The failure that a fallback has answered for."""
    attempts: Sequence[Attempt] = ()
    """Every send so far, oldest first; each settles exactly once."""
    tried: tuple[Endpoint, ...] = ()
    patience: float = NEVER
    """Seconds this call is ready to queue for a free slot (httpx's pool timeout)."""
    key: str | None = None
    """What an affinity balancer pins the call by."""
    elsewhere: Callable[[Any], Elsewhere] | None = None
    """Is an endpoint ready that this call has not tried? None where there are no endpoints."""
    discard: Callable[[Any], Awaitable[bool]] | None = None
    """Drops a reply that will hardly be handed out, and tells whether it still could be; None where nothing is held."""
    read: Callable[[Any, float], Awaitable[bytes | None]] | None = None
    """Returns a reply's body, decompressed, or None when it is longer than so many bytes. None: replies are read."""
    show: Callable[[Any], Any] | None = None
    """Returns a reply as somebody's own check may look at it, with its body. None: as it is."""
    must_read: float = 0
    """Bytes of the body that a guard wants to see, and that are to be read within the attempt."""
    abandon: Callable[[Any], None] | None = None
    """Ends a send that has lost and that nothing else can stop, by shutting its socket; None where there is none."""
    service: str = ""
    """Whom it goes to, as ``host:port``; empty for a function, which is known by its operation."""
    sole: bool = False
    """The service has one endpoint only, so that a second send beside the first can but go there too."""
    emit: Callable[[Event], None] | None = None
    """Tells the listeners; None where there are none."""

    def __init__(
        self,
        runtime: Runtime,
        request: Any,  # noqa: ANN401 - whatever the innermost room understands: an httpx.Request, or (fn, args, kwargs)
        started: float,
        deadline: float = NEVER,
        operation: str = "",
    ) -> None:
        self.runtime = runtime
        self.request = request
        self.started = started
        self.deadline = deadline
        self.operation = operation

    def remaining(self) -> float:
        """Return the seconds left until the deadline; negative once it has passed, infinite without one."""
        return self.deadline - self.runtime.now()

    def branch(self) -> Self:
        """Return a twin for one of several sends at a time: its attempts are this call's too, its verdict its own."""
        twin = copy(self)
        twin.verdict = None
        return twin


class RoutedCall(Call):
    """A call that is sent to one of a service's endpoints, attempt by attempt."""

    attempts: list[Attempt]
    attempt_timeout: float = NEVER
    """Seconds one attempt may take to its headers."""
    body_until: float = NEVER
    """The instant by which the body must have been read."""
    buffered: bool = False
    """The caller wants the whole body, so that it may be read inside the attempt."""
    dial_limit: Callable[[RoutedCall], float | None] | None = None
    """Tells how many seconds one dial may take, beyond httpx's own limit; None for no further limit."""
    fresh: bool = False
    """The next attempt must ride a new connection: the last one was found closed on reuse."""

    def __init__(
        self,
        runtime: Runtime,
        request: Any,  # noqa: ANN401 - an httpx.Request, for all this floor knows
        started: float,
        deadline: float,
        operation: str,
        repeatable: bool,  # noqa: FBT001 - positional, on the hottest path
        classify: Classifier,
    ) -> None:
        super().__init__(runtime, request, started, deadline, operation)
        self.repeatable = repeatable
        self.classify = classify
        self.attempts = []  # pyright: ignore[reportIncompatibleVariableOverride] - a function has none

    def branch(self) -> Self:
        """Return a twin for one of several sends at a time; it knows the endpoints that the others have tried."""
        twin = super().branch()
        twin.attempts = _Branch(self.attempts)
        twin.tried = tuple(attempt.endpoint for attempt in self.attempts)
        return twin


class _Branch(list["Attempt"]):
    """The attempts of one of several sends at a time: the latest is its own, all of them are the call's too."""

    __slots__ = ("_trunk",)

    def __init__(self, trunk: list[Attempt]) -> None:
        super().__init__(trunk)
        self._trunk = trunk

    def append(self, attempt: Attempt, /) -> None:
        """Add an attempt here and to the call, whose count it is numbered by."""
        self._trunk.append(attempt)
        if not isinstance(self._trunk, _Branch):
            attempt.number = self._trunk.index(attempt) + 1
        super().append(attempt)

    def remove(self, attempt: Attempt, /) -> None:
        """Take an attempt back that was none, here and from the call."""
        self._trunk.remove(attempt)
        super().remove(attempt)
