"""Cancel a coroutine at a chosen one of its suspensions, on asyncio and trio: to see that nothing is left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator


class _Stepped:
    """Awaits a coroutine, counts how often it suspends, and calls `cancel` at the chosen suspension."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], at: int, cancel: Callable[[], object]) -> None:
        self._coroutine = coroutine
        self._at = at
        self._cancel = cancel
        self.suspensions = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._coroutine.__await__()
        resume: Callable[[Any], Any] = inner.send
        value: Any = None
        while True:
            try:
                suspended_on = resume(value)
            except StopIteration as stop:
                return stop.value
            self.suspensions += 1
            if self.suspensions == self._at:
                self._cancel()
            try:
                value = yield suspended_on
                resume = inner.send
            except BaseException as error:  # noqa: BLE001 - whatever the loop throws in
                resume, value = inner.throw, error


async def cancelled_at(at: int, work: Callable[[], Coroutine[Any, Any, Any]]) -> tuple[int, bool]:
    """Run `work`, cancelling it at its `at`-th suspension; return how many there were, and whether it ended so."""
    scope = anyio.CancelScope()
    stepped = _Stepped(work(), at, scope.cancel)
    with scope:
        await stepped
    return stepped.suspensions, scope.cancelled_caught
