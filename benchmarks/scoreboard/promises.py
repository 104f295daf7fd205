"""What must hold of ours, and what was measured: one line each, as measured, kept or not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.scoreboard.subjects import CONTROL, SUBJECTS
from benchmarks.scoreboard.wording import number, percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.scoreboard.board import Section
    from benchmarks.scoreboard.standing import Standing

ONE_FAILS = ("killed", "hung", "slow", "503-one", "reset", "black-hole", "eleven")
_GRACE = 10.0


class Promise(NamedTuple):
    """One line: what, for which of ours, what was measured, whether it holds."""

    what: str
    subject: str
    measured: str
    holds: bool


def promises(sections: Sequence[Section]) -> list[Promise]:
    """Hold every variant of ours against every line."""
    by_name = {section.scenario.name: section for section in sections}
    found: list[Promise] = []
    for name in [name for name, subject in SUBJECTS.items() if subject.ours and name != CONTROL]:
        mine = {s: section.standings[name] for s, section in by_name.items() if name in section.standings}
        if mine:
            found += _of(name, mine, by_name)
    return found


def _of(name: str, mine: dict[str, Standing], sections: dict[str, Section]) -> Iterator[Promise]:
    def limit(
        what: str, scenarios: tuple[str, ...], value: Callable[[Standing], float], most: float
    ) -> Iterator[Promise]:
        there = {s: value(mine[s]) for s in scenarios if s in mine}
        if there:
            worst = max(there, key=lambda s: there[s])
            yield Promise(what, name, f"{there[worst]:.3f} ({worst})", there[worst] <= most)

    twice = sum(it.duplicated for it in mine.values())
    yield Promise("0 POSTs twice", name, str(twice), twice == 0)
    yield from limit("sends ÷ call ≤ 1.1 when one fails", ONE_FAILS, lambda it: it.sends, 1.1)
    yield from limit("sends ÷ call ≤ 1.25 when all fail", ("503-all",), lambda it: it.sends, 1.25)
    yield from limit("sends ÷ call ≤ 1.33 through three tiers", ("tiers",), lambda it: it.sends, 1.33)
    if "hung" in mine and "healthy" in mine:
        hung, healthy = mine["hung"].settled_p99, mine["healthy"].settled_p99
        yield Promise(
            "hung: p99 after 2 s ≤ 1.5 × healthy",
            name,
            f"{number(hung)} ms, {number(healthy)} ms",
            hung <= 1.5 * healthy,
        )
    for scenario in ("killed", "black-hole"):
        if scenario in mine:
            it = mine[scenario]
            measured = f"{it.lost} GETs, {it.posts_lost} of {it.posts} POSTs"
            yield Promise(f"{scenario}: 0 calls lost", name, measured, it.lost == 0)
    if "hundred-hung" in mine:
        it = mine["hundred-hung"]
        yield Promise("100 hung: no collapse", name, f"{percent(it.within)} % in time", it.within >= 0.99)
    if "halved" in mine:
        it, plan = mine["halved"], sections["halved"].scenario
        half = plan.replicas * plan.workers / plan.service_time / 2
        measured = f"{100 * it.goodput / half:.0f} %"
        yield Promise("halved: goodput ≥ 90 % of the half", name, measured, it.goodput >= 0.9 * half)
        again = f"{number(it.recovered)} s" if math.isfinite(it.recovered) else "not within the run"
        yield Promise("halved: recovered ≤ 10 s after it returns", name, again, it.recovered <= _GRACE)
    behind = [f"{s} (behind {', '.join(sections[s].beyond(name))})" for s in mine if sections[s].beyond(name)]
    yield Promise("on the success × amplification frontier", name, "; ".join(behind) or "everywhere", not behind)
    late = [f"{s} (behind {', '.join(sections[s].betters(name))})" for s in mine if sections[s].betters(name)]
    yield Promise("first or tied on calls in time", name, "; ".join(late) or "everywhere", not late)
