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
from measure import CONTROL, Comparison, compare
from results import control, ratio, table

if TYPE_CHECKING:
    from throughput import Bench

NAME = "CPU per sequential request beside idle connections"
COUNTS = (1, 8, 32, 100, 200)
CALLS = 100
LEAST_CALLS = 20
FLAT = 1.2
"""Most that CPU at 200 idle connections may be of that at 1 to be called flat."""


async def turn(bench: Bench, subject: Subject, connections: int, calls: int) -> dict[str, float]:
    """Open a client and the connections, measure, and ask the server how many of them were still there."""
    url = functools.partial(bench.server.url, tls=False, host=subject.host)
    async with subject.open(bench.server) as get:
        await burst(get, url(f"barrier/{connections}"), connections)
        values = await by_tasks(get, Work(url("2"), url("barrier/1"), workers=1), calls)
        answer = await get(url("open"))
        body = answer if isinstance(answer, bytes) else answer.content
        return values | {"open": float(body)}
    raise AssertionError


async def section(bench: Bench) -> str:
    """One table: a row a client, a column a number of connections."""
    found: dict[int, Comparison] = {}
    subjects = {subject.name: subject for subject in bench.wanted(IDLE_SUBJECTS)}
    subjects[CONTROL] = subjects[BARE]
    for count in COUNTS:
        calls = max(LEAST_CALLS, CALLS if count < COUNTS[-2] else CALLS // 3)
        turns = {name: functools.partial(turn, bench, subject, count, calls) for name, subject in subjects.items()}

        def tick(name: str, count: int = count) -> None:
            bench.progress.update(bench.bar, description=f"idle {count}: {name}")

        found[count] = await compare(
            turns,
            BARE,
            seconds=bench.seconds / 2,
            least=bench.least,
            most=7,
            between=4,
            tick=tick,
        )
    failed = sorted({f"{name}: {why}" for comparison in found.values() for name, why in comparison.failed.items()})
    rows, flat = [], ""
    for name in [BARE, *(name for name in subjects if name != BARE)]:
        cpu = {count: comparison.medians("cpu_us").get(name) for count, comparison in found.items()}
        first, last = cpu[COUNTS[0]], cpu[COUNTS[-1]]
        growth = last / first if first and last else 0.0
        spread = found[COUNTS[-1]].ratios("cpu_us")
        share = control(spread[name]) if name == CONTROL else ratio(spread.get(name))
        rows.append(
            [
                name,
                *(f"{value:,.0f}" if value else "failed" for value in cpu.values()),
                f"{growth:.2f}" if growth else "",
                share if growth else "",
            ]
        )
        if name == OURS and growth:
            kept = "kept" if growth <= FLAT else "NOT KEPT"
            flat = f"- {OURS}, 200 ÷ 1 idle connections: **{growth:.2f}**; promised flat (≤ {FLAT}): {kept}"
    still = {
        count: sorted({int(segment.values["open"]) for segment in comparison.segments})
        for count, comparison in found.items()
    }
    notes = [
        f"CPU µs of the client process a request; {CALLS} requests a round, {CALLS // 3} from 100 on; medians",
        f"connections the server still saw afterwards, lowest and highest of all clients: {_range(still)}",
        *(f"failed: {error}" for error in failed),
    ]
    header = ("client", *(f"{count} idle" for count in COUNTS), "200 ÷ 1", f"CPU × {BARE} at 200")
    return "\n\n".join(filter(None, [flat, bench.circumstances(notes), table(header, rows)]))


def _range(still: dict[int, list[int]]) -> str:
    return ", ".join(f"{seen[0]}–{seen[-1]} of {count}" for count, seen in still.items())
