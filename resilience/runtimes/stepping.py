"""Cancel a coroutine at a chosen one of its suspensions, on asyncio and trio: to see that nothing is left behind."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator


class Stepped:
    """Awaits something, counts how often it suspends, and calls `cancel` at the chosen suspension.

    `seen` is called at each, before that.
    """

    def __init__(
        self,
        awaitable: Awaitable[Any],
        at: int,
        cancel: Callable[[], object],
        seen: Callable[[], object] | None = None,
    ) -> None:
        self._awaitable = awaitable
        self._at = at
        self._cancel = cancel
        self._seen = seen
        self.suspensions = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._awaitable.__await__()
        resume: Callable[[Any], Any] = inner.send
        value: Any = None
        while True:
            try:
                suspended_on = resume(value)
            except StopIteration as stop:
                return stop.value
            self.suspensions += 1
            if self._seen is not None:
                self._seen()
            if self.suspensions == self._at:
                self._cancel()
            try:
                value = yield suspended_on
                resume = inner.send
            except BaseException as error:  # noqa: BLE001 - whatever the loop throws in
                resume, value = inner.throw, error


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What became of a coroutine that was to be cancelled."""

    suspensions: int
    heard: bool
    """Could it hear of it, there or later? Not in clean-up that is shielded."""
    ended: bool
    """Did it end so?"""
    raised: Exception | None


async def cancelled_at(at: int, work: Callable[[], Awaitable[Any]]) -> Cancelled:
    """Run `work`, cancelling it at its `at`-th suspension."""
    scope = anyio.CancelScope()
    heard: list[bool] = []

    def seen() -> None:
        heard.append(anyio.current_effective_deadline() == -math.inf)

    def cancel() -> None:
        scope.cancel()
        seen()

    stepped = Stepped(work(), at, cancel, seen)
    raised: Exception | None = None
    with scope:
        try:
            await stepped
        except Exception as error:  # noqa: BLE001 - the caller's to judge
            raised = error
    return Cancelled(stepped.suspensions, any(heard), scope.cancelled_caught, raised)
