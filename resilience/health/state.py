"""When to probe an endpoint, and what its probes say of it: pure decisions.

Times are instants and seconds of the monotonic clock; `random` is a number in [0, 1).
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from resilience.health.check import HealthCheck

JITTER = 0.1
"""Share of the interval left to chance, either way: many clients must not probe one server in step."""
IDLE = 60.0
"""Seconds without a call after which an endpoint is probed only so often."""
EARLY = 1.0
"""Seconds between probes that failed dials have asked for."""


class HealthState:
    """What the probes of one endpoint have said; healthy until they say otherwise.

    Give `used` and `dial_failed` as they happen, from any thread; `began`, then `passed` or `failed`, around each
    probe, one at a time. `passed` and `failed` return the new health when it changes, else None.
    """

    def __init__(self, check: HealthCheck, /, *, now: float) -> None:
        self.check = check
        self.healthy = True
        self.due = now
        """Instant of the next probe: at once at first."""
        self.streak = 0
        """Latest probes in a row against the state as it is."""
        self._began_at = -math.inf
        self._used_at = now
        self._lock = threading.Lock()

    def began(self, now: float, /) -> None:
        """Note that a probe is sent."""
        self._began_at = now

    def passed(self, *, now: float, random: float) -> bool | None:
        """Take in a probe that passed; True when that brings the endpoint back."""
        return self._take(good=True, now=now, random=random)

    def failed(self, *, now: float, random: float) -> bool | None:
        """Take in a probe that failed; False when that takes the endpoint out."""
        return self._take(good=False, now=now, random=random)

    def _take(self, *, good: bool, now: float, random: float) -> bool | None:
        with self._lock:
            self.due = now + self._pause(now) * (1 + JITTER * (2 * random - 1))
        if good is self.healthy:
            self.streak = 0
            return None
        self.streak += 1
        if self.streak < (self.check.rise if good else self.check.fall):
            return None
        self.healthy, self.streak = good, 0
        return good

    def _pause(self, now: float) -> float:
        interval = cast("float", self.check.interval)
        return max(interval, IDLE) if now - self._used_at > IDLE else interval

    def used(self, now: float, /) -> bool:
        """Note a call to the endpoint's service; True when the next probe is to be hurried: the pause was long."""
        before, self._used_at = self._used_at, now
        if now - before <= IDLE:
            return False
        return self._bring_forward(max(now, self._began_at + cast("float", self.check.interval)))

    def dial_failed(self, now: float, /) -> bool:
        """Probe at once, at most once a second; tell whether to hurry the probe."""
        return self._bring_forward(max(now, self._began_at + EARLY))

    def _bring_forward(self, instant: float) -> bool:
        with self._lock:
            if instant >= self.due:
                return False
            self.due = instant
            return True

    def is_due(self, now: float, /) -> bool:
        """Say whether to probe now; a job hurried too early asks this first."""
        return now >= self.due

    def wait(self, now: float, /) -> float:
        """Return the seconds until the next probe."""
        return max(0.0, self.due - now)
