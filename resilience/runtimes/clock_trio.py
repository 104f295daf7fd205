"""trio on a clock that jumps: a loop whose time is the clock's, and a task that makes it jump when all are blocked."""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar

import trio
from trio.testing import wait_all_tasks_blocked

from resilience.runtimes.clock import DAY, StuckError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resilience.runtimes.clock import Clock

T = TypeVar("T")

_REAL = 0.01
"""Real seconds between two looks for the result of a thread, which takes no part in the clock."""
_PATIENCE = 1000
"""Such looks before the program counts as stuck."""


class TrioClock(trio.abc.Clock):
    """The clock, as trio reads it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def start_clock(self) -> None:
        """Begin: nothing is to be done."""

    def current_time(self) -> float:
        """Return the time."""
        return self._clock.now()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return how long the loop may sleep: until the clock jumps, only input and output can wake it."""
        return 0.0 if deadline <= self._clock.now() else DAY


def run_on_trio(clock: Clock, main: Callable[[], Awaitable[T]]) -> T:
    """Run `main` on a new trio loop that lives by this clock, in the caller's context."""
    stuck: list[StuckError] = []
    results: list[T] = []
    errors: list[BaseException] = []

    async def jump(scope: trio.CancelScope) -> None:
        limiter = trio.to_thread.current_default_thread_limiter()
        looks = 0
        while True:
            await wait_all_tasks_blocked()
            if limiter.borrowed_tokens and looks < _PATIENCE:
                looks += 1
                await wait_all_tasks_blocked(_REAL)
                continue
            looks = 0
            try:
                clock.wait_or_look(clock.now() + trio.lowlevel.current_statistics().seconds_to_next_deadline)
            except StuckError as error:
                stuck.append(error)
                scope.cancel()
                return

    async def guarded() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(jump, nursery.cancel_scope)
            try:
                results.append(await main())
            except trio.Cancelled:
                raise
            except BaseException as error:  # noqa: BLE001 - raised outside, or it would come in a group of the nursery's
                errors.append(error)
            nursery.cancel_scope.cancel()

    def begin() -> None:
        trio.run(guarded, clock=TrioClock(clock))

    copy_context().run(begin)
    for error in (*errors, *(stuck if not results else ())):
        raise error
    return results[0]
