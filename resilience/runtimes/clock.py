"""A clock that stands still while code runs, and jumps when everybody waits: for plain threads and event loops alike.

Whoever waits on this clock hands his turn to whoever is due next, and that one's time becomes the time. So one thread
runs at a time, in an order that depends on nothing but the program. When nobody is due, nobody ever will be: that
raises :class:`StuckError` where the program's own thread waits, instead of hanging.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import threading
import time
from contextvars import Context
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = 86_400.0
TURNS = 1_000_000
"""So many at one instant, and the program goes in circles: it polls (``sleep(0)``) for what time alone would bring."""
_GRID = 2.0**-26
"""Seconds; instants are multiples of it, rounded up, so that no test depends on how long the machine has been running:
the sum of a whole number and a fraction is rounded differently from one power of two to the next."""
_LATEST = [0.0]
"""The end of the latest clock of this process: the next one starts no earlier, since state may have seen it."""


class StuckError(RuntimeError):
    """Everybody waits for something that cannot come; in real time, the program would hang here."""


class Circles:
    """Counts the turns at one instant: where nobody waits, no time passes, and nothing comes of waiting for it."""

    __slots__ = ("_instant", "_turns")

    def __init__(self) -> None:
        self._instant = -math.inf
        self._turns = 0

    def turn(self, now: float, /) -> StuckError | None:
        """Note a turn; return what is to be raised if it was one too many."""
        if now != self._instant:
            self._instant, self._turns = now, 0
        self._turns += 1
        if self._turns <= TURNS:
            return None
        self._turns = 0
        return StuckError(f"the program goes in circles: {TURNS} turns, and nobody has let time pass")


class Over(BaseException):
    """The clock has been stopped; a BaseException, so that nobody takes it for a failure."""


class Turn:
    """One thread's part in a clock."""

    __slots__ = ("baton", "done", "error", "thread", "waits")

    def __init__(self) -> None:
        self.baton = threading.Lock()
        self.baton.acquire()
        self.thread = threading.get_ident()
        self.waits = 0
        """Number of the wait it is in: a wake-up meant for an earlier one is ignored."""
        self.error: BaseException | None = None
        """Raised when it goes on."""
        self.done = False


class Wake:
    """How to end one wait early; from the thread whose turn it is."""

    __slots__ = ("number", "turn")

    def __init__(self) -> None:
        self.turn: Turn | None = None
        self.number = 0


