"""Blocking calls on a few daemon threads: for what has no other form, such as the system's resolver."""

from __future__ import annotations

import os
import queue
import threading
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from resilience.runtimes.submission import Submission

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")

_Work = tuple["Hashable", "Callable[[], Any]", Submission[Any]]


class Offload:
    """Runs at most `threads` calls at once, each key's only once; idle threads leave after `linger` seconds.

    A call cannot be interrupted: who stops waiting leaves it behind, and the next to ask for its key joins it. So a
    dead nameserver costs a thread for each name, not for each call.
    """

    def __init__(self, *, threads: int, linger: float) -> None:
        self._threads = threads
        self._linger = linger
        self._watched = False
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._running: dict[Hashable, Submission[Any]] = {}
        self._alive = 0
        self._pending = 0
        """Calls running or waiting: a new one needs a new thread when all threads have one."""

    def reset(self) -> None:
        """Begin anew in a forked child, where the threads are gone."""
        left = self._running
        self._reset()
        for submission in left.values():
            message = "the process was forked while this ran in the parent"
            submission.fail(RuntimeError(message))

    def submit(self, key: Hashable, call: Callable[[], T], /) -> Submission[T]:
        """Run `call`, or join the one of the same key that is running."""
        with self._lock:
            if not self._watched and hasattr(os, "register_at_fork"):
                self._watched = True
                itself = weakref.ref(self)
                os.register_at_fork(after_in_child=lambda: _reset(itself()))
            running = self._running.get(key)
            if running is not None:
                return running
            submission: Submission[T] = Submission()
            self._running[key] = submission
            self._pending += 1
            self._queue.put((key, call, submission))
            if self._pending > self._alive and self._alive < self._threads:
                self._alive += 1
                try:
                    threading.Thread(target=self._work, name="resilience-blocking", daemon=True).start()
                except RuntimeError:  # the machine has no thread to spare now
                    self._alive -= 1
                    if not self._alive:
                        self._give_up()
        return submission

    def _give_up(self) -> None:
        """Fail all calls that wait: no thread is there to take them. Else their keys would wait for ever."""
        message = "no thread could be started"
        while not self._queue.empty():
            key, _, submission = self._queue.get()
            self._pending -= 1
            self._running.pop(key, None)
            submission.fail(RuntimeError(message))

    def _work(self) -> None:
        while True:
            try:
                key, call, submission = self._queue.get(timeout=self._linger)
            except queue.Empty:
                with self._lock:
                    if self._queue.empty():
                        self._alive -= 1
                        return
                continue
            try:
                value = call()
            except Exception as error:  # noqa: BLE001 - handed to whoever waits
                self._ended(key)
                submission.fail(error)
            else:
                self._ended(key)
                submission.settle(value)
            del key, call, submission  # nothing of it is held while idle

    def _ended(self, key: Hashable) -> None:
        with self._lock:
            self._pending -= 1
            self._running.pop(key, None)


def _reset(offload: Offload | None) -> None:
    if offload is not None:
        offload.reset()
