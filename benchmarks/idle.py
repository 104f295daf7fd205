"""CPU of one request after another, while other connections of the same client stand open and idle.

A burst opens exactly N connections (the server answers none of it before all N are there); then one caller sends
requests. A pool that looks through its connections on every request pays for each of them; ours is to cost the same
at 1 and at 200.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from clients import BARE, IDLE_SUBJECTS, OURS, Subject
from load import Work, burst, by_tasks
from measure import CONTROL, compare, ratios
from results import control, ratio, table

if TYPE_CHECKING:
    from throughput import Bench

NAME = "CPU per sequential request beside idle connections"
COUNTS = (1, 8, 32, 100, 200)
SECONDS = 0.2
"""How long one client is measured in one round; well below the 4 s after which ours closes an idle connection."""
LEAST, MOST = 20, 500
"""Requests in that time, at least and at most."""
FLAT = 1.2
"""Most that CPU at 200 idle connections may be of that at 1 to be called flat."""


async def turn(bench: Bench, subject: Subject, connections: int) -> dict[str, float]:
    """Open a client and the connections, measure, and ask the server how many of them were still there."""
    url = functools.partial(bench.server.url, tls=False, host=subject.host)
    async with subject.open(bench.server) as get:
        await burst(get, url(f"barrier/{connections}"), connections)
        work = Work(url("2"), url("barrier/1"), workers=1)
        pace = (await by_tasks(get, work, LEAST))["rate"]
        values = await by_tasks(get, work, max(LEAST, min(MOST, int(pace * SECONDS))))
        answer = await get(url("open"))
        body = answer if isinstance(answer, bytes) else answer.content
        return values | {"open": float(body)}
    raise AssertionError


async def section(bench: Bench) -> str:
    """One table: a row a client, a column a number of connections; all of them take turns in every round."""
    subjects = {subject.name: subject for subject in bench.wanted(IDLE_SUBJECTS)}
    subjects[CONTROL] = subjects[BARE]
    turns = {
        _cell(name, count): functools.partial(turn, bench, subject, count)
        for count in COUNTS
        for name, subject in subjects.items()
    }
    found = await compare(
        turns,
        _cell(BARE, COUNTS[0]),
        seconds=3 * bench.seconds,
        least=bench.least,
        most=7,
        between=len(COUNTS),
        tick=lambda name: bench.progress.update(bench.bar, description=f"idle connections: {name}"),
    )
    cpu = found.medians("cpu_us")
    beside_bare = ratios(found.segments, "cpu_us", _cell(BARE, COUNTS[-1]))
    rows, flat = [], ""
    for name in subjects:
        cells = [f"{cpu[_cell(name, count)]:,.0f}" if _cell(name, count) in cpu else "failed" for count in COUNTS]
        growth = ratios(found.segments, "cpu_us", _cell(name, COUNTS[0])).get(_cell(name, COUNTS[-1]))
        share = beside_bare.get(_cell(name, COUNTS[-1]))
        beside = control(share) if name == CONTROL else ratio(share)
        rows.append([name, *cells, *((ratio(growth), beside) if growth else ("", ""))])
        if name == OURS and growth:
            kept = "kept" if growth.median <= FLAT else "NOT KEPT"
            flat = f"- {OURS}, CPU at 200 ÷ at 1 idle connection: **{ratio(growth)}**; promised flat (≤ {FLAT}): {kept}"
    still = {
        count: [segment.values["open"] for segment in found.segments if _of(segment.subject, count)] for count in COUNTS
    }
    seen = ", ".join(f"{min(numbers):.0f}–{max(numbers):.0f} of {count}" for count, numbers in still.items())
    notes = [
        f"CPU µs of the client process a request; {SECONDS} s a round, {found.rounds} rounds; medians",
        f"connections the server still saw afterwards: {seen}",
        *sorted({f"failed: {name.partition(' @ ')[0]}: {why}" for name, why in found.failed.items()}),
    ]
    header = ("client", *(f"{count} idle" for count in COUNTS), "200 ÷ 1", f"CPU × {BARE} at 200")
    return "\n\n".join(filter(None, [flat, bench.circumstances(notes), table(header, rows)]))


def _cell(name: str, count: int) -> str:
    return f"{name} @ {count}"


def _of(subject: str, count: int) -> bool:
    return subject.endswith(f"@ {count}")
