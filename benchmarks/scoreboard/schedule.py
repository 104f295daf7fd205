"""When calls are due, and which of them are unsafe: the same for every subject of a round."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.scoreboard.scenarios import UNSAFE

if TYPE_CHECKING:
    from collections.abc import Iterator


class Due(NamedTuple):
    """One call: seconds from the start, and whether it is a POST."""

    at: float
    unsafe: bool


def schedule(rate: float, seconds: float, seed: str) -> list[Due]:
    """Draw independent arrivals (a Poisson process): real callers do not keep step with each other."""
    return list(_arrivals(random.Random(seed), rate, seconds))


def _arrivals(draw: random.Random, rate: float, seconds: float) -> Iterator[Due]:
    at = draw.expovariate(rate)
    while at < seconds:
        yield Due(at, draw.random() < UNSAFE)
        at += draw.expovariate(rate)
