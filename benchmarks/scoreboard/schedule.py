"""When calls are due, and of which kind they are: the same for every subject of a round."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Literal, NamedTuple

from benchmarks.scoreboard.scenarios import UNSAFE, Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["safe", "unsafe", "hanging"]
REQUESTS: dict[Kind, tuple[str, str]] = {
    "safe": ("GET", "/items"),
    "unsafe": ("POST", "/orders"),
    "hanging": ("GET", "/reports"),
}


class Due(NamedTuple):
    """One call: seconds from the start, and its kind."""

    at: float
    kind: Kind


def schedule(scenario: Scenario, seed: str) -> list[Due]:
    """Draw independent arrivals (a Poisson process): real callers do not keep step with each other."""
    draw = random.Random(seed)
    due = [
        Due(at, "unsafe" if draw.random() < UNSAFE else "safe")
        for at in _arrivals(draw, scenario.rate, 0.0, scenario.seconds)
    ]
    if scenario.hanging:
        due += [Due(at, "hanging") for at in _arrivals(draw, scenario.hanging, scenario.starts, scenario.ends)]
    return sorted(due)


def _arrivals(draw: random.Random, rate: float, since: float, until: float) -> Iterator[float]:
    at = since + draw.expovariate(rate)
    while at < until:
        yield at
        at += draw.expovariate(rate)
