"""Turns by weight: a heap of virtual due times (earliest deadline first), smooth and exact over a cycle.

Endpoints of one weight share an entry of the heap and take turns within it, so that what a turn costs grows with the
number of different weights, and not with that of the endpoints.
"""

from __future__ import annotations

import heapq
import math
import threading
from typing import TYPE_CHECKING

from resilience.balancing.tiers import weight_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from resilience.core.endpoint import Endpoint


_STEPS = 2**20
# Share of the largest weight that an endpoint counts for at least: due times stay within what floats tell apart, or a
# turn more or less would not move them.
_LEAST_SHARE = 1e-9


class _Alike:
    """Endpoints of one weight, by the phases they began at: when one of them is due, by the turns they have had."""

    __slots__ = ("had", "looked", "phases", "ring", "size", "weight")

    def __init__(self, weight: float, members: Sequence[tuple[float, Endpoint]]) -> None:
        self.ring = tuple(endpoint for _, endpoint in members)
        self.size = len(members)
        self.weight = weight
        # In steps that floats add up without rounding, so that turns at the edge of a cycle never change sides.
        self.phases = tuple(int(phase * _STEPS) / _STEPS for phase, _ in members)
        self.had = 0
        self.looked = 0

    def due(self) -> float:
        # One division of a count, not a sum of quotients: no error adds up, and equal times stay equal.
        cycle, place = divmod(self.had, self.size)
        return (self.phases[place] + cycle) / self.weight

    def next(self) -> Endpoint:
        return self.ring[self.had % self.size]

    def ahead(self, now: float) -> list[tuple[float, Endpoint]]:
        """Return each with the share of its period until it is due, the next one first."""
        found: list[tuple[float, Endpoint]] = []
        for had in range(self.had, self.had + self.size):
            cycle, place = divmod(had, self.size)
            found.append((max(0.0, self.phases[place] + cycle - now * self.weight), self.ring[place]))
        return found


class Schedule:
    """Endpoints in the order in which they are due; an endpoint of weight w is due every 1/w.

    In any stretch of virtual time turns are as the weights, evenly spread. To be given in the order of phases; ties go
    by that. Who weighs less than a billionth of the heaviest counts as that.
    """

    __slots__ = ("_heap", "_lock", "_now", "_owed")

    def __init__(self, phases: Iterable[tuple[float, Endpoint]]) -> None:
        by_weight: dict[float, list[tuple[float, Endpoint]]] = {}
        for phase, endpoint in phases:
            by_weight.setdefault(weight_of(endpoint), []).append((phase, endpoint))
        # Halved or doubled until the largest is below 1, which changes no share and rounds nothing.
        halvings = math.frexp(max(by_weight))[1]
        alike = [
            _Alike(max(_LEAST_SHARE, math.ldexp(weight, -halvings)), members) for weight, members in by_weight.items()
        ]
        self._heap = [(turn.due(), order, turn) for order, turn in enumerate(alike)]
        heapq.heapify(self._heap)
        self._now = 0.0
        self._owed: list[Endpoint] = []
        """Passed over only because the call had tried them: they keep that turn for the next call."""
        self._lock = threading.Lock()

    def draw(self, tried: tuple[Endpoint, ...], usable: Callable[[Endpoint], bool]) -> Endpoint | None:
        """Return the usable endpoint due first, one of `tried` only for want of another; None when none is usable."""
        with self._lock:
            heap = self._heap
            due, order, turn = heap[0]
            endpoint = turn.ring[turn.had % turn.size]
            if not self._owed and endpoint not in tried and usable(endpoint):
                self._now = due
                turn.had += 1
                heapq.heapreplace(heap, (turn.due(), order, turn))
                return endpoint
            found = self._take(tried, usable)
            return self._take((), usable) if found is None and tried else found

    def _take(self, tried: tuple[Endpoint, ...], usable: Callable[[Endpoint], bool]) -> Endpoint | None:
        """Return the first that is usable and untried, wherever it stands; change nothing when there is none."""
        for endpoint in [endpoint for endpoint in self._owed if endpoint not in tried]:
            self._owed.remove(endpoint)
            if usable(endpoint):
                return endpoint
        heap = self._heap
        passed: list[Endpoint] = []
        looked: dict[_Alike, int] = {}
        aside: list[tuple[int, _Alike]] = []
        while heap:
            due, order, turn = heap[0]
            if turn not in looked:
                looked[turn], turn.looked = turn.had, 0
            endpoint = turn.next()
            turn.had += 1
            turn.looked += 1
            if usable(endpoint):
                if endpoint not in tried:
                    heapq.heapreplace(heap, (turn.due(), order, turn))
                    self._now = max(self._now, due)
                    self._owed += (endpoint for endpoint in passed if endpoint not in self._owed)
                    self._put_back(aside)
                    return endpoint
                passed.append(endpoint)
            if turn.looked < turn.size:
                heapq.heapreplace(heap, (turn.due(), order, turn))
            else:
                heapq.heappop(heap)
                aside.append((order, turn))
        for turn, had in looked.items():
            turn.had = had
        heap += [(turn.due(), order, turn) for order, turn in aside]
        heapq.heapify(heap)
        return None

    def _put_back(self, aside: list[tuple[int, _Alike]]) -> None:
        """Return to the heap those none of whom could be taken; they lose the turns until now.

        Or they would be flooded by them on their return.
        """
        for order, turn in aside:
            turn.had += max(0, int((self._now - turn.due()) * turn.weight)) * turn.size
            while turn.due() <= self._now:
                turn.had += 1
            heapq.heappush(self._heap, (turn.due(), order, turn))

    def phases(self) -> list[tuple[float, Endpoint]]:
        """Return each endpoint with the share of its own period until it is due: 0 if it is overdue."""
        with self._lock:
            return [
                (0.0 if endpoint in self._owed else ahead, endpoint)
                for _, _, turn in self._heap
                for ahead, endpoint in turn.ahead(self._now)
            ]
