"""Time limits of an asyncio loop under one timer, so that setting and clearing one costs next to nothing.

Nearly every limit is cleared long before it is due. A timer of its own for each would be made, pushed onto the loop's
heap and cancelled there, on every guarded call; here a limit is an entry in a dict, and the one timer is moved only
when a limit comes in that is due before all others.
"""

from __future__ import annotations

import math
import weakref
from typing import TYPE_CHECKING

from resilience.runtimes.loop_time import exact, monotonic, ring_at

if TYPE_CHECKING:
    import asyncio


class Alarm:
    """One limit on one task: when it is due, and whether it has gone off."""

    __slots__ = ("due", "fired", "task")

    def __init__(self, task: asyncio.Task[object], due: float) -> None:
        self.task = task
        self.due = due
        self.fired = False


class Alarms:
    """The limits of one loop. To be used on it only."""

    __slots__ = ("_armed_for", "_loop", "_timer", "exact", "pending")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self.exact = exact(loop)
        """What is due is due by the loop's own time; else by the clock's."""
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = math.inf
        self.pending: dict[Alarm, None] = {}
        """Limits that are neither cleared nor due. Clearing one is taking it out."""

    def set(self, alarm: Alarm) -> None:
        """Have the alarm's task cancelled when it is due."""
        self.pending[alarm] = None
        if alarm.due < self._armed_for:
            self._arm(alarm.due)

    def put_off(self, seconds: float) -> None:
        """Have all of them be due so much later, as the loop's own timers are: the loop has got another clock."""
        self._armed_for += seconds
        for alarm in self.pending:
            alarm.due += seconds

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed_for = when
        loop = self._loop()
        if loop is not None and when < math.inf:
            self._timer = ring_at(loop, when, self._ring)

    def _ring(self) -> None:
        # The loop may be early by its clock's resolution: what it has woken us for counts as due. Not by a whole tick.
        now = self._armed_for if self.exact else monotonic()
        for alarm in [alarm for alarm in self.pending if alarm.due <= now]:
            del self.pending[alarm]
            alarm.fired = True
            alarm.task.cancel()
        self._timer = None
        self._arm(min((alarm.due for alarm in self.pending), default=math.inf))


class AlarmsOfLoops:
    """Finds the alarms of the running loop; remembers the latest, since most processes have one."""

    __slots__ = ("_by_loop", "_latest")

    def __init__(self) -> None:
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Alarms] = weakref.WeakKeyDictionary()
        self._latest: tuple[weakref.ref[asyncio.AbstractEventLoop], Alarms] | None = None

    def of(self, loop: asyncio.AbstractEventLoop) -> Alarms:
        """Return the alarms of `loop`, which must be the running one."""
        latest = self._latest
        if latest is not None and latest[0]() is loop:
            return latest[1]
        alarms = self._by_loop.get(loop)
        if alarms is None:
            alarms = self._by_loop[loop] = Alarms(loop)
        self._latest = (weakref.ref(loop), alarms)
        return alarms

    def put_off(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Put off the alarms of `loop`, if it has any."""
        alarms = self._by_loop.get(loop)
        if alarms is not None:
            alarms.put_off(seconds)
