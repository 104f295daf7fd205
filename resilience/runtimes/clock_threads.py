"""Plain threads on a clock that jumps: what ``blocking.py`` does, in virtual time."""

from __future__ import annotations

import math
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar, cast

from resilience.runtimes.blocking import BlockingRuntime, StartedThread, run_blocking
from resilience.runtimes.clock import Over, Wake

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resilience.runtimes.clock import Clock

T = TypeVar("T")


class ClockGate:
    """A gate for a thread; whoever has the turn may open it."""

    __slots__ = ("_clock", "_open", "_wake")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open = False
        self._wake = Wake()

    async def wait(self, timeout: float, /) -> bool:
        """Wait until the gate opens, at most `timeout` virtual seconds; tell whether it did."""
        if not self._open:
            self._clock.wait(self._clock.now() + max(0.0, timeout), self._wake)
        return self._open

    def open(self) -> None:
        """Let the waiter go."""
        self._open = True
        self._clock.rouse(self._wake)


class ThreadRuntime(BlockingRuntime):
    """Waits by letting others have their turn."""

    __slots__ = ("clock", "now", "random")

    offline = True
    """Nothing is dialled: what comes over a real network takes real time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.now = clock.now
        self.random = clock.random

    def gate(self) -> ClockGate:  # type: ignore[override]
        """Return a new, closed gate."""
        return ClockGate(self.clock)

    async def sleep(self, seconds: float, /) -> None:
        """Let `seconds` of virtual time pass, and note it."""
        self.clock.slept.append(seconds)
        await self.pass_time(seconds)

    async def pass_time(self, seconds: float, /) -> None:
        """Let `seconds` of virtual time pass."""
        self.clock.wait(self.clock.now() + max(0.0, seconds))

    async def limit(self, seconds: float, work: Callable[[], Awaitable[T]], /) -> T:
        """Run `work` in a thread of its own and stop waiting after `seconds`; it goes on, and its result is dropped."""
        ended: list[tuple[T | None, BaseException | None]] = []
        gate = self.gate()

        def note(value: T | None, error: BaseException | None) -> None:
            ended.append((value, error))
            gate.open()

        begin(self.clock, work, note)
        if not await gate.wait(seconds):
            raise TimeoutError
        return _result(*ended[0])

    def start(self, work: Callable[[], Awaitable[object]], /) -> StartedThread:
        """Run `work` in a thread of its own, in a copy of the caller's context."""
        begin(self.clock, work, lambda _value, _error: None)
        return StartedThread()

    async def first(self, *racers: Callable[[], Awaitable[T]]) -> T:
        """Run each racer in a thread and return the first result; if all raise, raise what the last one raised."""
        ended: list[tuple[T | None, BaseException | None]] = []
        gates = [self.gate()]

        def note(value: T | None, error: BaseException | None) -> None:
            ended.append((value, error))
            gates[-1].open()

        for racer in racers:
            begin(self.clock, racer, note)
        seen = 0
        while True:
            gates.append(self.gate())
            if len(ended) == seen:
                await gates[-1].wait(math.inf)
            value, error = ended[seen]
            seen += 1
            if error is None or seen == len(racers):
                return _result(value, error)


def begin(
    clock: Clock, work: Callable[[], Awaitable[T]], ended: Callable[[T | None, BaseException | None], object]
) -> None:
    """Run `work` in a thread of this clock, in a copy of the caller's context."""
    context = copy_context()

    async def step() -> T:
        return await work()

    def run() -> None:
        try:
            value = context.run(run_blocking, step())
        except Over:
            raise
        except BaseException as error:  # noqa: BLE001 - handed to whoever wants to know
            ended(None, error)
        else:
            ended(value, None)

    clock.begin(run, name="resilience-virtual")


def _result(value: T | None, error: BaseException | None) -> T:
    if error is not None:
        raise error
    return cast("T", value)
