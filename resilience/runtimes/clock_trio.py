"""trio on a clock that jumps: a loop whose time is the clock's, and a task that makes it jump when all are blocked."""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar

import trio
from trio.testing import wait_all_tasks_blocked

from resilience.runtimes.clock import DAY, Circles, StuckError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resilience.runtimes.clock import Clock

T = TypeVar("T")

_REAL = 0.01
"""Real seconds between two looks for the result of a thread, which takes no part in the clock."""
_PATIENCE = 1000
"""Such looks before the program counts as stuck."""


class TrioClock(trio.abc.Clock):
    """The clock, as trio reads it, and who hears of it when the program is stuck."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.stuck: list[StuckError] = []
        self.scope: trio.CancelScope | None = None
        """All that the program runs in."""
        self._circles = Circles()

    def start_clock(self) -> None:
        """Begin: nothing is to be done."""

    def current_time(self) -> float:
        """Return the time; the loop asks for it once a turn."""
        now = self.clock.now()
        circles = self._circles.turn(now)
        if circles is not None:
            self.hear_of(circles)
        return now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return how long the loop may sleep: until the clock jumps, only input and output can wake it."""
        return 0.0 if deadline <= self.clock.now() else DAY

    def hear_of(self, error: StuckError) -> None:
        """End the program."""
        self.stuck.append(error)
        if self.scope is not None:
            self.scope.cancel()


def run_on_trio(clock: Clock, main: Callable[[], Awaitable[T]]) -> T:
    """Run `main` on a new trio loop that lives by this clock, in the caller's context."""
    on = TrioClock(clock)
    results: list[T] = []
    errors: list[BaseException] = []

    async def guarded() -> None:
        async with trio.open_nursery() as nursery:
            on.scope = nursery.cancel_scope
            nursery.start_soon(_jump, on)
            try:
                results.append(await main())
            except trio.Cancelled:
                raise
            except BaseException as error:  # noqa: BLE001 - raised outside, or it would come in a group of the nursery's
                errors.append(error)
            nursery.cancel_scope.cancel()

    def begin() -> None:
        trio.run(guarded, clock=on)

    copy_context().run(begin)
    for error in (*errors, *(on.stuck if not results else ())):
        raise error
    return results[0]


async def _jump(on: TrioClock) -> None:
    clock, limiter = on.clock, trio.to_thread.current_default_thread_limiter()
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
            on.hear_of(error)
            return
