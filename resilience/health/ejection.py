"""Passive ejection: endpoints that fail more often than the others are left out for a while. Pure; it never waits.

Envoy ejects below the mean minus 1.9 standard deviations. That finds nobody among fewer than five (the farthest of n
lies √(n−1) deviations from the mean), and a second sick endpoint hides the first. Here the measure is the median and
the median absolute deviation: they hold for two endpoints as for two thousand, while half of them are well. When all
fail alike, nobody is worse than the rest and nobody is ejected. Runs of failures are the circuit's business.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from statistics import median_high, median_low
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from resilience.core.outcome import Blame
from resilience.core.units import seconds as in_seconds
from resilience.core.units import share, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import timedelta

    from resilience.core.outcome import Verdict

K = TypeVar("K")

# A normal distribution's standard deviation in units of its median absolute deviation.
_SIGMA = 1.4826
# Sweeps over which few calls are added up before they are too old to judge by.
_SWEEPS_KEPT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierEjection:
    """When an endpoint is left out, and for how long. Durations are seconds or ``timedelta``.

    Raises ConfigurationError naming the argument.
    """

    interval: float | timedelta = 10.0
    """Between two sweeps (Envoy)."""
    deviations: float = 1.9
    """Standard deviations below the median at which an endpoint stands out (Envoy's factor); from 0."""
    margin: float = 0.1
    """Success rate that must be missing to the median at least, whatever the deviation; above 0, up to 1."""
    minimum_calls: int = 20
    """Calls to an endpoint before it is judged: one client sees less than the proxy for which Envoy asks 100."""
    base: float | timedelta = 30.0
    """The first ejection; the k-th in a row lasts k times as long (Envoy)."""
    longest: float | timedelta = 300.0
    """No ejection lasts longer than this, jitter apart (Envoy)."""
    jitter: float = 0.25
    """Up to this share is added at random, so that clients do not all return at once."""
    max_ejected: float = 0.5
    """At most ``floor(max_ejected · n)`` of n are out at once, the new one counted, and never all."""

    def __post_init__(self) -> None:
        """Check the numbers; durations become seconds."""
        for name in ("interval", "base", "longest"):
            object.__setattr__(self, name, in_seconds(name, getattr(self, name)))
        in_seconds("deviations", self.deviations, zero=True)
        share("margin", self.margin)
        share("jitter", self.jitter, zero=True)
        share("max_ejected", self.max_ejected, zero=True)
        whole("minimum_calls", self.minimum_calls)


@dataclass(frozen=True, slots=True)
class Ejected(Generic[K]):
    """`member` is left out for `seconds`: its success rate lies below what the others make one expect."""

    member: K
    seconds: float
    rate: float
    expected: float


@dataclass(frozen=True, slots=True)
class Returned(Generic[K]):
    """`member` takes part again: its time is over, it was vouched for, or too few others are left."""

    member: K


class _Record:
    __slots__ = ("bad", "good", "sweeps", "times", "until")

    def __init__(self) -> None:
        self.good = 0
        self.bad = 0
        self.sweeps = 0
        """Sweeps since the counts began."""
        self.times = 0
        """Ejections in a row; one is forgiven with each sweep that finds the endpoint well."""
        self.until: float | None = None
        """When it returns; None while it takes part."""

    def forget(self) -> None:
        self.good = self.bad = self.sweeps = 0

    @property
    def rate(self) -> float:
        return self.good / (self.good + self.bad)


class Ejection(Generic[K]):
    """Counts verdicts per member and says, at each sweep, who is out and who is back."""

    def __init__(self, options: OutlierEjection | None = None) -> None:
        self.options = options or OutlierEjection()
        # Plain seconds, since the options have checked them.
        self._interval = cast("float", self.options.interval)
        self._base = cast("float", self.options.base)
        self._longest = max(self._base, cast("float", self.options.longest))
        self._records: dict[K, _Record] = {}
        self._swept: float | None = None
        # Re-entrant, because the garbage collector may settle an attempt in the middle of a sweep.
        self._lock = threading.RLock()

    def update(self, members: Iterable[K], /) -> Sequence[Returned[K]]:
        """Take over a new set of members; return whom a smaller set needs back. Those that stay keep their record."""
        with self._lock:
            self._records = {member: self._records.get(member) or _Record() for member in members}
            out = sorted(
                (record.until, order) for order, record in enumerate(self._records.values()) if record.until is not None
            )
            everybody = list(self._records)
            return [self._return(everybody[order]) for _, order in out[: max(0, len(out) - self._most())]]

    def settle(self, member: K, verdict: Verdict, /) -> None:
        """Count one verdict; UNKNOWN, and what an ejected or unknown member still answers, count for nothing."""
        if verdict.blame is Blame.UNKNOWN:
            return
        with self._lock:
            record = self._records.get(member)
            if record is None or record.until is not None:
                return
            if verdict.blame is Blame.GOOD:
                record.good += 1
            else:
                record.bad += 1

    def restore(self, member: K, /) -> Sequence[Returned[K]]:
        """Let a member take part again at once: an active check has seen it well."""
        with self._lock:
            record = self._records.get(member)
            return [] if record is None or record.until is None else [self._return(member)]

    def wait(self, now: float, /) -> float:
        """Return the seconds until something may be due: the next sweep or the next return; at least 0."""
        with self._lock:
            next_sweep = now if self._swept is None else self._swept + self._interval
            returns = (record.until for record in self._records.values() if record.until is not None)
            return max(0.0, min([next_sweep, *returns]) - now)

    def sweep(self, now: float, draw: Callable[[], float], /) -> Sequence[Ejected[K] | Returned[K]]:
        """Say who returns at `now` and, once per interval, who is out; `draw` returns numbers in [0, 1)."""
        with self._lock:
            over = [m for m, record in self._records.items() if record.until is not None and record.until <= now]
            changes: list[Ejected[K] | Returned[K]] = [self._return(member) for member in over]
            if self._swept is None or now >= self._swept + self._interval:
                self._swept = now
                changes += self._judge(now, draw)
            return changes

    def _judge(self, now: float, draw: Callable[[], float]) -> list[Ejected[K]]:
        options, ejected = self.options, list[Ejected[K]]()
        there = {member: record for member, record in self._records.items() if record.until is None}
        judged = {m: r for m, r in there.items() if r.good + r.bad >= options.minimum_calls}
        room = self._most() - (len(self._records) - len(there))
        expected = _expected([record.rate for record in judged.values()], options)
        for member, record in sorted(judged.items(), key=lambda entry: entry[1].rate):
            rate = record.rate
            if rate < expected and len(ejected) < room:
                record.times += 1
                seconds = min(self._base * record.times, self._longest)
                seconds *= 1.0 + options.jitter * draw()
                record.until = now + seconds
                ejected.append(Ejected(member, seconds, rate, expected))
            elif rate >= expected:
                record.times = max(0, record.times - 1)
            record.forget()
        for member, record in there.items():
            record.sweeps += member not in judged
            if record.sweeps >= _SWEEPS_KEPT:
                record.forget()
        return ejected

    def _most(self) -> int:
        count = len(self._records)
        # The sum of a share and the smallest step, so that 0.3 · 10 is 3 in floats too.
        return max(0, min(math.floor(self.options.max_ejected * count + 1e-9), count - 1))

    def _return(self, member: K) -> Returned[K]:
        record = self._records[member]
        record.until = None
        record.forget()
        return Returned(member)


def _expected(rates: list[float], options: OutlierEjection) -> float:
    """Return the success rate below which an endpoint stands out; 0, which none is below, for fewer than two."""
    if len(rates) < 2:  # noqa: PLR2004 - nobody to compare with
        return 0.0
    # The better of two middle values, and the smaller of two middle deviations: what the healthy half shows.
    middle = median_high(rates)
    spread = median_low([abs(rate - middle) for rate in rates])
    return middle - max(options.deviations * _SIGMA * spread, options.margin)
