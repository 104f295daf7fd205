"""A concurrency limit that holds a latency: it falls while every answer is late, and never for anything else.

A server that has a standing line answers nobody in time, however quick the work is. What tells it from one that has
slow requests among its quick ones is the quickest answer of a while (CoDel, RFC 8289): only when that is late too, a
line is what all of them wait in. Then the limit is brought down at once to what would be answered in time: in-flight
calls are throughput times latency (Little), so that calls and latency fall together, as in Swift (Kumar et al.,
SIGCOMM 2020), whose additive increase and bounded decrease, once per round trip, this is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resilience.core.units import seconds as in_seconds
from resilience.policies.laws import check_bounds

if TYPE_CHECKING:
    from datetime import timedelta

    from resilience.policies.laws import Sample

# So many late ones in a row, over at least half a target: five failures in a row open a circuit (linkerd, Envoy).
_LATE = 5
_SPAN = 0.5
# The least and the most of a limit that one step takes: Netflix's AIMD backs off by a tenth, Swift by half at most.
_GENTLEST = 0.9
_STEEPEST = 0.5
# Targets without a step down after which a limit that is not used to the half is forgotten, a doubling at a time.
_QUIET = 20


@dataclass(frozen=True, slots=True)
class TargetLatency:
    """Keep answers within `target`: down to what the far side answers in time, up by one a round trip.

    `target`: seconds from sending to the headers that are still well: some times what a call usually takes, and some
    times less than its caller waits, so that a late one can still be tried again; a quarter of `attempt_timeout` is a
    good beginning. `least`: whole number from 1 (3, Envoy's): the limit never falls below it. `most`: from `least`
    (200, Netflix's): where it begins, so that nothing is shed before the far side was late.

    The limit falls when at least five calls in a row, over at least half a target, were late, failed or timed out;
    by the share by which the quickest of them was late, from a tenth to a half, and once for all calls that began
    before. One answer in time among them, and nothing happens.
    """

    target: float | timedelta
    least: int = 3
    most: int = 200

    def __post_init__(self) -> None:
        """Check the numbers."""
        object.__setattr__(self, "target", in_seconds("target", self.target))
        check_bounds(self.most, self.least, self.most)

    def begin(self) -> TargetLatencyLimit:
        """Return a new limit at its ceiling."""
        return TargetLatencyLimit(self)


class TargetLatencyLimit:
    """The state of one :class:`TargetLatency`."""

    __slots__ = ("_late", "_late_since", "_law", "_quickest", "_quiet_since", "_stepped_back", "_target", "limit")

    def __init__(self, law: TargetLatency) -> None:
        self._law = law
        self._target: float = law.target  # type: ignore[assignment]  # a float since it was checked
        self._stepped_back = -math.inf
        self._quiet_since = 0.0
        self._late = 0
        """Late ones in a row."""
        self._late_since = 0.0
        self._quickest = 0.0
        self.limit: float = law.most

    def learn(self, sample: Sample, now: float, /) -> float:
        """Take note of one call, and return the limit."""
        if sample.began <= self._stepped_back:
            return self.limit  # of the congestion that has been answered for
        if sample.dropped or sample.took > self._target:
            self._was_late(sample, now)
        else:
            self._late = 0
            self._was_in_time(sample, now)
        return self.limit

    def _was_late(self, sample: Sample, now: float) -> None:
        if not self._late:
            self._late_since, self._quickest = now, sample.took
        self._late += 1
        self._quickest = min(self._quickest, sample.took)
        if self._late < _LATE or now - self._late_since < _SPAN * self._target:
            return
        if sample.in_flight <= self._law.least:  # so few make no line
            return
        timely = self._target / max(self._quickest, self._target)
        inside = min(self.limit, sample.in_flight)
        self.limit = max(self._law.least, inside * max(_STEEPEST, min(_GENTLEST, timely)))
        self._stepped_back = self._quiet_since = now
        self._late = 0

    def _was_in_time(self, sample: Sample, now: float) -> None:
        most = self._law.most
        if sample.in_flight * 2 >= self.limit:
            self.limit = min(most, self.limit + 1.0 / self.limit)
        elif self.limit < most and now - self._quiet_since >= _QUIET * self._target:
            self.limit = min(most, self.limit * 2)
            self._quiet_since = now
