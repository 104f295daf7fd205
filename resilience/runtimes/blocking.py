"""Plain threads. Nothing ever suspends here, so a coroutine is a function that is stepped once."""

from __future__ import annotations

import math
import queue
import random
import threading
import time
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
    from typing import Any

T = TypeVar("T")

wall_clock = time.time
"""Seconds since the epoch: for HTTP dates only. Everything else is measured on the monotonic clock."""


def run_blocking(coroutine: Coroutine[Any, Any, T], /) -> T:
    """Step a coroutine that awaits only the blocking runtime, and return its result.

    Raises RuntimeError if it suspends: then it awaited something of an event loop, in a thread that has none.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return cast("T", stop.value)
    except RuntimeError as error:
        # A coroutine cannot raise StopIteration (PEP 479); a function around ``next()`` must. Told by the interpreter's
        # words: of a generator, which may be the function's own, it says something else.
        if isinstance(error.__cause__, StopIteration) and error.args == ("coroutine raised StopIteration",):
            raise error.__cause__ from None
        raise
    coroutine.close()
    message = "a policy suspended in blocking code: it may await only proceed(call) and call.runtime"
    raise RuntimeError(message)


class BlockingGate:
    """A gate for threads: a lock that whoever opens the gate releases."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    async def wait(self, timeout: float, /) -> bool:
        """Block until the gate opens, at most `timeout` seconds; tell whether it did."""
        return self._lock.acquire(timeout=-1 if math.isinf(timeout) else max(0.0, min(timeout, threading.TIMEOUT_MAX)))

    def open(self) -> None:
        """Let the waiter go."""
        if self._lock.locked():
            try:
                self._lock.release()
            except RuntimeError:  # another thread opened it between the two lines
                return


@asynccontextmanager
async def _unguarded() -> AsyncGenerator[None]:
    yield


class BlockingRuntime:
    """Waits by blocking the thread."""

    __slots__ = ()

    now = staticmethod(time.monotonic)
    random = staticmethod(random.random)
    gate = staticmethod(BlockingGate)
    shield = staticmethod(_unguarded)  # threads are not cancelled

    async def sleep(self, seconds: float, /) -> None:
        """Block for `seconds`."""
        time.sleep(min(seconds, threading.TIMEOUT_MAX))

    async def limit(self, seconds: float, work: Callable[[], Awaitable[T]], /) -> T:
        """Run `work` in a thread of its own and stop waiting after `seconds`.

        A thread cannot be stopped from outside: abandoned work runs to its end, and its result is dropped. It sees the
        caller's context variables, among them the deadline, so nothing of ours inside it goes on after that.
        """
        done: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()
        _start(work, lambda value, error: done.put((value, error)))
        try:
            value, error = done.get(timeout=max(0.0, min(seconds, threading.TIMEOUT_MAX)))
        except queue.Empty:
            raise TimeoutError from None
        if error is not None:
            raise error
        return cast("T", value)

    def start(self, work: Callable[[], Awaitable[object]], /) -> StartedThread:
        """Run `work` in a thread of its own, in a copy of the caller's context."""
        _start(work, lambda _value, _error: None)
        return StartedThread()

    async def first(self, *racers: Callable[[], Awaitable[T]]) -> T:
        """Run each racer in a thread and return the first result; if all raise, raise what the last one raised."""
        done: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()
        for racer in racers:
            _start(racer, lambda value, error: done.put((value, error)))
        error: BaseException | None = None
        for _ in racers:
            value, error = done.get()
            if error is None:
                return cast("T", value)
        raise cast("BaseException", error)


class StartedThread:
    """Work in a thread: nothing can stop it, and nobody waits for it."""

    __slots__ = ()

    def stop(self) -> None:
        """Leave it to end by itself."""

    async def gone(self) -> None:
        """Do not wait: it may never end."""


def _start(work: Callable[[], Awaitable[T]], ended: Callable[[T | None, BaseException | None], object]) -> None:
    context = copy_context()

    async def step() -> T:
        return await work()

    def run() -> None:
        try:
            value = context.run(run_blocking, step())
        except BaseException as error:  # noqa: BLE001 - handed to whoever wants to know
            ended(None, error)
        else:
            ended(value, None)

    threading.Thread(target=run, name="resilience-limited", daemon=True).start()


BLOCKING = BlockingRuntime()
