"""What must hold of ours, and what was measured: one line each, as measured, kept or not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.scoreboard.reasons import because
from benchmarks.scoreboard.scenarios import UNSAFE
from benchmarks.scoreboard.standing import goodput
from benchmarks.scoreboard.subjects import CONTROL, SUBJECTS
from benchmarks.scoreboard.wording import TOO_WIDE, number, percent

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
    why: str = ""
    """Where it does not hold: the reason."""


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
    def line(what: str, measured: str, *failed: str, holds: bool) -> Promise:
        return Promise(what, name, measured, holds, "" if holds else because(name, failed))

    def limit(
        what: str, scenarios: tuple[str, ...], value: Callable[[Standing], float], most: float
    ) -> Iterator[Promise]:
        there = {s: value(mine[s]) for s in scenarios if s in mine}
        if there:
            worst = max(there, key=lambda s: there[s])
            yield line(what, f"{there[worst]:.3f} ({worst})", worst, holds=there[worst] <= most)

    twice = sum(it.duplicated for it in mine.values())
    doubled = [s for s, it in mine.items() if it.duplicated]
    yield line("0 POSTs twice", str(twice), *doubled, holds=twice == 0)
    yield from limit("sends ÷ call ≤ 1.1 when one fails", ONE_FAILS, lambda it: it.sends, 1.1)
    yield from limit("sends ÷ call ≤ 1.25 when all fail", ("503-all",), lambda it: it.sends, 1.25)
    yield from limit("sends ÷ call ≤ 1.33 through three tiers", ("tiers",), lambda it: it.sends, 1.33)
    if "hung" in mine and "healthy" in mine:
        hung, healthy = mine["hung"].settled_p99, mine["healthy"].settled_p99
        measured = f"{number(hung)} ms, {number(healthy)} ms"
        yield line("hung: p99 after 2 s ≤ 1.5 × healthy", measured, "hung", holds=hung <= 1.5 * healthy)
    for scenario in ("killed", "black-hole"):
        if scenario in mine:
            it = mine[scenario]
            measured = f"{it.lost} GETs, {it.posts_lost} of {it.posts} POSTs"
            # A POST that may have been received may not be sent again: those are told, and not promised.
            yield line(f"{scenario}: 0 GETs lost", measured, scenario, holds=it.lost == 0)
    if "hundred-hung" in mine:
        it = mine["hundred-hung"]
        measured = f"{percent(it.within)} % in time"
        yield line("100 hung: no collapse, ≥ 99 % in time", measured, "hundred-hung", holds=it.within >= 0.99)
    if "halved" in mine:
        it, plan = mine["halved"], sections["halved"].scenario
        # Of the GETs: their share of what half the servers can answer is their share of the calls.
        half = plan.replicas * plan.workers / plan.service_time / 2 * (1 - UNSAFE)
        share = goodput(it, plan.starts, plan.ends) / half
        yield line("halved: in time ≥ 90 % of the half", f"{100 * share:.0f} %", "halved", holds=share >= 0.9)
        again = f"{number(it.recovered)} s" if math.isfinite(it.recovered) else "not within the run"
        yield line("halved: recovered ≤ 10 s after it returns", again, "halved", holds=it.recovered <= _GRACE)
    yield _place(name, {s: sections[s] for s in mine})


def _place(name: str, sections: dict[str, Section]) -> Promise:
    """Say where it is first or tied, by the rule of :func:`benchmarks.scoreboard.standing.betters`."""
    better = {s: found for s, section in sections.items() if (found := section.betters(name))}
    parts = [f"{s} (behind {_best(sections[s], found)})" for s, found in better.items()]
    if wide := [s for s, section in sections.items() if not section.ranked and s not in better]:
        parts.append(f"{TOO_WIDE}: {', '.join(wide)}")
    what = "first or tied within the A/A spread on calls in time, among subjects with as many sends or fewer"
    return Promise(what, name, "; ".join(parts) or "everywhere", not better, because(name, better))


def _best(section: Section, better: Sequence[str]) -> str:
    first, others = better[0], len(better) - 1
    mine = f"{first}, {percent(section.standings[first].within)} %"
    return f"{mine}, and {others} more" if others else mine
