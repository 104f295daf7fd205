"""What the rounds of a cell come to, and who stands where. Pure."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.scoreboard.scenarios import WINDOW

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.scoreboard.rows import Row

ALIKE = 0.02
"""Sends per call by which two subjects may differ and count as equal."""
FINEST = 0.002
"""Share of the calls below which a difference means nothing, whatever the A/A control says: two calls in a thousand."""
WIDEST = 0.02
"""A/A spread above which nobody is called first: twins that far apart say that a round of this scenario is a draw of lots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One subject under one scenario, over its rounds. Shares 0-1, milliseconds, seconds."""

    subject: str
    rounds: int
    """Rounds that count."""
    dropped: int
    """Rounds the noise rule has dropped."""
    noisy: bool
    """No round was kept: the numbers are those of the dropped ones, for orientation only."""
    success: float
    within: float
    lost: int
    p50: float
    p99: float
    settled_p99: float
    sends: float
    """Requests the servers read per call, over the whole cell; of several tiers, the most."""
    sends_during: float
    """The same of the calls due during the fault."""
    duplicated: int
    posts: int
    posts_lost: int
    recovered: float
    """Seconds; infinity: not within the run."""
    connections: float
    cpu: float
    proxy_cpu: float
    errors: Mapping[str, int]
    windows: Sequence[tuple[float, float, float, float, float]]
    """Due (in all rounds), answered, in time (shares of the due), median and p99 of each window."""


def standing(subject: str, rows: Sequence[Row]) -> Standing | None:
    """Sum the rounds up: shares are pooled, latencies are medians over the rounds, duplicates and losses are added."""
    kept = [row for row in rows if row["kept"]]
    dropped = len(rows) - len(kept)
    counted = kept or list(rows)
    if not counted:
        return None

    def middle(name: str) -> float:
        return statistics.median(math.inf if row[name] is None else row[name] for row in counted)

    def mean(name: str) -> float:
        return statistics.fmean(row[name] for row in counted)

    errors: dict[str, int] = {}
    for row in counted:
        for name, count in row["errors"].items():
            errors[name] = errors.get(name, 0) + count
    return Standing(
        subject=subject,
        rounds=len(counted),
        dropped=dropped,
        noisy=not kept,
        success=mean("success"),
        within=mean("within"),
        lost=sum(row["lost"] for row in counted),
        p50=middle("p50"),
        p99=middle("p99"),
        settled_p99=middle("settled_p99"),
        sends=mean("sends"),
        sends_during=mean("sends_during"),
        duplicated=sum(row["duplicated"] for row in rows),
        posts=sum(row["posts"] for row in counted),
        posts_lost=sum(row["posts_lost"] for row in counted),
        recovered=middle("recovered"),
        connections=middle("connections"),
        cpu=middle("cpu"),
        proxy_cpu=middle("proxy_cpu"),
        errors=errors,
        windows=_windows([row["windows"] for row in counted]),
    )


def _windows(runs: Sequence[Sequence[Sequence[float | None]]]) -> list[tuple[float, float, float, float, float]]:
    found = []
    for windows in zip(*runs, strict=True):
        due, answered, in_time = (sum(window[i] or 0 for window in windows) for i in range(3))
        p50, p99 = (
            statistics.median(math.inf if window[i] is None else window[i] for window in windows if window[0])
            if due
            else math.nan
            for i in (3, 4)
        )
        found.append((due, answered / due if due else 1.0, in_time / due if due else 1.0, p50, p99))
    return found


def spread(rows: Iterable[Row], one: str, other: str) -> float:
    """How far a subject and its control are apart on calls in time: the most of all rounds, never below `FINEST`."""
    found: dict[tuple[int, str], list[float]] = {}
    for row in rows:
        if row["subject"] in {one, other} and row["kept"]:
            found.setdefault((row["round"], row["subject"]), []).append(row["within"])
    rounds = {round_ for round_, _ in found}
    pairs = [(found.get((r, one)), found.get((r, other))) for r in rounds]
    return max([FINEST, *(abs(statistics.fmean(a) - statistics.fmean(b)) for a, b in pairs if a and b)])


def betters(mine: Standing, all_: Iterable[Standing], noise: float) -> list[str]:
    """Who has more calls in time by more than the noise, with as many sends per call or fewer; the best first.

    Who has nobody there is first or tied within the A/A spread on success within the objective, among the subjects of
    equal or lower amplification.
    """
    found = [
        it
        for it in all_
        if it.subject != mine.subject
        and not it.noisy
        and it.sends <= mine.sends + ALIKE
        and it.within > mine.within + noise
    ]
    return [it.subject for it in sorted(found, key=lambda it: -it.within)]


def goodput(mine: Standing, since: float, until: float) -> float:
    """Count the GETs answered in time, per second: of those due between two instants, which are edges of windows."""
    inside = [it for index, it in enumerate(mine.windows) if since <= index * WINDOW < until]
    return sum(due * in_time for due, _, in_time, _, _ in inside) / mine.rounds / (until - since)


def seconds(index: int) -> float:
    """Give the middle of a window."""
    return (index + 0.5) * WINDOW
