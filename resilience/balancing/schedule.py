"""Turns by weight: a heap of virtual due times (earliest deadline first), smooth and exact over a cycle.

Endpoints of one weight share an entry of the heap and take turns within it, so that what a turn costs grows with the
number of different weights, and not with that of the endpoints.
"""

from __future__ import annotations

import heapq
import threading
from typing import TYPE_CHECKING

from resilience.balancing.tiers import weight_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from resilience.core.endpoint import Endpoint


_STEPS = 2**20


class _Alike:
    """Endpoints of one weight: when one of them is due, by the turns they have had and the `phase` they began at."""

    __slots__ = ("had", "looked", "phase", "rate", "ring", "weight")

    def __init__(self, weight: float, members: Sequence[tuple[float, Endpoint]]) -> None:
        size = len(members)
        self.ring = tuple(endpoint for _, endpoint in members)
        self.weight = weight
        self.rate = weight * size
        """Turns in one unit of virtual time."""
        # Each member's share of its own period, less its place among them, in turns: the mean puts the ring where its
        # members are. In steps that floats add up without rounding, so that turns at the edge never change sides.
        mean = sum(phase * size - place for place, (phase, _) in enumerate(members)) / size
        self.phase = int(max(0.0, mean) * _STEPS) / _STEPS
        self.had = 0
        self.looked = 0

    def due(self) -> float:
        # One division of a count, not a sum of quotients: no error adds up, and equal times stay equal.
        return (self.phase + self.had) / self.rate

    def next(self) -> Endpoint:
        return self.ring[self.had % len(self.ring)]


class Schedule:
    """Endpoints in the order in which they are due; an endpoint of weight w is due every 1/w.

    In one unit of virtual time each has exactly its weight in turns, evenly spread. Ties go by the order given.
    """

    __slots__ = ("_heap", "_lock", "_now", "_owed")

    def __init__(self, phases: Iterable[tuple[float, Endpoint]]) -> None:
        by_weight: dict[float, list[tuple[float, Endpoint]]] = {}
        for phase, endpoint in phases:
            by_weight.setdefault(weight_of(endpoint), []).append((phase, endpoint))
        alike = [_Alike(weight, members) for weight, members in by_weight.items()]
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
            endpoint = turn.ring[turn.had % len(turn.ring)]
            if not self._owed and endpoint not in tried and usable(endpoint):
                self._now = due
                turn.had += 1
                heapq.heapreplace(heap, ((turn.phase + turn.had) / turn.rate, order, turn))
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
            if turn.looked < len(turn.ring):
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
            late = self._now - turn.due()
            if late >= 0:
                turn.had += int(late * turn.rate) + 1
            heapq.heappush(self._heap, (turn.due(), order, turn))

    def phases(self) -> list[tuple[float, Endpoint]]:
        """Return each endpoint with the share of its own period until it is due: 0 if it is overdue."""
        with self._lock:
            owed = frozenset(self._owed)
            found: list[tuple[float, Endpoint]] = []
            for due, _, turn in self._heap:
                size = len(turn.ring)
                first, ahead = turn.had % size, max(0.0, (due - self._now) * turn.weight)
                order = turn.ring[first:] + turn.ring[:first]
                found += (
                    (0.0 if endpoint in owed else ahead + place / size, endpoint)
                    for place, endpoint in enumerate(order)
                )
            return found
