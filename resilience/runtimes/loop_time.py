"""The time on an asyncio loop, as exact as this library's own instants.

asyncio's loops go by the monotonic clock. uvloop's counts whole milliseconds, and stands still while callbacks run: it
calls up to a tick too early, and what is due by its time is due before its time has come. A limit that ends work too
early looks like somebody else's; who wakes up too early finds that what it has waited for is not there.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

TICK = 0.001
"""Seconds of which a coarse clock is made."""
SLACK = 2 * TICK
"""Seconds by which such a loop has to be told to wait longer, so that it does not wait too briefly: it rounds twice."""

monotonic = time.monotonic
"""The clock itself, whatever virtual time puts in its place."""


def exact(loop: object) -> bool:
    """Tell whether it is one of asyncio's own loops, or of trio's: they go by the clock."""
    return isinstance(loop, asyncio.BaseEventLoop) or not isinstance(loop, asyncio.AbstractEventLoop)


def slack(loop: object) -> float:
    """Return the seconds that a wait on this loop has to be longer."""
    return 0.0 if exact(loop) else SLACK


def slack_here() -> float:
    """Return the seconds that a wait on the running loop has to be longer."""
    try:
        return slack(asyncio.get_running_loop())
    except RuntimeError:  # trio's
        return 0.0


def ring_at(loop: asyncio.AbstractEventLoop, when: float, ring: Callable[[], object]) -> asyncio.TimerHandle:
    """Have `ring` called at an instant, of the loop's time or, where that is coarse, of the clock's: it looks again."""
    return loop.call_at(when, ring) if exact(loop) else loop.call_later(max(TICK, when - monotonic()), ring)
