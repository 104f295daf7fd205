"""Turns by weight: a heap of virtual due times (earliest deadline first), smooth and exact over a cycle."""

from __future__ import annotations

import heapq
import threading
from typing import TYPE_CHECKING

from resilience.balancing.tiers import weight_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from resilience.core.endpoint import Endpoint


_STEPS = 2**20


class _Turn:
    """When one endpoint is due: its `phase` (the share of its period it starts at) and the turns it has had."""

    __slots__ = ("endpoint", "had", "phase", "weight")

    def __init__(self, endpoint: Endpoint, phase: float) -> None:
        self.endpoint = endpoint
        self.weight = weight_of(endpoint)
        # In steps that floats add up without rounding, so that turns at the edge of a cycle never change sides.
        self.phase = int(phase * _STEPS) / _STEPS
        self.had = 0

    def due(self) -> float:
        # One division of a count, not a sum of quotients: no error adds up, and equal times stay equal.
        return (self.phase + self.had) / self.weight


class Schedule:
    """Endpoints in the order in which they are due; an endpoint of weight w is due every 1/w.

    In one unit of virtual time each has exactly its weight in turns, evenly spread. Ties go by the order given.
    """

    __slots__ = ("_heap", "_lock", "_now")

    def __init__(self, phases: Iterable[tuple[float, Endpoint]]) -> None:
        turns = [_Turn(endpoint, phase) for phase, endpoint in phases]
        self._heap = [(turn.due(), order, turn) for order, turn in enumerate(turns)]
        heapq.heapify(self._heap)
        self._now = 0.0
        self._lock = threading.Lock()

    def draw(self, tried: tuple[Endpoint, ...], usable: Callable[[Endpoint], bool]) -> Endpoint | None:
        """Return the usable endpoint due first, one of `tried` only for want of another; None when none is usable."""
        with self._lock:
            heap = self._heap
            due, order, turn = heap[0]
            endpoint = turn.endpoint
            if endpoint not in tried and usable(endpoint):
                self._now = due
                turn.had += 1
                heapq.heapreplace(heap, (turn.due(), order, turn))
                return endpoint
            return self._draw_past(tried, usable)

    def _draw_past(self, tried: tuple[Endpoint, ...], usable: Callable[[Endpoint], bool]) -> Endpoint | None:
        """Look further than the head of the heap."""
        heap = self._heap
        looked: list[tuple[float, int, _Turn]] = []
        unusable: list[_Turn] = []
        chosen: tuple[float, int, _Turn] | None = None
        try:
            while heap:
                looked.append(heapq.heappop(heap))
                endpoint = looked[-1][2].endpoint
                if not usable(endpoint):
                    unusable.append(looked[-1][2])
                elif endpoint not in tried:
                    chosen = looked[-1]
                    break
                else:
                    chosen = chosen or looked[-1]
            if chosen is None:
                return None
            self._now = max(self._now, chosen[0])
            chosen[2].had += 1
            for turn in unusable:
                # It loses the turns it could not take, or it would be flooded by them on its return. One that was
                # only passed over because this call has tried it keeps its turn for the next call.
                turn.had += max(0, int((self._now - turn.due()) * turn.weight)) + 1
            return chosen[2].endpoint
        finally:
            for _, order, turn in looked:
                heapq.heappush(heap, (turn.due(), order, turn))

    def phases(self) -> list[tuple[float, Endpoint]]:
        """Return each endpoint with the share of its own period until it is due, the next one first."""
        with self._lock:
            # One that this schedule passed over is overdue: it is next.
            return [(max(0.0, (due - self._now) * turn.weight), turn.endpoint) for due, _, turn in sorted(self._heap)]
