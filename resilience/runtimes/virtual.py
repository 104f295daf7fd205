"""Virtual time: a deterministic scheduler whose clock jumps to the next thing that is due.

Coroutines written against ``Runtime`` run here in microseconds, any number of them at once, in an order that depends on
the seed alone. A run in which everybody waits for something that cannot come raises instead of hanging.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator

T = TypeVar("T")


class VirtualCancelled(BaseException):
    """Cancellation on virtual time; a BaseException, as it is on real loops."""


class Task:
    """One coroutine on virtual time, in a context of its own; `result` or `error` once it is `done`."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        self.coroutine = coroutine
        self.context = copy_context()
        self.name = name
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.cancelled = False
        self.shields = 0
        self.wakeup = 0
        """Number of the suspension the task is in: a wake-up meant for an earlier one is ignored."""
        self.on_done: list[Callable[[], None]] = []


class _Suspend:
    """The one awaitable: suspends the running task until somebody wakes it."""

    def __init__(self, arrange: Callable[[Task, int], None]) -> None:
        self.arrange = arrange

    def __await__(self) -> Generator[_Suspend, None, None]:
        yield self


class VirtualGate:
    """A gate on virtual time."""

    def __init__(self, runtime: VirtualRuntime) -> None:
        self._runtime = runtime
        self._open = False
        self._waiter: tuple[Task, int] | None = None

    async def wait(self, timeout: float, /) -> bool:
        """Wait until the gate opens, at most `timeout` virtual seconds; tell whether it did."""
        if not self._open:

            def arrange(task: Task, suspension: int) -> None:
                self._waiter = (task, suspension)
                if not math.isinf(timeout):
                    self._runtime.wake_at(self._runtime.now() + max(0.0, timeout), task, suspension)

            await _Suspend(arrange)
        return self._open

    def open(self) -> None:
        """Let the waiter go."""
        self._open = True
        if self._waiter is not None:
            self._runtime.wake_at(self._runtime.now(), *self._waiter)


class VirtualStarted:
    """A task started beside its caller."""

    def __init__(self, runtime: VirtualRuntime, task: Task) -> None:
        self._runtime = runtime
        self._task = task

    def stop(self) -> None:
        """Cancel it."""
        self._runtime.cancel(self._task)

    async def gone(self) -> None:
        """Wait until it has ended."""
        if not self._task.done:
            gate = self._runtime.gate()
            self._task.on_done.append(gate.open)
            await gate.wait(math.inf)


