"""No more calls per second than agreed: a token bucket."""

from __future__ import annotations

import math
import threading
from bisect import insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from resilience.core.errors import OverloadedError, require
from resilience.core.units import seconds as in_seconds
from resilience.core.units import whole, within
from resilience.policies.policy import Policy

if TYPE_CHECKING:
    from datetime import timedelta

    from resilience.core.call import Call
    from resilience.core.ports import Proceed


@dataclass(frozen=True, slots=True)
class Turn:
    """Leave to go at the instant `at`, which may be now or later."""

    at: float


@dataclass(frozen=True, slots=True)
class TooMany:
    """No leave: the next token would come only after `wait` seconds."""

    wait: float


class Bucket:
    """Tokens come at a constant rate and pile up to `burst`. Pure: `now` comes in as an argument.

    A bucket that tells when each token is due (ITU's generic cell rate algorithm) instead of counting them: so a call
    can be given its turn in the future, in the order of asking. In any span of L seconds at most ``burst + rate * L``
    turns fall due.
    """

    __slots__ = ("_due", "_freed", "_interval", "_latest", "_lock", "_tolerance")

    def __init__(self, rate: float, burst: int) -> None:
        self._interval = 1.0 / rate
        self._tolerance = (burst - 1) * self._interval
        self._lock = threading.Lock()
        self._due = -math.inf
        """When the bucket would be full but for the tokens taken, less one interval: when the next token is due."""
        self._latest = -math.inf
        """The latest turn that somebody has."""
        self._freed: list[float] = []
        """Turns before it, in the future, that were given back: the next one first."""

    def take(self, now: float, longest: float, /) -> Turn | TooMany:
        """Return the next turn, if it comes within `longest` seconds; else take nothing."""
        with self._lock:
            freed = self._freed
            while freed and freed[0] < now:  # too late for it: its token has flowed on
                del freed[0]
            at = freed[0] if freed else max(now, self._due - self._tolerance)
            if at - now > longest:
                return TooMany(at - now)
            if freed:
                del freed[0]
            else:
                self._due = max(now, self._due) + self._interval
                self._latest = at
            return Turn(at)

    def give_back(self, turn: Turn, now: float, /) -> None:
        """Take back a turn that is still to come: somebody else may have it."""
        with self._lock:
            if turn.at <= now:
                return
            freed = self._freed
            insort(freed, turn.at)
            # The last of the line are as if they had never asked: else the bucket would not fill up before the instant
            # at which they would have gone.
            while freed and abs(self._latest - freed[-1]) < self._interval / 2:
                freed.pop()
                self._due -= self._interval
                self._latest -= self._interval


@dataclass(frozen=True, slots=True)
class RateLimit(Policy):
    """Let at most `rate` calls per second through, on average, and `burst` at once.

    `rate`: above 0, up to 1e6. `burst`: tokens that pile up while nobody calls (from 1 to 1e15; one second's worth).
    `wait`: seconds a call may wait for its turn (from 0; 0: none), never beyond its deadline. A call that is cut while
    it waits gives its turn back.

    Raises :class:`OverloadedError`, with nothing sent and `retry_after` set, when the turn would come too late; and
    ConfigurationError.
    """

    rate: float
    burst: int | None = field(default=None, kw_only=True)
    wait: float | timedelta = field(default=0.0, kw_only=True)
    bucket: Bucket = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the numbers and fill the bucket."""
        within("rate", self.rate, "calls per second above 0, up to 1e6", _rate)
        burst = max(1, math.floor(self.rate)) if self.burst is None else whole("burst", self.burst)
        require("burst", burst, "a whole number from 1 to 1e15", lambda it: it <= 1e15)  # noqa: PLR2004
        object.__setattr__(self, "burst", burst)
        object.__setattr__(self, "wait", in_seconds("wait", self.wait, zero=True, infinite=True))
        object.__setattr__(self, "bucket", Bucket(self.rate, burst))

    async def around(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Let the call through when it is its turn."""
        runtime = call.runtime
        now = runtime.now()
        longest: float = self.wait  # type: ignore[assignment]  # a float since __post_init__
        turn = self.bucket.take(now, min(longest, call.deadline - now))
        if isinstance(turn, TooMany):
            if turn.wait <= longest:
                call.stopped_for = call.deadline
            who = call.operation or "the call"
            message = f"{who} exceeds {self.rate:g} calls per second; the next may go in {turn.wait:.3g} s"
            raise OverloadedError(message, service=call.service or call.operation or None, retry_after=turn.wait)
        if turn.at > now:
            call.queueing = True
            try:
                await runtime.sleep(turn.at - now)
            except BaseException:
                self.bucket.give_back(turn, runtime.now())
                raise
            call.queueing = False
        return await proceed(call)


def _rate(rate: float) -> bool:
    return 0 < rate <= 1e6 and not math.isinf(1.0 / rate)  # noqa: PLR2004
