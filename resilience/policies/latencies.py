"""What latencies have been lately: a histogram over a sliding window, and the quantile of it."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from resilience.core.units import seconds as in_seconds
from resilience.core.units import within

if TYPE_CHECKING:
    from datetime import timedelta

# Finagle's backup requests: three slices of 10 s, the quantile computed anew every 3 s, never below 1 ms.
_SLICES = 3
_WIDTH = 10.0
_REFRESH = 3.0
_FLOOR = 0.001
# Buckets grow by 5 % from 0.1 ms: an answer is at most that much too high, and never too low.
_GROWTH = math.log(1.05)
_LEAST = 1e-4
_BUCKETS = 400
"""Up to eight hours."""


@dataclass(frozen=True, slots=True)
class Quantile:
    """A delay that follows the latencies: their quantile `q`, at least 1 ms and at most `ceiling` seconds."""

    q: float
    ceiling: float

    @property
    def least(self) -> int:
        """Latencies it takes to know the quantile at all; until then the delay is the ceiling."""
        return math.ceil(1.0 / (1.0 - self.q))


def quantile(q: float, *, ceiling: float | timedelta) -> Quantile:
    """Return a delay that follows the latencies of the last 30 s: their quantile `q`, at most `ceiling` seconds.

    `q` above 0, below 1: 0.95 sends about 5 % of the calls twice. The ceiling holds while too little is known, and when
    everything has become slow (failsafe-go's moving quantile drifts away then). Raises ConfigurationError.
    """
    within("q", q, "a number above 0 and below 1", lambda value: 0 < value < 1)
    return Quantile(float(q), in_seconds("ceiling", ceiling))


class Latencies:
    """The latencies of the last 20 to 30 s. `now` comes in as an argument; safe from any thread."""

    __slots__ = ("_counts", "_fresh_until", "_known", "_lock", "_slice")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = [[0] * _BUCKETS for _ in range(_SLICES)]
        self._slice = 0
        self._known = math.nan
        self._fresh_until = -math.inf

    def observe(self, seconds: float, now: float, /) -> None:
        """Count one latency."""
        bucket = 0 if seconds <= _LEAST else min(_BUCKETS - 1, math.ceil(math.log(seconds / _LEAST) / _GROWTH))
        with self._lock:
            self._turn_locked(now)
            self._counts[self._slice % _SLICES][bucket] += 1

    def delay(self, wanted: Quantile, now: float, /) -> float:
        """Return the seconds to wait, computed anew at most every 3 s."""
        with self._lock:
            if now >= self._fresh_until:
                self._turn_locked(now)
                total = sum(map(sum, self._counts))
                if total < wanted.least:  # not worth remembering: every answer counts now
                    return wanted.ceiling
                self._known = self._compute_locked(wanted, total)
                self._fresh_until = now + _REFRESH
            return self._known

    def _compute_locked(self, wanted: Quantile, total: int) -> float:
        up_to = list(accumulate(map(sum, zip(*self._counts, strict=True))))
        bucket = bisect_left(up_to, wanted.q * total)
        return min(wanted.ceiling, max(_FLOOR, _LEAST * math.exp(bucket * _GROWTH)))

    def _turn_locked(self, now: float) -> None:
        number = int(now / _WIDTH)
        for passed in range(max(self._slice + 1, number - _SLICES + 1), number + 1):
            self._counts[passed % _SLICES] = [0] * _BUCKETS
        self._slice = max(self._slice, number)
