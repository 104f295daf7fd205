"""Who of those that stand in a line is next, and who has to give way when it is full.

The most important first. Among equals first come, first served, until the one who has waited longest has waited too
long: then the line is not moving fast enough for all, the oldest have mostly been given up by their own callers, and
the newest are served first (adaptive LIFO; Maurer, *Fail at Scale*, ACM Queue 2015).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from resilience.core.slots import Line, Slots, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resilience.core.ports import Gate


class RankedWaiter(Waiter):
    """One caller in the line: how important it is, and since when it waits."""

    __slots__ = ("clock", "rank", "since")

    def __init__(self, gate: Gate, slots: Slots, *, rank: float, clock: Callable[[], float]) -> None:
        super().__init__(gate, (slots,))
        self.rank = rank
        self.clock = clock
        self.since = clock()


def overloaded(line: Sequence[RankedWaiter], now: float, lifo_after: float, /) -> bool:
    """Tell whether the one who has waited longest has waited too long. `line` is in the order of arrival."""
    return bool(line) and now - line[0].since > lifo_after


def next_of(line: Sequence[RankedWaiter], now: float, lifo_after: float, /) -> RankedWaiter:
    """Return who is next; the line is not empty."""
    best = max(waiter.rank for waiter in line)
    candidates = [waiter for waiter in line if waiter.rank == best]
    return candidates[-1 if overloaded(line, now, lifo_after) else 0]


def gives_way(
    line: Sequence[RankedWaiter], newcomer: RankedWaiter, now: float, lifo_after: float, /
) -> RankedWaiter | None:
    """Return who has to leave a full line for the newcomer; None when it is the newcomer itself."""
    if not line:
        return None
    least = min(waiter.rank for waiter in line)
    candidates = [waiter for waiter in line if waiter.rank == least]
    if overloaded(line, now, lifo_after):
        return candidates[0] if least <= newcomer.rank else None
    return candidates[-1] if least < newcomer.rank else None


class RankedLine(Line):
    """A line in which not all are equal."""

    __slots__ = ("lifo_after",)

    def __init__(self, *, lifo_after: float = math.inf) -> None:
        super().__init__()
        self.lifo_after = lifo_after

    def stand(self, waiter: RankedWaiter, /, *, longest: int) -> bool:
        """Take a slot that is free, or stand in the line, in the place of somebody else if need be."""
        slots = waiter.wants[0]
        with self.lock:
            if slots.taken < slots.limit and not self.waiters:
                slots.taken += 1
                waiter.slots = slots
                return True
            leaves = None
            if len(self.waiters) >= longest:
                leaves = gives_way(self.ranked(), waiter, waiter.since, self.lifo_after)
                if leaves is None:
                    return False
                self.waiters.remove(leaves)
            self.waiters.append(waiter)
        if leaves is not None:
            leaves.gate.open()
        return True

    def ranked(self) -> list[RankedWaiter]:
        """Return those who wait, in the order of arrival."""
        return [waiter for waiter in self.waiters if isinstance(waiter, RankedWaiter)]


class RankedSlots(Slots):
    """Slots that are handed to the most important first."""

    __slots__ = ("ranked_line",)

    def __init__(self, limit: float, line: RankedLine) -> None:
        super().__init__(limit, line)
        self.ranked_line = line

    def _next_locked(self) -> Waiter | None:
        line = self.ranked_line.ranked()
        if not line:
            return None
        try:
            return next_of(line, line[0].clock(), self.ranked_line.lifo_after)
        except Exception:  # noqa: BLE001 - of a number of somebody's own making, say, that does not compare
            # Whoever gives the slot back is not to blame, and must not keep it: who came first is next.
            return line[0]
