"""SIGTERM, heard before the server hears it: first the word goes round, then the server is told to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_LOOK_EVERY = 0.05
"""Seconds between two looks whether the last request is done."""


class Termination:
    """Calls `begin` at the first SIGTERM, and passes the signal on after `grace` seconds.

    To whoever handled it before: a server's own handler, which stops listening and finishes what is in flight. Where
    nobody did, the process waits until `idle` says so, at most `limit` seconds, and ends.

    A second SIGTERM in the meantime ends the grace: a server's handler has it at once, and where there is none, what is
    in flight is still waited for. There a third one ends the process.
    """

    def __init__(self, begin: Callable[[], object], idle: Callable[[], bool], *, grace: float, limit: float) -> None:
        self._begin = begin
        self._idle = idle
        self._grace = grace
        self._limit = limit
        self._before: Callable[[int, FrameType | None], object] | int | None = None
        self._signals = 0
        self._hurried = threading.Event()
        self._over = False
        """Nothing is left to wait for: the next signal is our own."""
        self.installed = False

    def install(self) -> bool:
        """Take over the signal; false where that cannot be done: only the main thread may."""
        if self.installed:
            return True
        if threading.current_thread() is not threading.main_thread():
            return False
        self._before = signal.signal(signal.SIGTERM, self._heard)
        self.installed = True
        return True

    def uninstall(self) -> None:
        """Give the signal back, unless somebody else has taken it meanwhile."""
        if self.installed and signal.getsignal(signal.SIGTERM) == self._heard:
            signal.signal(signal.SIGTERM, self._before)
        self.installed = False

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1  # no lock: this may interrupt itself
        if self._signals == 1:
            self._begin()
            threading.Thread(target=self._later, args=(number,), name="resilience-termination", daemon=True).start()
        elif callable(self._before):
            self._before(number, frame)
        elif self._before == signal.SIG_IGN:
            return
        elif self._over or self._signals > 2:  # noqa: PLR2004 - the first begins, the second hurries
            _end(number)
        else:
            self._hurried.set()

    def _later(self, number: int) -> None:
        self._hurried.wait(self._grace)
        if not callable(self._before):
            until = time.monotonic() + self._limit
            while not self._idle() and time.monotonic() < until:
                time.sleep(_LOOK_EVERY)
            self._over = True
        os.kill(os.getpid(), number)  # in the main thread, where handlers run


def _end(number: int) -> None:
    """End as the signal would have ended it."""
    if os.getpid() != 1:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    # Process 1, as in a container without an init: the kernel keeps from it every signal that it does not handle. The
    # main thread is somewhere in the server's code, so an exception would be the server's to swallow.
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # it may be None or closed, or be what was interrupted
            stream.flush()
    os._exit(128 + number)
