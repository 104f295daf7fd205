"""Round robin: every endpoint in turn, by weight where weights differ, lower tiers first."""

from __future__ import annotations

import random
import threading
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, TypeAlias

from resilience.balancing.rotation import Rotation
from resilience.balancing.schedule import Schedule
from resilience.balancing.tiers import by_tier, search
from resilience.core.errors import require

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resilience.core.call import Call
    from resilience.core.endpoint import Endpoint

_Tier: TypeAlias = Rotation | Schedule
_EMPTY = Rotation(())
_tier_of, _weight_of = attrgetter("tier"), attrgetter("weight")


class RoundRobin:
    """Give each endpoint its turn, in shares of its weight; fair to ±1 while nothing changes.

    Starts at a random offset, so that many clients do not all begin at the same replica. An endpoint that is passed
    over loses its turn. A higher tier is used when no endpoint of a lower one is usable, or when the call has tried all
    that are. A new address list keeps the place of the endpoints that stay. `draw` returns numbers in [0, 1).
    """

    __slots__ = ("_draw", "_known", "_lock", "_state", "_tiers")

    def __init__(self, *, draw: Callable[[], float] = random.random) -> None:
        require("draw", draw, "a function that returns numbers in [0, 1)", callable)
        self._draw = draw
        self._lock = threading.Lock()
        self._known: tuple[tuple[Endpoint, ...], list[int], list[float]] = ((), [], [])
        self._tiers: tuple[_Tier, ...] = ()
        # What pick() reads, replaced as a whole: the first tier if it is a rotation, and the tiers after it.
        self._state = _state(())

    def __repr__(self) -> str:
        return "RoundRobin()"

    def fresh(self, *, draw: Callable[[], float] | None = None) -> RoundRobin:
        """Return a new balancer of the same options, without any endpoints."""
        return RoundRobin(draw=draw or self._draw)

    def update(self, endpoints: Sequence[Endpoint], /) -> None:
        """Take over a new set of endpoints; those that stay keep their place in the order of turns."""
        known = (tuple(endpoints), list(map(_tier_of, endpoints)), list(map(_weight_of, endpoints)))
        with self._lock:
            if known == self._known:
                return
            gone = frozenset(self._known[0]).isdisjoint(endpoints)
            self._known = known
            self._tiers = _renewed((_EMPTY,) if gone else self._tiers, by_tier(endpoints), self._draw())
            self._state = _state(self._tiers)

    def pick(self, call: Call, usable: Callable[[Endpoint], bool], /) -> Endpoint | None:
        """Return the usable endpoint whose turn it is, one the call has tried only for want of another; or None."""
        rotation, size, tick, further = self._state
        if not size:
            return search(further, call.tried, lambda tier: tier.draw(call.tried, usable))
        turn = None
        if not call.tried:
            turn = tick()
            endpoint = rotation.ring[turn % size]
            if usable(endpoint):
                return endpoint
        found = rotation.draw(call.tried, usable, turn)
        return search(further, call.tried, lambda tier: tier.draw(call.tried, usable), found) if further else found


def _state(tiers: tuple[_Tier, ...]) -> tuple[Rotation, int, Callable[[], int], tuple[_Tier, ...]]:
    first = tiers[0] if tiers else _EMPTY
    if isinstance(first, Rotation):
        return first, first.size, first.tick, tiers[1:]
    return _EMPTY, 0, _EMPTY.tick, tiers


def _renewed(known: tuple[_Tier, ...], tiers: Sequence[list[Endpoint]], offset: float) -> tuple[_Tier, ...]:
    if len(tiers) == len(known) == 1 and isinstance(known[0], Rotation) and _alike(tiers[0]):
        return (known[0].renewed(tiers[0], offset),)
    phases = {endpoint: phase for tier in known for phase, endpoint in tier.phases()}
    return tuple(_tier(members, phases, offset) for members in tiers)


def _alike(members: list[Endpoint]) -> bool:
    return len(set(map(_weight_of, members))) == 1


def _tier(members: list[Endpoint], phases: dict[Endpoint, float], offset: float) -> _Tier:
    """Order one tier: who stays keeps its phase; newcomers are spread evenly over a rotation, from the offset on."""
    newcomers = [endpoint for endpoint in members if endpoint not in phases]
    order = [(phases[endpoint], endpoint) for endpoint in members if endpoint in phases]
    order += [((place / len(newcomers) + offset) % 1.0, endpoint) for place, endpoint in enumerate(newcomers)]
    order.sort(key=itemgetter(0))  # stable: at equal phases those that stay go first
    if _alike(members):
        return Rotation([endpoint for _, endpoint in order])
    return Schedule(order)