class VirtualRuntime:
    """A runtime whose clock stands still while code runs. `seed` fixes every random choice."""

    def __init__(self, *, start: float = 1000.0, seed: int = 0) -> None:
        self._now = start
        self._random = random.Random(seed)  # noqa: S311 - for simulation
        self._order = itertools.count()
        self._due: list[tuple[float, int, Task, int]] = []
        self._running: Task | None = None

    def now(self) -> float:
        """Return the virtual time, in seconds."""
        return self._now

    def random(self) -> float:
        """Return the next number in [0, 1) of the seeded sequence."""
        return self._random.random()

    def gate(self) -> VirtualGate:
        """Return a new, closed gate."""
        return VirtualGate(self)

    async def sleep(self, seconds: float, /) -> None:
        """Let `seconds` of virtual time pass."""
        until = self._now + max(0.0, seconds)
        await _Suspend(lambda task, suspension: self.wake_at(until, task, suspension))

    async def limit(self, seconds: float, work: Callable[[], Awaitable[T]], /) -> T:
        """Run `work` and cancel it after `seconds` of virtual time, raising TimeoutError."""
        if math.isinf(seconds):
            return await work()
        task = self.spawn(work, name="limited")
        gate = self.gate()
        task.on_done.append(gate.open)
        try:
            finished = await gate.wait(seconds)
        except BaseException:
            await self._end(task)
            raise
        if not finished:
            await self._end(task)
            if isinstance(task.error, VirtualCancelled):
                raise TimeoutError
        return cast("T", _outcome(task))

    def start(self, work: Callable[[], Awaitable[object]], /) -> VirtualStarted:
        """Run `work` as a task beside the caller."""
        return VirtualStarted(self, self.spawn(work, name="started"))

    async def first(self, *racers: Callable[[], Awaitable[T]]) -> T:
        """Run all racers and return the first result; if all raise, raise what the last one raised."""
        tasks = [self.spawn(racer, name=f"racer-{number}") for number, racer in enumerate(racers)]
        ended: list[Task] = []
        try:
            while True:
                gate = self.gate()
                for task in tasks:
                    task.on_done.append(gate.open)
                ended = [task for task in tasks if task.done]
                won = [task for task in ended if task.error is None]
                if won:
                    return cast("T", won[0].result)
                if len(ended) == len(tasks):
                    return cast("T", _outcome(ended[-1]))
                await gate.wait(math.inf)
        finally:
            for task in tasks:
                await self._end(task)

    @asynccontextmanager
    async def shield(self) -> AsyncGenerator[None]:
        """Guard clean-up against cancellation."""
        task = self._current()
        task.shields += 1
        try:
            yield
        finally:
            task.shields -= 1

    # Scheduling.

    def spawn(self, work: Callable[[], Awaitable[Any]], *, name: str = "task") -> Task:
        """Start a task; it runs as soon as the running one suspends."""

        async def run() -> Any:  # noqa: ANN401 - the result of whatever it runs
            return await work()

        task = Task(run(), name)
        self.wake_at(self._now, task, 0)
        return task

    def cancel(self, task: Task) -> None:
        """Cancel a task at the point where it is suspended (or as soon as its shields end)."""
        task.cancelled = True
        if not task.done and not task.shields:
            self.wake_at(self._now, task, task.wakeup)

    def wake_at(self, when: float, task: Task, suspension: int) -> None:
        """Have `task` go on at `when`, if it is still in that suspension then."""
        heapq.heappush(self._due, (when, next(self._order), task, suspension))

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work` and all it spawns until it is done; raises RuntimeError rather than hang."""
        task = self.spawn(work, name="main")
        while not task.done:
            if not self._due:
                message = f"at virtual time {self._now:.3f} everybody waits for something that cannot come"
                raise RuntimeError(message)
            self._step()
        return cast("T", _outcome(task))

    def advance(self, seconds: float) -> None:
        """Run everything that is due within the next `seconds`, then let the clock stand at their end."""
        until = self._now + seconds
        while self._due and self._due[0][0] <= until:
            self._step()
        self._now = until

    def _step(self) -> None:
        when, _, task, suspension = heapq.heappop(self._due)
        if task.done or suspension != task.wakeup:
            return
        self._now = max(self._now, when)
        task.wakeup += 1
        outer, self._running = self._running, task
        try:
            if task.cancelled and not task.shields:
                task.cancelled = False
                suspend = task.context.run(task.coroutine.throw, VirtualCancelled())
            else:
                suspend = task.context.run(task.coroutine.send, None)
        except StopIteration as stop:
            self._finish(task, stop.value, None)
        except BaseException as error:  # noqa: BLE001 - kept for whoever asks for the result
            self._finish(task, None, error)
        else:
            if not isinstance(suspend, _Suspend):
                message = f"{task.name} awaited {suspend!r}, which is not of the virtual runtime"
                raise RuntimeError(message)  # noqa: TRY004 - a bug of the policy, not a wrong argument
            suspend.arrange(task, task.wakeup)
            if task.cancelled and not task.shields:
                self.wake_at(self._now, task, task.wakeup)
        finally:
            self._running = outer

    def _finish(self, task: Task, result: object, error: BaseException | None) -> None:
        task.done, task.result, task.error = True, result, error
        for callback in task.on_done:
            callback()

    def _current(self) -> Task:
        if self._running is None:
            message = "no task is running on this virtual runtime"
            raise RuntimeError(message)
        return self._running

    async def _end(self, task: Task) -> None:
        if not task.done:
            self.cancel(task)
            gate = self.gate()
            task.on_done.append(gate.open)
            async with self.shield():
                await gate.wait(math.inf)


def _outcome(task: Task) -> Any:  # noqa: ANN401
    if task.error is not None:
        raise task.error
    return task.result
