"""By chance, in shares of the weights: nothing to remember, nothing shared between threads."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from resilience.balancing.sampling import Sample
from resilience.balancing.tiers import by_tier, search
from resilience.core.errors import require

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resilience.core.call import Call
    from resilience.core.endpoint import Endpoint


class Random:
    """Choose by chance, in shares of the weights; lower tiers first. `draw` returns numbers in [0, 1)."""

    __slots__ = ("_draw", "_tiers")

    def __init__(self, *, draw: Callable[[], float] = random.random) -> None:
        require("draw", draw, "a function that returns numbers in [0, 1)", callable)
        self._draw = draw
        self._tiers: tuple[Sample, ...] = ()

    def __repr__(self) -> str:
        return "Random()"

    def fresh(self, *, draw: Callable[[], float] | None = None) -> Random:
        """Return a new balancer of the same options, without any endpoints."""
        return Random(draw=draw or self._draw)

    def update(self, endpoints: Sequence[Endpoint], /) -> None:
        """Take over a new set of endpoints."""
        self._tiers = tuple(Sample(members) for members in by_tier(endpoints))

    def pick(self, call: Call, usable: Callable[[Endpoint], bool], /) -> Endpoint | None:
        """Return a usable endpoint, one the call has tried only for want of another; None when none is usable."""
        tried, draw = call.tried, self._draw
        return search(self._tiers, tried, lambda tier: tier.any(tried, usable, draw))
