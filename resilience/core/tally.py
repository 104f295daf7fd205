"""A number that any thread may raise, and any other may read."""

from __future__ import annotations

import itertools


class Tally:
    """Counts calls of :attr:`step`. One step is one atomic operation: no lock, and none lost between threads."""

    __slots__ = ("_count", "step")

    def __init__(self) -> None:
        self._count = itertools.count()
        self.step = self._count.__next__

    @property
    def value(self) -> int:
        """Return how many steps there were."""
        # Its only public, non-consuming view of itself: ``count(3)``.
        return int(repr(self._count)[len("count(") : -1])
