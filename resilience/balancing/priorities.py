"""Tiers that help each other out: calls spill into the next one before the first is down altogether."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, ClassVar

from resilience.balancing.spread import Spread
from resilience.balancing.tiers import by_tier
from resilience.balancing.wrapping import copied

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from resilience.balancing.spread import Group
    from resilience.core.endpoint import Endpoint
    from resilience.core.ports import Balancer


def loads(tiers: Sequence[tuple[float, float]], factor: float, /) -> list[float]:
    """Return the share of the calls for each tier, first to last, of its ``(ready, total)`` weights.

    A tier takes ``factor · ready / total`` of what is left, at most all of it: with Envoy's 1.4 it is said to have 40 %
    to spare, and spills when less than 72 % of it is ready. When all together could not take everything, each gets its
    part in proportion; when none is ready, the first gets it all.
    """
    can_take = [min(1.0, factor * ready / total) if total > 0 else 0.0 for ready, total in tiers]
    able = sum(can_take)
    if able <= 0:
        return [1.0, *[0.0] * (len(tiers) - 1)]
    left, shares = 1.0, list[float]()
    for part in can_take:
        share = min(left, part / able if able < 1 else part)
        shares.append(share)
        left = max(0.0, left - share)
    return shares


class Tiered(Spread):
    """A balancer for each tier of a service; calls spill into the next tier as `loads` says.

    An address family is no tier in this sense: the other family's addresses lead to the same machines, if anywhere, so
    nothing spills there while one address of the preferred family is ready.
    """

    kind: ClassVar[str] = "tier"

    def __init__(self, inner: Balancer, factor: float, *, draw: Callable[[], float] = random.random) -> None:
        super().__init__(inner, draw)
        self.factor = factor

    def fresh(self) -> Tiered:
        """Return a new one of the same options, without endpoints."""
        return Tiered(copied(self.inner) or self.inner, self.factor, draw=self.draw)

    def grouped(self, endpoints: Sequence[Endpoint], /) -> dict[Hashable, list[Endpoint]]:
        """Return the tiers, the lowest first."""
        return {members[0].tier: members for members in by_tier(endpoints)}

    def shares(self, groups: Sequence[Group], now: float, /) -> Sequence[float]:
        """Return how many of the calls begin in each tier."""
        family = _version(groups[0])
        spilling = [group for group in groups if _version(group) == family]
        given = dict(zip(spilling, loads([(it.ready(now), it.weight) for it in spilling], self.factor), strict=True))
        return [given.get(group, 0.0) for group in groups]


def _version(group: Group) -> bool:
    return ":" in group.members[0].address.host
