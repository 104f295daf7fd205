"""Least request: where the fewest calls are in flight, by the power of two choices."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from resilience.balancing.sampling import Sample
from resilience.balancing.tiers import by_tier, search, weight_of
from resilience.core.errors import require

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resilience.core.call import Call
    from resilience.core.endpoint import Endpoint


class LeastRequest:
    """Choose the fewest calls in flight per weight: of two endpoints by chance, of all when there are 8 or fewer.

    Fast failures attract calls here, because they leave the least in flight: a circuit has to keep them out. Among
    equals the weights decide. Lower tiers go first. `draw` returns numbers in [0, 1).
    """

    __slots__ = ("_draw", "_tiers")

    def __init__(self, *, draw: Callable[[], float] = random.random) -> None:
        require("draw", draw, "a function that returns numbers in [0, 1)", callable)
        self._draw = draw
        self._tiers: tuple[Sample, ...] = ()

    def __repr__(self) -> str:
        return "LeastRequest()"

    def fresh(self, *, draw: Callable[[], float] | None = None) -> LeastRequest:
        """Return a new balancer of the same options, without any endpoints."""
        return LeastRequest(draw=draw or self._draw)

    def update(self, endpoints: Sequence[Endpoint], /) -> None:
        """Take over a new set of endpoints; the counts are the endpoints' own."""
        self._tiers = tuple(Sample(members) for members in by_tier(endpoints))

    def pick(self, call: Call, usable: Callable[[Endpoint], bool], /) -> Endpoint | None:
        """Return a usable endpoint, one the call has tried only for want of another; None when none is usable."""
        tried, draw = call.tried, self._draw
        return search(self._tiers, tried, lambda tier: tier.cheapest(tried, usable, draw, _in_flight, 0.0))


def _in_flight(endpoint: Endpoint, _now: float) -> float:
    return endpoint.slots.taken / weight_of(endpoint)
