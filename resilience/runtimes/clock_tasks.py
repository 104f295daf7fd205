"""Tasks on a clock that jumps: asyncio's event loops and trio's, with their own waits and timers as they are."""

from __future__ import annotations

import asyncio
import math
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio
from anyio.to_thread import current_default_thread_limiter

from resilience.runtimes.anyio import ALARMS, AnyioRuntime
from resilience.runtimes.clock import Circles, Over, StuckError, Wake

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resilience.runtimes.background import BackgroundThread
    from resilience.runtimes.clock import Clock

T = TypeVar("T")

_REAL = 0.01
"""Real seconds between two looks for the result of a thread that takes no part in the clock."""
_PATIENCE = 1000
"""Such looks before the program counts as stuck."""
_SHOWN = 5
"""Tasks that are named when everybody waits."""
_REPLACED = ("time", "call_soon_threadsafe", "run_in_executor", "_clock_resolution")
"""Of a loop, while it lives by a clock."""


class TaskRuntime(AnyioRuntime):
    """Waits by suspending the task, on a loop whose time is the clock's."""

    __slots__ = ("background", "clock", "now", "random")

    background: BackgroundThread

    offline = True
    """Nothing is dialled: what comes over a real network takes real time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.now = clock.now
        self.random = clock.random

    async def sleep(self, seconds: float, /) -> None:
        """Let `seconds` of virtual time pass, and note it."""
        self.clock.slept.append(seconds)
        await self.pass_time(seconds)

    async def pass_time(self, seconds: float, /) -> None:
        """Let `seconds` of virtual time pass."""
        if anyio.current_time() != self.clock.now():
            message = "this event loop does not live by the virtual clock: start it with clock.run(function)"
            raise RuntimeError(message)
        await anyio.sleep(seconds)


class LoopOnClock:
    """Lets an asyncio loop live by the clock: where it would wait for its next timer, it lets others have their turn.

    Takes the place of the loop's selector. Threads that the loop begins (``asyncio.to_thread``) take part in the clock.
    """

    def __init__(self, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        if not isinstance(loop, asyncio.SelectorEventLoop):
            message = f"virtual time runs on asyncio's own event loops, not on {type(loop).__name__}"
            raise RuntimeError(message)  # noqa: TRY004 - no argument of the user's
        self._clock = clock
        self._loop = cast("Any", loop)
        self._selector = self._loop._selector  # noqa: SLF001 - asyncio has no other way in for a loop that runs already
        self._wake = Wake()
        self._circles = Circles()
        self._limiter: anyio.CapacityLimiter | None = None
        self._looking: asyncio.Task[None] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._stuck: StuckError | None = None
        self._cancelling = 0
        self._soon = loop.call_soon_threadsafe
        self._resolution: float = self._loop._clock_resolution  # noqa: SLF001
        self._before = {name: vars(loop)[name] for name in _REPLACED if name in vars(loop)}
        self._put_off(clock.now() - loop.time())
        self._loop._selector = self  # noqa: SLF001
        self._loop.time = clock.now
        self._loop.call_soon_threadsafe = self._call_soon_threadsafe
        self._loop.run_in_executor = self._run_in_executor
        loop.call_soon(self._begin_to_look)

    @staticmethod
    def has(loop: Any) -> bool:  # noqa: ANN401
        """Tell whether a loop lives by a clock already."""
        return isinstance(getattr(loop, "_selector", None), LoopOnClock)

    def _begin_to_look(self) -> None:
        self._looking = self._loop.create_task(self._find_limiter(), name="resilience-virtual-limiter")

    async def _find_limiter(self) -> None:
        self._limiter = current_default_thread_limiter()

    def leave(self) -> None:
        """Give the loop the time back that it had: its own, or that of a clock around this one."""
        self._loop._selector = self._selector  # noqa: SLF001
        for name in _REPLACED:
            delattr(self._loop, name)
        for name, value in self._before.items():
            setattr(self._loop, name, value)
        self._put_off(self._loop.time() - self._clock.now())

    def _put_off(self, seconds: float) -> None:
        # What the loop is to do at an instant of one clock stays as far away when it goes over to another.
        for handle in self._loop._scheduled:  # noqa: SLF001 - in place: all move alike, so the heap stays one
            handle._when += seconds  # noqa: SLF001
        ALARMS.put_off(self._loop, seconds)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else a selector does
        return getattr(self._selector, name)

    # The main task: the one that hears of it when everybody waits.

    def enter(self) -> None:
        """Take the current task for the main one."""
        self._task = asyncio.current_task()
        self._cancelling = 0 if self._task is None else self._task.cancelling()

    def translated(self, error: BaseException | None) -> StuckError | None:
        """Return what the cancellation of the main task means, if it was ours."""
        task, stuck = self._task, self._stuck
        self._task = self._stuck = None
        if stuck is None or task is None:
            return None
        mine = task.uncancel() <= self._cancelling
        return stuck if mine and isinstance(error, asyncio.CancelledError) else None

    # The selector.

    def select(self, timeout: float | None = None) -> Any:  # noqa: ANN401 - the selector's events
        """Return what is ready; where nothing is, let others have their turn until `timeout` has passed."""
        until = math.inf if timeout is None else self._clock.now() + timeout
        looks = 0
        while True:
            busy = self._limiter is not None and self._limiter.borrowed_tokens > 0
            events = self._selector.select(0)
            if events:
                return events
            now = self._clock.now()
            if now >= until:
                # Timers earlier than now plus this are due. A loop's own nanosecond vanishes in that sum after 194 days
                # (2 ** 24 s): no timer would be due at its very instant, and on this clock no time passes by itself.
                self._loop._clock_resolution = max(self._resolution, math.ulp(now))  # noqa: SLF001
                circles = self._circles.turn(now)
                return [] if circles is None else self._hear_of(circles)
            if busy and looks < _PATIENCE:  # a thread of anyio's, which takes no part
                looks += 1
                events = self._selector.select(_REAL)
                if events:
                    return events
                continue
            try:
                self._clock.wait(until, self._wake)
            except StuckError as error:
                return self._hear_of(error)

    def _hear_of(self, error: StuckError) -> Any:  # noqa: ANN401 - no events
        if self._task is None or self._stuck is not None:
            raise error
        self._stuck = StuckError(f"{error}{self._waiting()}")
        self._task.cancel()
        return []

    def _waiting(self) -> str:
        places = [f"\n  {task.get_name()}: {_place(task)}" for task in asyncio.all_tasks(self._loop)]
        return "".join(sorted(places)[:_SHOWN])

    # Threads.

    def _call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:  # noqa: ANN401
        handle = self._soon(callback, *args, context=context)
        self._clock.rouse(self._wake)
        return handle

    def _run_in_executor(self, _executor: object, function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # noqa: ANN401
        future: asyncio.Future[Any] = self._loop.create_future()
        context = copy_context()

        def settle(setter: Callable[[Any], None], value: object) -> None:
            if not future.done():
                setter(value)

        def run() -> None:
            try:
                value = context.run(function, *args)
            except Over:
                raise
            except BaseException as error:  # noqa: BLE001 - handed to whoever awaits it
                self._call_soon_threadsafe(settle, future.set_exception, error)
            else:
                self._call_soon_threadsafe(settle, future.set_result, value)

        self._clock.begin(run, name="resilience-virtual-executor")
        return future


def _place(task: asyncio.Task[Any]) -> str:
    """Return where a task waits: as deep as its coroutines go."""
    place = "?"
    inner: Any = task.get_coro()
    while inner is not None:
        frame = getattr(inner, "cr_frame", None) or getattr(inner, "gi_frame", None)
        if frame is not None:
            place = f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
        inner = getattr(inner, "cr_await", None) or getattr(inner, "gi_yieldfrom", None)
    return place


def run_on_asyncio(clock: Clock, main: Callable[[], Awaitable[T]], *, debug: bool | None = None) -> T:
    """Run `main` on a new asyncio loop that lives by this clock, in the caller's context."""
    on: list[LoopOnClock] = []

    def make() -> asyncio.AbstractEventLoop:
        loop = asyncio.SelectorEventLoop()
        on.append(LoopOnClock(clock, loop))
        return loop

    async def guarded() -> T:
        on[0].enter()
        try:
            return await main()
        except BaseException as error:
            stuck = on[0].translated(error)
            if stuck is not None:
                raise stuck from None
            raise

    with asyncio.Runner(loop_factory=make, debug=debug) as runner:
        return runner.run(guarded(), context=copy_context())
