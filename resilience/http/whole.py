"""One call as the user made it: across redirect hops and authentication legs, until its body is read.

The client opens it in ``send``; every hop's transport finds it here. A transport used without our client has none, and
works hop by hop.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# httpx and httpcore declare `extensions` as a bare dict: mypy, strict too, checks this file.

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resilience.core.errors import ConfigurationError
from resilience.core.events import CallEnded
from resilience.core.units import seconds as in_seconds

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import httpx

    from resilience.core.attempt import AttemptRecord
    from resilience.core.call import RoutedCall

OPTIONS = "resilience"
"""The request extension with per-call options; the response extension with the record."""

_KNOWN = frozenset({"retry", "total_timeout", "attempt_timeout", "idempotent", "operation", "key"})
_NOTHING: dict[str, Any] = {}


class Whole:
    """Deadline and hops of one call."""

    __slots__ = ("calls", "deadline", "explicit", "service", "started", "streamed", "transports")

    def __init__(self, started: float, deadline: float, *, streamed: bool, transports: Collection[object]) -> None:
        self.started = started
        self.transports = transports
        """Those of the client that makes it: no other takes part."""
        self.deadline = deadline
        """NEVER until the first hop's service has set it; from then on it only gets shorter."""
        self.explicit = False
        """A `total_timeout` was given, which covers the body as well."""
        self.streamed = streamed
        self.calls: list[RoutedCall] = []
        self.service = ""


current: ContextVar[Whole | None] = ContextVar("resilience_whole_call", default=None)


class Record:
    """What was done for one call. In ``response.extensions["resilience"]``.

    Put together when it is looked at: most never are.
    """

    __slots__ = ("_calls",)

    def __init__(self, calls: Sequence[RoutedCall]) -> None:
        self._calls = tuple(calls)

    @property
    def attempts(self) -> tuple[AttemptRecord, ...]:
        """Every send, of every hop, oldest first."""
        return tuple(attempt.record() for call in self._calls for attempt in call.attempts)

    @property
    def waited(self) -> float:
        """Seconds of backoff in all."""
        return sum(attempt.waited for call in self._calls for attempt in call.attempts)

    @property
    def stopped(self) -> str:
        """Why no further attempt was made; empty when none was needed."""
        return self._calls[-1].why if self._calls else ""

    def __repr__(self) -> str:
        return f"Record(attempts={self.attempts!r}, waited={self.waited:.3f}, stopped={self.stopped!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the plain values."""
        return (KeptRecord, (self.attempts, self.waited, self.stopped))


@dataclass(frozen=True, slots=True)
class KeptRecord:
    """A record that has travelled: the same fields, as plain values."""

    attempts: tuple[AttemptRecord, ...]
    waited: float
    stopped: str


def record(calls: Sequence[RoutedCall]) -> Record:
    """Return the record of the hops of a call."""
    return Record(calls)


def options_of(request: httpx.Request) -> dict[str, Any]:
    """Return the per-call options, checked; raises ConfigurationError naming what is unknown or out of range."""
    options = request.extensions.get(OPTIONS)
    if options is None:
        return _NOTHING
    argument = 'extensions["resilience"]'
    if not isinstance(options, dict):
        raise ConfigurationError(argument, options, "a dict of per-call options")
    unknown = set(options) - _KNOWN
    if unknown:
        raise ConfigurationError(argument, sorted(unknown, key=str), f"names among {', '.join(sorted(_KNOWN))}")
    durations = {
        name: in_seconds(f"{argument}[{name!r}]", options[name])
        for name in ("total_timeout", "attempt_timeout")
        if options.get(name) is not None
    }
    for name in ("retry", "idempotent"):
        if not isinstance(options.get(name, True), bool | None):
            named = f"{argument}[{name!r}]"
            raise ConfigurationError(named, options[name], "True or False")
    for name in ("operation", "key"):
        if not isinstance(options.get(name, ""), str | None):
            named = f"{argument}[{name!r}]"
            raise ConfigurationError(named, options[name], "a string")
    return {**options, **durations}


def ended(
    service: str,
    calls: list[RoutedCall],
    *,
    started: float,
    now: float,
    outcome: str,
    status: int | None = None,
    error: BaseException | None = None,
) -> CallEnded:
    """Return the event for a call that is over."""
    attempts = [attempt for call in calls for attempt in call.attempts]
    first = calls[0] if calls else None
    return CallEnded(
        service=service,
        method=first.request.method if first else "",
        operation=first.operation if first else "",
        attempts=len(attempts),
        endpoints=tuple(attempt.endpoint.label for attempt in attempts),
        waited=sum(attempt.waited for attempt in attempts),
        duration=now - started,
        outcome=outcome,
        status=status,
        error=None if error is None else type(error).__name__,
        stopped=calls[-1].why or None if calls else None,
    )
