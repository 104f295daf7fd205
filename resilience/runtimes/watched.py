"""Run something that may block its thread for good, and tell where it stands instead of hanging with it."""

from __future__ import annotations

import sys
import threading
from contextvars import Context
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

T = TypeVar("T")

_PATIENCE = 5.0
"""Real seconds without any progress, after which a thread counts as blocked."""
_WAITING = ("threading", "queue", "resilience.runtimes.")
"""Beginnings of modules whose frames say how a thread waits, not for what."""


class BlockedError(RuntimeError):
    """A thread stands still; the message says where."""


def watched(work: Callable[[], T], progress: Callable[[], object], /) -> T:
    """Run `work` in a thread and context of its own and return its result.

    Raises BlockedError when `progress()` has long been the same. The thread cannot be ended then: it is left behind,
    and keeps no process alive.
    """
    ended: list[tuple[T | None, BaseException | None]] = []

    def run() -> None:
        try:
            ended.append((work(), None))
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            ended.append((None, error))

    others = set(threading.enumerate())
    thread = threading.Thread(target=Context().run, args=(run,), name="resilience-watched", daemon=True)
    thread.start()
    while thread.is_alive():
        before = progress()
        thread.join(_PATIENCE)
        if thread.is_alive() and progress() == before:
            raise BlockedError(_place(others))
    value, error = ended[0]
    if error is not None:
        raise error
    return value  # type: ignore[return-value]


def _place(others: set[threading.Thread]) -> str:
    """Return where a thread that has begun since stands, in code that is not ours."""
    frames = sys._current_frames()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - documented, for this
    for thread in set(threading.enumerate()) - others:
        frame: FrameType | None = frames.get(thread.ident or 0)
        while frame is not None and _module(frame).startswith(_WAITING):
            frame = frame.f_back
        if frame is not None and not _module(frame).startswith("resilience."):
            return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
    return "?"


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
