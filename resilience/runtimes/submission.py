"""One piece of work running elsewhere, whose end callers of any kind wait for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilience.core.ports import Gate, Runtime

T = TypeVar("T")


class AbandonedError(RuntimeError):
    """The work was not done, or not to its end: nobody keeps it going any more."""


class Submission(Generic[T]):
    """Settles once, with a value or an error; threads and tasks of any event loop may wait for it, together."""

    __slots__ = ("_cancel", "_error", "_gates", "_lock", "_value", "done")

    def __init__(self, cancel: Callable[[], None] | None = None) -> None:
        self.done = False
        self._value: T | None = None
        self._error: Exception | None = None
        self._gates: set[Gate] = set()
        self._lock = threading.Lock()
        self._cancel = cancel

    def settle(self, value: T, /) -> None:
        """Hand over the value; what comes second is dropped."""
        self._finish(value, None)

    def fail(self, error: Exception, /) -> None:
        """Hand over the error; what comes second is dropped."""
        self._finish(None, error)

    def _finish(self, value: T | None, error: Exception | None) -> None:
        with self._lock:
            if self.done:
                return
            self._value, self._error, self.done = value, error, True
            gates, self._gates = self._gates, set()
            self._cancel = None
        for gate in gates:
            gate.open()

    def result(self) -> T:
        """Return the value or raise the error; RuntimeError before it is `done`."""
        if not self.done:
            message = "not done yet"
            raise RuntimeError(message)
        if self._error is not None:
            raise self._error
        return cast("T", self._value)

    async def wait(self, runtime: Runtime, timeout: float, /) -> T:
        """Return the value, or raise the error, or TimeoutError after `timeout` seconds; the work goes on then."""
        if not self.done:
            gate = runtime.gate()
            with self._lock:
                waiting = not self.done
                if waiting:
                    self._gates.add(gate)
            try:
                if waiting and not await gate.wait(timeout) and not self.done:
                    raise TimeoutError
            finally:
                with self._lock:
                    self._gates.discard(gate)
        return self.result()

    def cancel(self) -> None:
        """Stop the work, if it can be stopped; waiters get whatever it ends with."""
        with self._lock:
            cancel = self._cancel
        if cancel is not None:
            cancel()
