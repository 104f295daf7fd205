"""How many may be inside at once, and the first-come-first-served line of those who wait.

Pure bookkeeping under one lock; whoever waits does so on a gate of its own runtime. A slot that comes free is handed to
the head of the line directly, so nobody can overtake, and a waiter that gives up passes on what it was handed.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from resilience.core.ports import Gate


class Waiter:
    """One caller in the line. `slots` is set when it is handed a slot; still None when it was merely stirred."""

    __slots__ = ("gate", "slots")

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.slots: Slots | None = None


class Line:
    """The line in front of one or several :class:`Slots`, first come, first served."""

    __slots__ = ("lock", "waiters")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waiters: deque[Waiter] = deque()

    def join(self, gate: Gate, candidates: Iterable[Slots], /, *, longest: float) -> Waiter | None:
        """Take a slot that is free and unclaimed, or stand at the end of the line; None when `longest` already wait."""
        waiter = Waiter(gate)
        with self.lock:
            if not self.waiters:
                for slots in candidates:
                    if slots.taken < slots.limit:
                        slots.taken += 1
                        waiter.slots = slots
                        return waiter
            if len(self.waiters) >= longest:
                return None
            self.waiters.append(waiter)
        return waiter

    def leave(self, waiter: Waiter, /) -> None:
        """Give up waiting. A slot that was handed over meanwhile goes to the next in line."""
        with self.lock:
            slots = waiter.slots
            if slots is None:
                # Not in the line any more when it was stirred: then there is nothing to take back.
                if waiter in self.waiters:
                    self.waiters.remove(waiter)
                return
        slots.give_back()

    def stir(self) -> None:
        """Wake everybody to look again: endpoints or circuits have changed."""
        with self.lock:
            woken = list(self.waiters)
            self.waiters.clear()
        for waiter in woken:
            waiter.gate.open()


class Slots:
    """At most `limit` at once. `taken` is exact at any moment the lock is free."""

    __slots__ = ("limit", "line", "taken")

    def __init__(self, limit: float, line: Line | None = None) -> None:
        self.limit = limit
        self.taken = 0
        self.line = Line() if line is None else line

    def take(self) -> bool:
        """Take a slot now; false when all are taken or somebody stands in line for one."""
        line = self.line
        with line.lock:
            if self.taken >= self.limit or line.waiters:
                return False
            self.taken += 1
            return True

    def give_back(self) -> None:
        """Free a slot, or hand it to the head of the line."""
        line = self.line
        with line.lock:
            if not line.waiters or self.taken > self.limit:
                self.taken -= 1
                return
            waiter = line.waiters.popleft()
            waiter.slots = self
        waiter.gate.open()
