"""One call for all who ask the same at the same time."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from resilience.core.errors import require
from resilience.core.outcome import Err, Ok, Sent
from resilience.policies.matching import is_plain
from resilience.policies.policy import Policy
from resilience.runtimes.entry import passed, request_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from types import TracebackType

    from resilience.core.call import Call
    from resilience.core.ports import Gate, Proceed

# The flights that this very context leads: a call that asks for its own answer would wait for ever.
_leading: ContextVar[frozenset[object]] = ContextVar("resilience_leading", default=frozenset())


class Flight:
    """One call under way, and the gates of those who wait for its outcome; None when it has none to share."""

    __slots__ = ("gates", "mark", "outcome", "over", "traceback")

    def __init__(self) -> None:
        self.mark = object()
        """What is begun inside keeps this, for as long as it lives, and not the outcome."""
        self.gates: list[Gate] = []
        self.outcome: Ok[Any] | Err | None = None
        self.over = False
        self.traceback: TracebackType | None = None
        """Of the failure that is shared: down from the call that led."""


class Flights:
    """Who leads and who follows, by key. Pure bookkeeping under one lock."""

    __slots__ = ("_flights", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Hashable, Flight] = {}

    def enter(self, key: Hashable, /) -> tuple[Flight, bool]:
        """Return the flight of this key, and whether the caller has to lead it."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            flight = self._flights[key] = Flight()
            return flight, True

    def wait(self, flight: Flight, gate: Gate, /) -> bool:
        """Have the gate opened when the flight is over; false when it is already."""
        with self._lock:
            if flight.over:
                return False
            flight.gates.append(gate)
            return True

    def land(self, key: Hashable, flight: Flight, outcome: Ok[Any] | Err | None, /) -> None:
        """End a flight and share its outcome; without one, somebody else must lead."""
        with self._lock:
            flight.outcome = outcome
            flight.over = True
            del self._flights[key]
        for gate in flight.gates:
            gate.open()

    def __len__(self) -> int:
        """Return how many flights are under way."""
        return len(self._flights)


@dataclass(frozen=True, slots=True)
class SingleFlight(Policy):
    """Let one of several equal calls at the same time through, and give its outcome to all.

    `key`: a function of the call's arguments that returns what equal calls have in common; without it, function and
    arguments. What is not hashable goes alone, and so does what is not repeatable. All get the same object, or the same
    exception. Each waits until its own deadline only. When the call that leads is cut, or out of time, another leads.
    Raises ConfigurationError.
    """

    key: Callable[..., Hashable] | None = field(default=None, kw_only=True)
    flights: Flights = field(default_factory=Flights, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the argument."""
        expected = "a plain function of the call's arguments, or None"
        require("key", self.key, expected, lambda it: it is None or is_plain(it))

    async def around(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Lead, or follow."""
        key = self._key_of(call) if call.repeatable else None
        if key is None:
            return await proceed(call)
        while True:
            flight, leads = self.flights.enter(key)
            if not leads and flight.mark in _leading.get():
                return await proceed(call)
            if leads:
                token = _leading.set(_leading.get() | {flight.mark})
                try:
                    return await self._lead(call, proceed, key, flight)
                finally:
                    _leading.reset(token)
            gate = call.runtime.gate()
            if self.flights.wait(flight, gate) and not await gate.wait(call.remaining()):
                raise passed(call.operation, Sent.NO)
            outcome = flight.outcome
            if outcome is None:
                if call.remaining() <= 0:  # nothing is sent for who has no time for the answer
                    raise passed(call.operation, Sent.NO)
                continue
            if isinstance(outcome, Err):
                # Raised by each anew, it would gather the frames, and the arguments, of all that came before.
                raise outcome.error.with_traceback(flight.traceback)
            call.covered = outcome.failure
            return outcome.value

    async def _lead(self, call: Call, proceed: Proceed, key: Hashable, flight: Flight) -> Any:  # noqa: ANN401
        outcome: Ok[Any] | Err | None = None
        try:
            reply = await proceed(call)
            outcome = Ok(reply, call.covered)
        except Exception as error:
            # What it fails with for want of time is its own, whatever it is: others may have more time. A limit further
            # in is everybody's.
            if call.remaining() > 0 and call.stopped_for != call.deadline:
                outcome = Err(error)
                flight.traceback = error.__traceback__
            raise
        finally:
            self.flights.land(key, flight, outcome)
        return reply

    def _key_of(self, call: Call) -> Hashable | None:
        if not isinstance(call.request, tuple):
            return None  # a client's: a response can be read once
        fn, args, kwargs = request_of(call)
        key = (fn, args, tuple(sorted(kwargs.items()))) if self.key is None else (fn, self.key(*args, **kwargs))
        try:
            hash(key)
        except TypeError:
            return None
        return key
