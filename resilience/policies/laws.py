"""How a concurrency limit moves: AIMD and Gradient2, after Netflix's concurrency-limits.

Neither ever lowers the limit of healthy traffic to find out how fast things could be, as Vegas and Envoy's gradient do
when they probe for a minimum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from resilience.core.errors import require
from resilience.core.units import ranged, share, whole
from resilience.core.units import seconds as in_seconds


@dataclass(frozen=True, slots=True)
class Sample:
    """One call that has ended. Seconds and instants."""

    began: float
    took: float
    in_flight: int
    """Calls inside when it began, itself included."""
    dropped: bool
    """It was refused, timed out, or failed."""


class Limit(Protocol):
    """A limit that moves with what happens. Pure: `now` comes in as an argument."""

    @property
    def limit(self) -> float:
        """How many calls may be inside at once."""
        ...

    def learn(self, sample: Sample, now: float, /) -> float:
        """Take note of one call, and return the limit."""
        ...


class Law(Protocol):
    """The frozen description of a limit that moves."""

    def begin(self) -> Limit:
        """Return a new limit at its initial value."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Aimd:
    """Add one for a call that went well under load; multiply by `backoff` when one was dropped or took too long.

    Netflix recommends it for clients. `initial`, `least`, `most`: whole numbers from 1 (20, 20, 200). `backoff`: 0.5 to
    below 1 (0.9). `slow`: seconds that count as dropped (5). One step back at most for all calls that began before it:
    they speak of the same congestion.
    """

    initial: int = 20
    least: int = 20
    most: int = 200
    backoff: float = 0.9
    slow: float = 5.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_bounds(self.initial, self.least, self.most)
        ranged("backoff", self.backoff, "a number from 0.5, below 1", lambda it: 0.5 <= it < 1)  # noqa: PLR2004
        object.__setattr__(self, "slow", in_seconds("slow", self.slow))

    def begin(self) -> AimdLimit:
        """Return a new limit at its initial value."""
        return AimdLimit(self)


class AimdLimit:
    """The state of one :class:`Aimd`."""

    __slots__ = ("_law", "_stepped_back", "limit")

    def __init__(self, law: Aimd) -> None:
        self._law = law
        self._stepped_back = float("-inf")
        self.limit: float = law.initial

    def learn(self, sample: Sample, now: float, /) -> float:
        """Take note of one call, and return the limit."""
        law = self._law
        if sample.dropped or sample.took > law.slow:
            if sample.began > self._stepped_back:
                self._stepped_back = now
                self.limit = max(law.least, self.limit * law.backoff)
        elif sample.in_flight * 2 >= self.limit:
            self.limit = min(law.most, self.limit + 1)
        return self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient2:
    """Follow the ratio of the long-term latency to that of the last second; what is queued somewhere shows in it.

    `initial`, `least`, `most`: whole numbers from 1 (20, 20, 200). `tolerance`: how many times slower than usual is
    still fine (from 1; 1.5). `smoothing`: above 0, up to 1 (0.2). `queue`: calls beyond what is needed (from 0; 4).
    `window`: seconds (1), with at least 10 calls. `memory`: windows that the long-term latency looks back (600). All
    defaults are Netflix's.
    """

    initial: int = 20
    least: int = 20
    most: int = 200
    tolerance: float = 1.5
    smoothing: float = 0.2
    queue: int = 4
    window: float = 1.0
    memory: int = 600

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_bounds(self.initial, self.least, self.most)
        ranged("tolerance", self.tolerance, "a number from 1 to 100", lambda it: 1 <= it <= 100)  # noqa: PLR2004
        share("smoothing", self.smoothing)
        whole("queue", self.queue, least=0)
        object.__setattr__(self, "window", in_seconds("window", self.window))
        whole("memory", self.memory)

    def begin(self) -> Gradient2Limit:
        """Return a new limit at its initial value."""
        return Gradient2Limit(self)


# Netflix: a window with fewer calls says too little; a long-term latency that is this much above the short one is of
# another age, and is let down faster.
_ENOUGH = 10
_OUTDATED = 2.0
_LET_DOWN = 0.95
_STEEPEST = 0.5


class Gradient2Limit:
    """The state of one :class:`Gradient2`."""

    __slots__ = ("_busiest", "_count", "_law", "_long", "_sum", "_until", "_windows", "limit")

    def __init__(self, law: Gradient2) -> None:
        self._law = law
        self._long = 0.0
        self._windows = 0
        self._until: float | None = None
        self._sum = 0.0
        self._count = 0
        self._busiest = 0
        self.limit: float = law.initial

    def learn(self, sample: Sample, now: float, /) -> float:
        """Take note of one call, and return the limit."""
        if sample.dropped:  # its latency is not that of an answer
            return self.limit
        if self._until is None:
            self._until = now + self._law.window
        self._sum += sample.took
        self._count += 1
        self._busiest = max(self._busiest, sample.in_flight)
        if now >= self._until and self._count >= _ENOUGH:
            self._step(self._sum / self._count)
            self._until = None
            self._sum, self._count, self._busiest = 0.0, 0, 0
        return self.limit

    def _step(self, short: float) -> None:
        law = self._law
        # A plain mean until there is a memory's worth, as Netflix warms its average up.
        self._windows += 1
        self._long += (short - self._long) / min(self._windows, law.memory)
        if self._long > _OUTDATED * short:
            self._long *= _LET_DOWN
        if self._busiest * 2 < self.limit:  # the limit was not what bounded it
            return
        gradient = min(1.0, max(_STEEPEST, law.tolerance * self._long / short)) if short > 0 else 1.0
        wanted = gradient * self.limit + law.queue
        moved = (1.0 - law.smoothing) * self.limit + law.smoothing * wanted
        self.limit = min(law.most, max(law.least, moved))


def check_bounds(initial: int, least: int, most: int) -> None:
    """Raise ConfigurationError unless ``1 <= least <= initial <= most``."""
    whole("least", least)
    require("most", whole("most", most), f"a whole number not below least={least}", lambda it: it >= least)
    expected = f"a whole number from least={least} to most={most}"
    require("initial", whole("initial", initial), expected, lambda it: least <= it <= most)
