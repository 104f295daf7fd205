"""``threading``'s conditions on a clock that jumps; and with them its events, semaphores and barriers, and queues."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

from resilience.runtimes.clock import Wake

if TYPE_CHECKING:
    from resilience.runtimes.clock import Clock

_REAL = 0.01
"""Real seconds between two looks for what a thread that takes no part in the clock may bring."""
_PATIENCE = 1000
"""Such looks before time goes on without it."""
_SHORT = 5
"""As many where somebody on the clock is due, and may bring it as well."""


class _Waiter:
    """Stands in the condition's line in the place of a lock; whoever notifies calls `release`, from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wake = Wake()
        self._real = threading.Lock()
        self._real.acquire()
        self.open = False

    def release(self) -> None:
        self.open = True
        self._real.release()
        self._clock.rouse(self._wake)

    def wait(self, seconds: float) -> bool:
        clock = self._clock
        until = clock.now() + seconds
        looks = 0
        while not self.open and clock.now() < until:
            patience = min(_SHORT if clock.somebody_due else _PATIENCE, seconds / _REAL)
            if looks < patience and clock.others_live:
                looks += 1
                self._real.acquire(timeout=_REAL)
            else:
                clock.wait(until, self._wake)
        return self.open


def wait(condition: Any, clock: Clock, timeout: float | None) -> bool:  # noqa: ANN401 - a threading.Condition
    """Do what ``Condition.wait`` does, on the clock."""
    if not condition._is_owned():  # noqa: SLF001 - as there
        message = "cannot wait on un-acquired lock"
        raise RuntimeError(message)
    waiter = _Waiter(clock)
    condition._waiters.append(waiter)  # noqa: SLF001
    saved = condition._release_save()  # noqa: SLF001
    try:
        return waiter.wait(math.inf if timeout is None else timeout)
    finally:
        condition._acquire_restore(saved)  # noqa: SLF001
        if waiter in condition._waiters:  # noqa: SLF001
            condition._waiters.remove(waiter)  # noqa: SLF001
