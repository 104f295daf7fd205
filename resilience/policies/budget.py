"""How many extra sends a service can be asked to bear: a share of its calls, plus a reserve.

Finagle's and linkerd's retry budget: every call deposits `ratio` of a send, every retry or hedge withdraws a whole one,
and both are forgotten after `ttl`; a reserve of ``min_per_second * ttl`` lets services with few calls retry at all.
So in any `ttl` seconds at most ``ratio * calls + min_per_second * ttl`` extra sends are made.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from resilience.core.errors import require
from resilience.core.units import seconds as in_seconds

_SLICES = 10


class Budget:
    """The balance, as sums over ten slices of `ttl`; `now` comes in as an argument and may not run backwards."""

    __slots__ = ("_lock", "_ratio", "_reserve", "_slice", "_slices", "_sum", "_width")

    def __init__(self, options: RetryBudget) -> None:
        self._lock = threading.Lock()
        self._ratio = options.ratio
        self._reserve = options.min_per_second * options.ttl
        self._width = options.ttl / _SLICES
        self._slices = [0.0] * _SLICES
        self._slice = 0
        """Number of the slice `now` falls into, counted from the clock's zero."""
        self._sum = 0.0

    def deposit(self, now: float, /) -> None:
        """Count one call."""
        with self._lock:
            if (number := int(now / self._width)) != self._slice:
                self._turn_locked(number)
            self._slices[number % _SLICES] += self._ratio
            self._sum += self._ratio

    def try_withdraw(self, now: float, /) -> bool:
        """Pay for one extra send; false, and nothing is taken, when the balance does not cover it."""
        with self._lock:
            if (number := int(now / self._width)) != self._slice:
                self._turn_locked(number)
            # A hair of tolerance: five deposits of 0.2 are a whole send, whatever the floats add up to.
            if self._reserve + self._sum < 1.0 - 1e-9:
                return False
            self._slices[number % _SLICES] -= 1.0
            self._sum -= 1.0
            return True

    def balance(self, now: float, /) -> float:
        """Return how many extra sends could be paid for now."""
        with self._lock:
            if (number := int(now / self._width)) != self._slice:
                self._turn_locked(number)
            return max(0.0, self._reserve + self._sum)

    def _turn_locked(self, number: int) -> None:
        slices = self._slices
        for passed in range(max(self._slice + 1, number - _SLICES + 1), number + 1):
            slices[passed % _SLICES] = 0.0
        self._slice = max(self._slice, number)
        # Summed afresh, so that rounding cannot pile up over a service's life.
        self._sum = sum(slices)


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
        require("ratio", self.ratio, "a number from 0 to 1000", lambda ratio: 0 <= ratio <= 1000)  # noqa: PLR2004
        require("min_per_second", self.min_per_second, "a number from 0 to 1e6", lambda rate: 0 <= rate <= 1e6)  # noqa: PLR2004
        object.__setattr__(self, "ttl", in_seconds("ttl", self.ttl))
        object.__setattr__(self, "state", Budget(self))

    def fresh(self) -> Budget:
        """Return a new balance with these options."""
        return Budget(self)
