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
    """One caller in the line, and which slots are of use to it.

    `slots` is set when it is handed one; still None when it was merely stirred.
    """

    __slots__ = ("gate", "slots", "wants")

    def __init__(self, gate: Gate, wants: tuple[Slots, ...]) -> None:
        self.gate = gate
        self.wants = wants
        self.slots: Slots | None = None


class Line:
    """The line in front of one or several :class:`Slots`, first come, first served."""

    __slots__ = ("lock", "stirs", "waiters")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waiters: deque[Waiter] = deque()
        self.stirs = 0
        """How often everybody was woken: who has looked before that, and joins after it, has to look again."""

    def join(self, gate: Gate, candidates: Iterable[Slots], /, *, longest: float) -> Waiter | None:
        """Take a slot that is free and unclaimed, or stand at the end of the line; None when `longest` already wait."""
        waiter = Waiter(gate, tuple(candidates))
        with self.lock:
            for slots in waiter.wants:
                if slots.taken < slots.limit and not self.claimed_locked(slots):
                    slots.taken += 1
                    waiter.slots = slots
                    return waiter
            if len(self.waiters) >= longest:
                return None
            self.waiters.append(waiter)
        return waiter

    def claimed_locked(self, slots: Slots) -> bool:
        """Tell whether somebody in the line waits for these slots."""
        return bool(self.waiters) and any(slots in waiter.wants for waiter in self.waiters)

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
            self.stirs += 1
            woken = list(self.waiters)
            self.waiters.clear()
        for waiter in woken:
            waiter.gate.open()


class Slots:
    """At most `limit` at once. `taken` is exact at any moment the lock is free."""

    __slots__ = ("limit", "line", "lock", "taken")

    def __init__(self, limit: float, line: Line | None = None) -> None:
        self.limit = limit
        self.taken = 0
        self.line = Line() if line is None else line
        self.lock = self.line.lock

    def take(self) -> bool:
        """Take a slot now; false when all are taken or somebody stands in line for one."""
        line = self.line
        with line.lock:
            if self.taken >= self.limit or (line.waiters and line.claimed_locked(self)):
                return False
            self.taken += 1
            return True

    def give_back(self) -> None:
        """Free a slot, or hand it to the first in the line who wants it."""
        line = self.line
        with line.lock:
            waiter = self._next_locked() if line.waiters and self.taken <= self.limit else None
            if waiter is None:
                self.taken -= 1
                return
            line.waiters.remove(waiter)
            waiter.slots = self
        waiter.gate.open()

    def resize(self, limit: float, /) -> None:
        """Change the limit. More room is handed to those who wait; with less, those inside stay until they leave."""
        handed: list[Waiter] = []
        line = self.line
        with line.lock:
            self.limit = limit
            while line.waiters and self.taken < limit:
                waiter = self._next_locked()
                if waiter is None:
                    break
                line.waiters.remove(waiter)
                waiter.slots = self
                self.taken += 1
                handed.append(waiter)
        for waiter in handed:
            waiter.gate.open()

    def _next_locked(self) -> Waiter | None:
        return next((waiter for waiter in self.line.waiters if self in waiter.wants), None)
