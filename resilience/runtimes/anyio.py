"""asyncio and trio, through anyio, with native cancellation."""

from __future__ import annotations

import asyncio
import math
import random
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio
from anyio.lowlevel import current_token

from resilience.runtimes.alarms import Alarm, AlarmsOfLoops
from resilience.runtimes.loop_time import monotonic, slack, slack_here
from resilience.runtimes.tasks import StartedTask

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine

T = TypeVar("T")


class AsyncGate:
    """A gate for a task; opened from any thread, task or event loop."""

    __slots__ = ("_event", "_token")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._token = current_token().native_token

    async def wait(self, timeout: float, /) -> bool:
        """Wait until the gate opens, at most `timeout` seconds; tell whether it did."""
        if math.isinf(timeout):
            await self._event.wait()
        else:
            with anyio.move_on_after(max(0.0, timeout) + slack(self._token)):
                await self._event.wait()
        return self._event.is_set()

    def open(self) -> None:
        """Let the waiter go. Always by way of its own loop: an anyio event is not thread-safe."""
        token: Any = self._token
        schedule = getattr(token, "call_soon_threadsafe", None) or token.run_sync_soon
        try:
            schedule(self._event.set)
        except RuntimeError:  # the waiter's loop is closed: nobody waits any more
            return


@asynccontextmanager
async def _shielded() -> AsyncGenerator[None]:
    with anyio.CancelScope(shield=True):
        yield


class Cut:
    """A time limit on one piece of work that can be brought forward, from another task of the same loop."""

    __slots__ = ("_scope", "brought_forward")

    def __init__(self) -> None:
        self._scope = anyio.CancelScope()
        self.brought_forward = False

    async def run(self, seconds: float, work: Callable[[], Awaitable[T]], /) -> T:
        """Run `work`; raise TimeoutError after `seconds`, or when it is cut."""
        if not math.isinf(seconds):
            self._scope.deadline = anyio.current_time() + max(0.0, seconds) + slack_here()
        with self._scope:
            return await work()
        raise TimeoutError

    def within(self, seconds: float, /) -> None:
        """Give it so much from now, instead of what it was given first."""
        self._scope.deadline = anyio.current_time() + max(0.0, seconds) + slack_here()

    def now(self) -> None:
        """End the work."""
        self.brought_forward = True
        self._scope.cancel()


ALARMS = AlarmsOfLoops()


async def _limit_on_asyncio(loop: asyncio.AbstractEventLoop, seconds: float, work: Callable[[], Awaitable[T]]) -> T:
    """Do what ``asyncio.timeout`` does, at a fraction of a scope's price: this is on every guarded call's way."""
    task = cast("asyncio.Task[object]", asyncio.current_task(loop))  # of the loop: else it looks for it again
    before = task.cancelling()
    alarms = ALARMS.of(loop)
    alarm = Alarm(task, (loop.time() if alarms.exact else monotonic()) + seconds)
    alarms.set(alarm)
    try:
        result = await work()
    except BaseException as error:
        # The request to cancel is this limit's own, and over with it whatever the work has made of it. Left standing it
        # would look to every limit further out as if somebody else wanted the task cancelled.
        if alarm.fired and task.uncancel() <= before and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from None
        raise
    else:
        if alarm.fired:  # the work has swallowed it, and answers all the same
            task.uncancel()
        return result
    finally:
        alarms.pending.pop(alarm, None)


async def _limit_in_scope(seconds: float, work: Callable[[], Awaitable[T]]) -> T:
    with anyio.CancelScope(deadline=anyio.current_time() + seconds):
        return await work()
    raise TimeoutError  # the scope swallows nothing but its own cancellation


async def _sleep(seconds: float, /) -> None:
    await anyio.sleep(seconds + slack_here() if seconds > 0 else seconds)


async def _unlimited(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


class AnyioRuntime:
    """Waits by suspending the task."""

    __slots__ = ()

    now = staticmethod(time.monotonic)
    random = staticmethod(random.random)
    sleep = staticmethod(_sleep)
    gate = staticmethod(AsyncGate)
    shield = staticmethod(_shielded)
    start = staticmethod(StartedTask)

    def limit(self, seconds: float, work: Callable[[], Awaitable[T]], /) -> Coroutine[Any, Any, T]:
        """Run `work` and cancel it after `seconds`, raising TimeoutError.

        Chooses the coroutine instead of being one: a frame fewer on every guarded call's way.
        """
        if seconds == math.inf:
            return _unlimited(work)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return _limit_in_scope(seconds, work)
        return _limit_on_asyncio(loop, seconds, work)

    async def first(self, *racers: Callable[[], Awaitable[T]]) -> T:
        """Run all racers as tasks and return the first result; if all raise, raise what the last one raised."""
        won: list[T] = []
        failures: list[Exception] = []
        async with anyio.create_task_group() as group:

            async def run(racer: Callable[[], Awaitable[T]]) -> None:
                try:
                    value = await racer()
                except Exception as error:  # noqa: BLE001 - another racer may still succeed
                    failures.append(error)
                else:
                    won.append(value)
                    group.cancel_scope.cancel()

            for racer in racers:
                group.start_soon(run, racer)
        if won:
            return won[0]
        raise failures[-1]


ANYIO = AnyioRuntime()
