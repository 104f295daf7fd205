"""Choosing at random, and the power of two choices: the cheaper of two, without replacement.

With two choices the fullest of n servers holds O(log log n), with one O(log n / log log n) (Mitzenmacher 1996); and
unlike the cheapest of all it does not send every client to the same server at once.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

from resilience.balancing.tiers import weight_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resilience.core.endpoint import Endpoint

Price: TypeAlias = "Callable[[Endpoint, float], float]"
"""What a call to an endpoint costs at an instant, in any unit, from 0; the lowest is chosen."""

# Up to here all are looked at: with few endpoints two choices too often meet two bad ones (Envoy's maintainers measured
# the busier of two hosts taken 25 % of the time, with replacement).
SCAN_UP_TO = 8
# Pairs drawn before looking at each in turn; with half of all usable one in 2**8 calls comes to that.
_PAIRS = 4


class Sample:
    """The endpoints of one tier, to be drawn in shares of their weights."""

    __slots__ = ("_bounds", "members", "scanned", "size")

    def __init__(self, members: Sequence[Endpoint], *, scan_up_to: int = SCAN_UP_TO) -> None:
        self.members = tuple(members)
        self.size = len(self.members)
        self.scanned = self.size <= scan_up_to
        weights = [weight_of(endpoint) for endpoint in members]
        self._bounds = None if min(weights) == max(weights) else list(accumulate(weights))

    def any(
        self, tried: tuple[Endpoint, ...], usable: Callable[[Endpoint], bool], draw: Callable[[], float]
    ) -> Endpoint | None:
        """Return a usable endpoint by chance, one of `tried` only for want of another; None when none is usable."""
        for _ in range(2 * _PAIRS):
            endpoint = self.members[self._index(draw())]
            if endpoint not in tried and usable(endpoint):
                return endpoint
        return self._walk(tried, usable, draw)

    def cheapest(
        self,
        tried: tuple[Endpoint, ...],
        usable: Callable[[Endpoint], bool],
        draw: Callable[[], float],
        price: Price,
        now: float,
    ) -> Endpoint | None:
        """Return the cheaper of two usable endpoints, or of all when they are few; like `any` otherwise."""
        if self.scanned:
            return self._scan(tried, usable, draw, price, now)
        members = self.members
        for _ in range(_PAIRS):
            one, two = self._pair(draw)
            better, other = members[one], members[two]
            if price(other, now) < price(better, now):
                better, other = other, better
            if better not in tried and usable(better):
                return better
            if other not in tried and usable(other):
                return other
        return self._walk(tried, usable, draw)

    def _index(self, number: float) -> int:
        bounds = self._bounds
        if bounds is None:
            return int(number * self.size)
        return min(bisect_right(bounds, number * bounds[-1]), self.size - 1)

    def _pair(self, draw: Callable[[], float]) -> tuple[int, int]:
        """Draw two different positions; the first in shares of the weights, the second in shares of those left."""
        bounds = self._bounds
        if bounds is None:
            one = int(draw() * self.size)
            two = int(draw() * (self.size - 1))
            return one, two + (two >= one)
        one = self._index(draw())
        start = bounds[one - 1] if one else 0.0
        width = bounds[one] - start
        mark = draw() * (bounds[-1] - width)
        two = min(bisect_right(bounds, mark if mark < start else mark + width), self.size - 1)
        return one, two if two != one else one - 1  # equal by rounding alone; -1 is the last

    def _scan(
        self,
        tried: tuple[Endpoint, ...],
        usable: Callable[[Endpoint], bool],
        draw: Callable[[], float],
        price: Price,
        now: float,
    ) -> Endpoint | None:
        for again in (False, True) if tried else (False,):
            left = [endpoint for endpoint in self.members if (endpoint in tried) is again]
            asked = [price(endpoint, now) for endpoint in left]
            while left:
                # Whether it is usable is asked last, of the cheapest alone: it costs more than its price does.
                at = self._least(left, asked, draw)
                if usable(left[at]):
                    return left[at]
                del left[at], asked[at]
        return None

    def _least(self, left: list[Endpoint], asked: list[float], draw: Callable[[], float]) -> int:
        """Return the cheapest one's position; among equals by weight, or the first would get all quiet times' calls."""
        least = min(asked)
        if asked.count(least) == 1:
            return asked.index(least)
        equal = [at for at, price in enumerate(asked) if price == least]
        if self._bounds is None:
            return equal[int(draw() * len(equal))]
        bounds = list(accumulate(weight_of(left[at]) for at in equal))
        return equal[min(bisect_right(bounds, draw() * bounds[-1]), len(equal) - 1)]

    def _walk(
        self, tried: tuple[Endpoint, ...], usable: Callable[[Endpoint], bool], draw: Callable[[], float]
    ) -> Endpoint | None:
        """Look at each, from a random one on: the certain way, when chance did not find any."""
        start = self._index(draw())
        again: Endpoint | None = None
        for at in range(start, start + self.size):
            endpoint = self.members[at % self.size]
            if usable(endpoint):
                if endpoint not in tried:
                    return endpoint
                again = again or endpoint
        return again
