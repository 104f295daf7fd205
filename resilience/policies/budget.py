"""How many extra sends a service can be asked to bear: a share of its calls, plus a reserve.

Finagle's and linkerd's retry budget: every call deposits `ratio` of a send, every retry or hedge withdraws a whole one,
and both are forgotten after `ttl`; a reserve of ``min_per_second * ttl`` lets services with few calls retry at all.
So whenever an extra send is paid for, at most ``ratio * calls + min_per_second * ttl`` have been made in the `ttl`
seconds up to then. For that to hold exactly, although both are kept in slices, what was spent is remembered for one
slice longer than what was earned.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from resilience.core.tally import Tally
from resilience.core.units import ranged
from resilience.core.units import seconds as in_seconds

_SLICES = 10
_RING = _SLICES + 1


class Budget:
    """The balance, as sums over slices of `ttl`. `now` comes in as an argument; what comes late counts as now."""

    __slots__ = ("_earn", "_earned", "_lock", "_ratio", "_reserve", "_slice", "_spent", "_until", "_width")

    def __init__(self, options: RetryBudget) -> None:
        self._lock = threading.Lock()
        self._ratio = options.ratio
        self._reserve = options.min_per_second * options.ttl
        # Never finer than a microsecond, so that slice numbers stay within what floats and ints can say.
        self._width = max(options.ttl / _SLICES, 1e-6)
        self._earned = [Tally() for _ in range(_RING)]
        """Calls of each slice. Counted without the lock: every call comes by here, and few are ever repeated."""
        self._spent = [0] * _RING
        self._slice = 0
        """Number of the latest slice seen, counted from the clock's zero."""
        self._until = self._width
        """The instant at which that slice ends."""
        self._earn = self._earned[0].step

    def deposit(self, now: float, /) -> None:
        """Count one call."""
        if now >= self._until:
            with self._lock:
                self._turn_locked(now)
        self._earn()

    def try_withdraw(self, now: float, /) -> bool:
        """Pay for one extra send; false, and nothing is taken, when the balance does not cover it."""
        with self._lock:
            self._turn_locked(now)
            # A hair of tolerance: five deposits of 0.2 are a whole send, whatever the floats add up to.
            if self._balance_locked() < 1.0 - 1e-9:
                return False
            self._spent[self._slice % _RING] += 1
            return True

    def refund(self, when: float, /) -> None:
        """Take back the withdrawal made at `when`: the send it paid for was not made."""
        with self._lock:
            number = min(int(when / self._width), self._slice)
            slot = number % _RING
            if number > self._slice - _RING and self._spent[slot]:
                self._spent[slot] -= 1

    def balance(self, now: float, /) -> float:
        """Return how many extra sends could be paid for now."""
        with self._lock:
            self._turn_locked(now)
            return max(0.0, self._balance_locked())

    def _balance_locked(self) -> float:
        return self._reserve + self._ratio * sum(tally.value for tally in self._earned) - sum(self._spent)

    def _turn_locked(self, now: float) -> None:
        number = int(now / self._width)
        if number <= self._slice:
            return
        earned, spent = self._earned, self._spent
        for passed in range(max(self._slice + 1, number - _SLICES), number + 1):
            earned[passed % _RING] = Tally()
            spent[passed % _RING] = 0
        earned[(number - _SLICES) % _RING] = Tally()
        self._slice = number
        self._earn = earned[number % _RING].step
        self._until = (number + 1) * self._width


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """A limit on extra sends: `ratio` of the calls, plus `min_per_second`, both over the last `ttl` seconds.

    `ratio` from 0 to 1000 (0.2, Finagle and linkerd); `min_per_second` from 0 (3.0: a reserve of 30 with the default
    ttl); `ttl` in seconds, above 0 (10, Finagle). It opens with its reserve full. One instance shared by several
    policies is one budget; in a ``Service`` it is a template, and every service has its own.
    """

    ratio: float = 0.2
    min_per_second: float = field(default=3.0, kw_only=True)
    ttl: float = field(default=10.0, kw_only=True)
    state: Budget = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the numbers and open the balance."""
        ranged("ratio", self.ratio, "a number from 0 to 1000", lambda ratio: 0 <= ratio <= 1000)  # noqa: PLR2004
        ranged("min_per_second", self.min_per_second, "a number from 0 to 1e6", lambda rate: 0 <= rate <= 1e6)  # noqa: PLR2004
        object.__setattr__(self, "ttl", in_seconds("ttl", self.ttl))
        object.__setattr__(self, "state", Budget(self))

    def fresh(self) -> Budget:
        """Return a new balance with these options."""
        return Budget(self)
