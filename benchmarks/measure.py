"""How two things are compared on a machine that is never quiet.

Subjects take turns in short segments, and a baseline segment stands next to each of them. Only neighbours are
compared: a ratio is the median, over the rounds, of subject ÷ the nearest baseline segment. One subject is the
baseline once more (the A/A control): how far its ratio strays from 1 is what the machine adds by itself, and no ratio
means more than that.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

CONTROL = "A/A control"
HANGS = 45.0
"""Seconds after which one turn is given up: a subject that hangs becomes a failed row, not a hung benchmark."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One turn of one subject: values measured in it, by name (`us`, `cpu_us`, `rate`, …)."""

    subject: str
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Spread:
    """A median, the range around it that holds half of the rounds, and the one that holds nine of ten."""

    median: float
    lower: float
    upper: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise one value per round; a single round is its own range."""
        if len(values) == 1:
            return cls(*(values[0],) * 5)
        lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
        twentieths = statistics.quantiles(values, n=20, method="inclusive")
        return cls(median, lower, upper, twentieths[0], twentieths[-1])


def turns(subjects: Sequence[str], baseline: str, round_: int, *, between: int = 2) -> list[str]:
    """Order of one round: subjects rotated by the round's number, a baseline around every `between` of them.

    With two between, each has a baseline as its direct neighbour; more is for baselines that are slow.
    """
    others = [name for name in subjects if name != baseline]
    if not others:
        return [baseline]
    shift = round_ % len(others)
    rotated = others[shift:] + others[:shift]
    order = [baseline]
    for index in range(0, len(rotated), between):
        order += [*rotated[index : index + between], baseline]
    return order


def medians(segments: Sequence[Segment], value: str) -> dict[str, float]:
    """Median of one value for each subject, over all its segments."""
    found: dict[str, list[float]] = {}
    for segment in segments:
        found.setdefault(segment.subject, []).append(segment.values[value])
    return {subject: statistics.median(values) for subject, values in found.items()}


def ratios(segments: Sequence[Segment], value: str, baseline: str) -> dict[str, Spread]:
    """For each subject the spread of subject ÷ nearest baseline; segments stand in the order they ran."""
    positions = [index for index, segment in enumerate(segments) if segment.subject == baseline]
    found: dict[str, list[float]] = {}
    for index, segment in enumerate(segments):
        if segment.subject != baseline and positions:
            nearest = min(positions, key=lambda position: abs(position - index))
            found.setdefault(segment.subject, []).append(segment.values[value] / segments[nearest].values[value])
    return {subject: Spread.of(values) for subject, values in found.items()}


@dataclass(slots=True)
class Comparison:
    """What several rounds showed: the segments in the order they ran, and the subjects that failed, with the reason."""

    baseline: str
    segments: list[Segment] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    rounds: int = 0

    def medians(self, value: str) -> dict[str, float]:
        """Median of one value for each subject."""
        return medians(self.segments, value)

    def ratios(self, value: str) -> dict[str, Spread]:
        """Paired ratios of one value to the baseline."""
        return ratios(self.segments, value, self.baseline)


def reason(error: BaseException) -> str:
    """One line about an error, the first one of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}".splitlines()[0][:120]


async def compare(
    subjects: Mapping[str, Callable[[], Awaitable[dict[str, float]]]],
    baseline: str,
    *,
    seconds: float,
    least: int = 3,
    most: int = 15,
    between: int = 2,
    tick: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Let the subjects take turns for about `seconds`, at least `least` and at most `most` rounds."""
    result = Comparison(baseline)
    started = time.perf_counter()
    while result.rounds < most:
        begun = time.perf_counter()
        for name in turns(list(subjects), baseline, result.rounds, between=between):
            if name in result.failed:
                continue
            tick(name)
            gc.collect()
            try:
                async with asyncio.timeout(HANGS):
                    values = await subjects[name]()
            except Exception as error:
                if name == baseline:
                    raise
                result.failed[name] = reason(error)
            else:
                result.segments.append(Segment(name, values))
        result.rounds += 1
        now = time.perf_counter()
        if result.rounds >= least and (now - started) + (now - begun) > seconds:
            break
    return result