class Clock:
    """The time, and whose turn it is. `limit`: virtual seconds after which a program counts as stuck."""

    def __init__(self, *, seed: int = 0, limit: float = DAY) -> None:
        # Not before the real time, nor before what state may have seen of an earlier clock; a whole number.
        self.start = float(math.ceil(max(time.monotonic(), _LATEST[0])))
        self.limit = limit
        self.seed = seed
        self.random = random.Random(seed).random  # noqa: S311 - for repetition
        self.slept: list[float] = []
        """What was asked of `sleep`, in order."""
        self._now = self.start
        self._circles = Circles()
        self._lock = threading.Lock()
        self._order = itertools.count()
        self._due: list[tuple[float, int, Turn, int]] = []
        self._main = self._running = Turn()
        self._others: dict[Turn, threading.Thread] = {}
        self._daemons = WeakSet(thread for thread in threading.enumerate() if thread.daemon)
        self._over = False

    def now(self) -> float:
        """Return the time in seconds; comparable with ``time.monotonic()``."""
        return self._now

    @property
    def elapsed(self) -> float:
        """Seconds since this clock was made, to the microsecond."""
        return round(self._now - self.start, 6)

    @property
    def mine(self) -> bool:
        """Tell whether it is the calling thread's turn."""
        return self._running.thread == threading.get_ident()

    @property
    def somebody_due(self) -> bool:
        """Tell whether anybody on this clock goes on by himself."""
        with self._lock:
            self._drop_stale_locked()
            return bool(self._due)

    @property
    def others_live(self) -> bool:
        """Tell whether there are threads that take no part in this clock, and may have to do with it.

        Not the daemons that have been there before: they belong to others.
        """
        mine = {*self._daemons, *self._others.values(), threading.current_thread()}
        return not mine.issuperset(threading.enumerate())

    # Waiting.

    def wait(self, until: float, wake: Wake | None = None) -> None:
        """Let the others go on until the instant `until`, or until somebody gives `wake` to :meth:`rouse`."""
        me = self._running
        if me.thread != threading.get_ident():
            message = "this thread takes no part in virtual time: begin it with clock.start(function)"
            raise RuntimeError(message)
        if self._over and me is not self._main:
            raise Over
        me.waits += 1
        if wake is not None:
            wake.turn, wake.number = me, me.waits
        if until != math.inf:
            self._push(until, me, me.waits)
        self._pass_on(me)

    def wait_or_look(self, until: float) -> None:
        """Wait, but come back as soon as somebody else has run: for loops that nobody can rouse."""
        with self._lock:
            self._drop_stale_locked()
            if self._due:
                until = min(until, self._due[0][0])
        self.wait(until)

    def rouse(self, wake: Wake) -> None:
        """End a wait; one that is over already is left alone."""
        if wake.turn is not None:
            self._push(self._now, wake.turn, wake.number)

    def _push(self, when: float, turn: Turn, number: int) -> None:
        with self._lock:
            heapq.heappush(self._due, (when, next(self._order), turn, number))

    def _drop_stale_locked(self) -> None:
        due = self._due
        while due and (due[0][2].done or due[0][3] != due[0][2].waits):
            heapq.heappop(due)

    def _next(self) -> Turn:
        """Return who goes on; the time becomes theirs."""
        with self._lock:
            self._drop_stale_locked()
            if not self._due:
                why = f"after {self.elapsed:g} s everybody waits for something that cannot come"
                return self._stuck(StuckError(why))
            when = self._due[0][0]
            if when > self.start + self.limit:
                why = f"{self.limit:g} s have passed: has the program lost its way? (virtual(limit=…))"
                return self._stuck(StuckError(why))
            now = max(self._now, math.ceil(when / _GRID) * _GRID)
            circles = self._circles.turn(now)
            if circles is not None:
                return self._stuck(circles)
            self._now = now
            return heapq.heappop(self._due)[2]

    def _stuck(self, error: StuckError) -> Turn:
        self._main.error = error
        return self._main

    def _pass_on(self, me: Turn) -> None:
        turn = self._next()
        if turn is not me:
            self._running = turn
            turn.baton.release()
            me.baton.acquire()
        error, me.error = me.error, None
        if error is not None:
            raise error

    # Threads.

    def begin(self, work: Callable[[], object], *, name: str) -> threading.Thread:
        """Run `work` in a thread of its own, from when the caller next waits. What it raises is its own affair."""
        turn = Turn()

        def run() -> None:
            turn.thread = threading.get_ident()
            turn.baton.acquire()
            try:
                if turn.error is None:
                    work()
            except Over:
                pass
            finally:
                turn.done = True
                following = self._main if self._over else self._next()
                self._running = following
                following.baton.release()

        turn.waits = 1
        self._others = {other: thread for other, thread in self._others.items() if not other.done}
        thread = self._others[turn] = threading.Thread(target=run, name=name, daemon=True)
        Context().run(thread.start)  # which waits until it has begun, in real time
        self._push(self._now, turn, 1)
        return thread

    def stop(self) -> None:
        """End every thread that is left: by raising :class:`Over` where it waits."""
        self._over = True
        _LATEST[0] = max(_LATEST[0], self._now)
        for turn, thread in self._others.items():
            while not turn.done:
                turn.error = Over()
                self._running = turn
                turn.baton.release()
                self._main.baton.acquire()
                self._running = self._main
            thread.join()
        self._main.error = None
