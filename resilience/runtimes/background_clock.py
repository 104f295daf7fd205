"""The background thread on a clock that jumps: the same jobs on the same kind of loop, when it is their turn."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING

from resilience.core.call import ambient
from resilience.runtimes.background import BackgroundThread, Life
from resilience.runtimes.clock_tasks import LoopOnClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilience.core.call import Ambient
    from resilience.runtimes.clock import Clock


class ClockLife(Life):
    """One life of the thread; what is posted finds the clock around it."""

    def __init__(self, clock: Clock, around: Ambient) -> None:
        self.loop = asyncio.SelectorEventLoop()
        self._around = around
        LoopOnClock(clock, self.loop)
        self.thread = clock.begin(self.run, name="resilience-background")

    def post(self, act: Callable[..., object], *args: object) -> None:
        """Have `act` called on the thread, if it still lives; in a context of its own."""
        context = Context()
        context.run(ambient.set, self._around)
        try:
            self.loop.call_soon_threadsafe(act, *args, context=context)
        except RuntimeError:  # closed
            return


class ClockBackground(BackgroundThread):
    """Hands out leases of such a thread."""

    def __init__(self, clock: Clock, around: Ambient) -> None:
        super().__init__()
        self._clock = clock
        self._around = around

    def new_life(self) -> Life:
        """Start a thread."""
        return ClockLife(self._clock, self._around)

    def stop(self) -> None:
        """End all of it, while the clock still goes."""
        for lease in list(self._leases):
            lease.release()
        for _ in range(_LAST_TURNS):
            if not self.running:
                return
            self._clock.wait(self._clock.now())


_LAST_TURNS = 100
