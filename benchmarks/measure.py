"""How two things are compared on a machine that is never quiet.

Subjects take turns in short segments, and a baseline segment stands next to each of them. Only neighbours are compared:
a ratio is the median, over the rounds, of subject ÷ the nearest baseline segment. One subject is the baseline once more (the
A/A control): how far its ratio strays from 1 is what the machine adds by itself, and no ratio means more than that.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CONTROL = "A/A control"
BETWEEN_BASELINES = 2
"""Subjects between two baseline segments: each then has a baseline as its neighbour."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One turn of one subject: values measured in it, by name (`us`, `cpu_us`, `rate`, …)."""

    subject: str
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and the range around it that holds half of the rounds; `low` and `high` hold all of them."""

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
        lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
        return cls(statistics.median(values), lower, upper, min(values), max(values))


def turns(subjects: Sequence[str], baseline: str, round_: int) -> list[str]:
    """Order of one round: subjects rotated by the round's number, a baseline before, between and after them."""
    others = [name for name in subjects if name != baseline]
    if not others:
        return [baseline]
    shift = round_ % len(others)
    rotated = others[shift:] + others[:shift]
    order = [baseline]
    for index in range(0, len(rotated), BETWEEN_BASELINES):
        order += [*rotated[index : index + BETWEEN_BASELINES], baseline]
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
