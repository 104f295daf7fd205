"""Everything that runs on one clock: threads, tasks, the background thread, and what ``time`` tells the code around."""

from __future__ import annotations

import asyncio
import queue
import random
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from resilience.core.call import NEVER, Ambient, ambient
from resilience.runtimes import clock_conditions
from resilience.runtimes.background_clock import ClockBackground
from resilience.runtimes.blocking import BlockingRuntime
from resilience.runtimes.clock_tasks import LoopOnClock, TaskRuntime, run_on_asyncio
from resilience.runtimes.clock_threads import ThreadRuntime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextvars import Token

    from resilience.core.ports import Runtime
    from resilience.runtimes.clock import Clock, StuckError

T = TypeVar("T")

_monotonic, _sleep, _run_forever = time.monotonic, time.sleep, asyncio.BaseEventLoop.run_forever
_wait = threading.Condition.wait
_lock = threading.Lock()
_entered = [0]


class World(ThreadRuntime):
    """The runtime for threads on a clock, and the way to everything else that is on it."""

    __slots__ = ("_chance", "_loop", "_token", "around", "background", "tasks")

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.tasks = TaskRuntime(clock)
        self.around = Ambient(runtime=self)
        self.background = self.tasks.background = ClockBackground(clock, self.around)
        self._token: Token[Ambient | None] | None = None
        self._loop: LoopOnClock | None = None
        self._chance: Any = None
        """What the ``random`` module was about to say: inside it begins anew from the clock's seed."""

    def in_place_of(self, runtime: Runtime, /) -> Runtime:
        """Return itself for threads, and its twin for tasks."""
        return self if isinstance(runtime, BlockingRuntime) else self.tasks

    def enter(self) -> None:
        """Have the code that follows run on this clock; a deadline around it stays as far away as it was.

        Inside a task of asyncio its loop goes over to the clock. Raises RuntimeError inside trio, which cannot.
        """
        if "trio" in sys.modules and sys.modules["trio"].lowlevel.in_trio_run():
            message = "trio cannot change clocks while it runs: use clock.run(function, backend='trio') around it"
            raise RuntimeError(message)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if loop is not None:
            self._loop = LoopOnClock(self.clock, loop)
            self._loop.enter()
        self._token = ambient.set(Ambient(_translated(ambient.get(), self), self))
        self._chance = random.getstate()
        random.seed(self.clock.seed)
        with _lock:
            _entered[0] += 1
            _put(_told_time, _told_sleep, _told_to_run, _told_to_wait)

    def leave(self, error: BaseException | None) -> StuckError | None:
        """End what is left and go back to the time that was before; return what `error` means, if it was ours."""
        try:
            if self._token is not None:
                ambient.reset(self._token)
            self.background.stop()
            self.clock.stop()
        finally:
            random.setstate(self._chance)
            with _lock:
                _entered[0] -= 1
                if not _entered[0]:
                    _put(_monotonic, _sleep, _run_forever, _wait)
            if self._loop is not None:
                self._loop.leave()
        return None if self._loop is None else self._loop.translated(error)

    def run(self, main: Callable[[], Awaitable[T]], backend: str) -> T:
        """Run `main` on a new event loop of ``asyncio`` or ``trio``."""
        if backend == "trio":
            from resilience.runtimes.clock_trio import run_on_trio  # noqa: PLC0415 - an extra

            return run_on_trio(self.clock, main)
        return run_on_asyncio(self.clock, main)


def _translated(outer: Ambient | None, world: World) -> float:
    if outer is None or outer.deadline == NEVER:
        return NEVER
    now = _monotonic() if outer.runtime is None else outer.runtime.now()
    return outer.deadline - now + world.now()


# What `time` and asyncio do meanwhile: for code on a clock, what the clock says; for all other, what they always do.


def _put(monotonic: Any, sleep: Any, run_forever: Any, wait: Any) -> None:  # noqa: ANN401 - as the library has them
    time.monotonic, time.sleep = monotonic, sleep
    threading.Condition.wait = wait  # type: ignore[method-assign]
    for module, name in ((threading, "_time"), (queue, "time")):  # the monotonic clock, by names of their own
        setattr(module, name, monotonic)
    asyncio.BaseEventLoop.run_forever = run_forever  # type: ignore[method-assign]


def clock_here() -> Clock | None:
    """Return the clock that the code now running is on; None in real time."""
    around = ambient.get()
    runtime = None if around is None else around.runtime
    clock = getattr(runtime, "clock", None)
    return clock if hasattr(clock, "mine") else None  # a runtime of somebody's own may call something else so


def _told_time() -> float:
    clock = clock_here()
    return _monotonic() if clock is None else clock.now()


def _told_sleep(seconds: float, /) -> None:
    clock = clock_here()
    if clock is None:
        _sleep(seconds)
    elif seconds < 0:
        message = "sleep length must be non-negative"
        raise ValueError(message)
    else:
        clock.wait(clock.now() + seconds)


def _told_to_wait(condition: threading.Condition, timeout: float | None = None) -> bool:
    clock = clock_here()
    if clock is None or not clock.mine:
        return _wait(condition, timeout)
    return clock_conditions.wait(condition, clock, timeout)


def _told_to_run(loop: Any) -> None:  # noqa: ANN401 - a loop of asyncio's
    clock = clock_here()
    if clock is None or not clock.mine or LoopOnClock.has(loop):
        _run_forever(loop)
        return
    on = LoopOnClock(clock, loop)
    try:
        _run_forever(loop)
    finally:
        on.leave()
