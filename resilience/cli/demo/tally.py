"""What became of one side's calls: second by second, and scene by scene."""

from __future__ import annotations

import math
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resilience.cli.demo.scenes import Script

STALL = 0.15
"""Seconds by which a call may leave late before the machine, not the client, is to blame for what becomes of it."""
AFTERMATH = 3.0
"""Seconds after such a moment that are excused as well: it looks to a client as if every server hung, so its circuits
open, for a second and then for two."""


@dataclass(frozen=True, slots=True)
class Called:
    """One call that is over. Durations are seconds; `scheduled` counts from the start."""

    scheduled: float
    latency: float
    lag: float
    error: str | None
    server: str | None


@dataclass(frozen=True, slots=True)
class Stretch:
    """The calls of one second, or of one scene."""

    calls: tuple[Called, ...]

    @property
    def sent(self) -> int:
        """How many calls there were."""
        return len(self.calls)

    @property
    def lost(self) -> int:
        """How many of them failed."""
        return sum(1 for call in self.calls if call.error is not None)

    @property
    def answered(self) -> float:
        """Share of the calls that were answered, 0–1; NaN when there were none."""
        return math.nan if not self.calls else 1 - self.lost / self.sent

    def latency(self, share: float) -> float:
        """Seconds within which this share of the calls was over, failed ones included; NaN when there were none."""
        if not self.calls:
            return math.nan
        found = sorted(call.latency for call in self.calls)
        return found[max(0, math.ceil(share * len(found)) - 1)]


@dataclass(slots=True)
class Tally:
    """One side's calls so far; written by the thread that reads them, read by the one that draws."""

    side: str
    calls: list[Called] = field(default_factory=list[Called])
    _by_second: dict[int, list[Called]] = field(default_factory=dict[int, list[Called]])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, call: Called) -> None:
        """Take in one call."""
        with self._lock:
            self.calls.append(call)
            self._by_second.setdefault(int(call.scheduled), []).append(call)

    def second(self, number: int) -> Stretch:
        """Give the calls that were due in the n-th second."""
        with self._lock:
            return Stretch(tuple(self._by_second.get(number, ())))

    def between(self, since: float, until: float = math.inf) -> Stretch:
        """Give the calls that were due in [since, until)."""
        with self._lock:
            return Stretch(tuple(call for call in self.calls if since <= call.scheduled < until))

    def errors(self) -> Counter[str]:
        """Count the failures by their text."""
        with self._lock:
            return Counter(call.error for call in self.calls if call.error is not None)

    def unexcused(self) -> tuple[Called, ...]:
        """Give the failures that no standstill of the machine explains."""
        with self._lock:
            stalls = [call.scheduled for call in self.calls if call.lag > STALL]
            lost = [call for call in self.calls if call.error is not None]
        return tuple(
            call
            for call in lost
            if not any(call.scheduled - AFTERMATH <= moment <= call.scheduled + call.latency for moment in stalls)
        )

    @property
    def longest_stall(self) -> float:
        """Seconds by which the latest of all calls left too late."""
        with self._lock:
            return max((call.lag for call in self.calls), default=0.0)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the closing table."""

    title: str
    short: str
    color: str | None
    plain: Stretch
    ours: Stretch


def rows(script: Script, plain: Tally, ours: Tally) -> list[Row]:
    """Return a row for each scene, with the seconds after it until the next one, and one for all of it."""
    first = script.scenes[0].starts
    found = [Row("healthy, before", "healthy", None, plain.between(0, first), ours.between(0, first))]
    ends = [scene.starts for scene in script.scenes[1:]] + [script.seconds]
    for scene, until in zip(script.scenes, ends, strict=True):
        found.append(
            Row(
                scene.title,
                scene.short,
                scene.color,
                plain.between(scene.starts, until),
                ours.between(scene.starts, until),
            )
        )
    found.append(Row("all calls", "all calls", None, plain.between(0), ours.between(0)))
    return found
