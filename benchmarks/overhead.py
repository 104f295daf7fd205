"""Nanoseconds a policy adds to a call that succeeds at once, beside the same policy of other libraries.

    python benchmarks/overhead.py [--quick] [--mode sync|async] [--subjects resilience,nopanic] [--no-write]

Each guard wraps a function that returns a constant; blocks of calls of a few milliseconds take turns (see measure.py).
Async guards are awaited in a loop inside one running event loop. Nothing is subtracted: the bare call has its own row.
Ratios are to nopanic, the fastest complete peer, group by group.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import statistics
import time
from itertools import repeat
from typing import TYPE_CHECKING

from rich.progress import track

from guards import BARE, GROUPS, GUARDS, HEADLINE, OURS, PEER, WITH_TIMEOUT, Function, Guard
from measure import CONTROL, Comparison, compare
from results import circumstances, control, ratio, show, table, terminal, write_section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from measure import Spread

LIBRARIES = ("nopanic", "tenacity", "pybreaker", "stamina", "interlock-cb", "anyio")
TARGET = 0.7
"""Ours ÷ nopanic for the stack without timeout, sync and async: what the project promises."""
BLOCK = 0.003
"""Seconds of one block: shorter than a scheduler's slice, so that most blocks are not interrupted."""


def noop() -> int:
    """Return a constant."""
    return 1


async def anoop() -> int:
    """Return a constant."""
    return 1


async def block(fn: Function, calls: int, mode: str) -> float:
    """Nanoseconds per call over one block."""
    if mode == "sync":
        start = time.perf_counter_ns()
        for _ in repeat(None, calls):
            fn()
    else:
        await asyncio.sleep(0)  # lets the loop drop the timers that the last block has cancelled
        start = time.perf_counter_ns()
        for _ in repeat(None, calls):
            await fn()
    return (time.perf_counter_ns() - start) / calls


async def calls_per_block(fn: Function, mode: str) -> int:
    """Warm the guard up and find how many calls fill a block."""
    await block(fn, 10, mode)  # first calls import, look up and allocate
    calls = 4
    while (each := await block(fn, calls, mode)) * calls < BLOCK * 1e8:
        calls *= 4
    return max(1, int(BLOCK * 1e9 / each))


class Group:
    """The guards of one policy in one mode, measured against each other only."""

    def __init__(self, name: str, mode: str, guards: Sequence[Guard]) -> None:
        """Build the guards; a library that is not there is remembered as missing."""
        self.name, self.mode = name, mode
        self.functions: dict[str, Function] = {}
        self.missing: dict[str, str] = {}
        self.found = Comparison(BARE)
        target = noop if mode == "sync" else anoop
        for guard in guards:
            if guard.group == name and mode in guard.modes:
                try:
                    self.functions[guard.library] = guard.wrap(target)
                    if guard.library == PEER:
                        self.functions[CONTROL] = guard.wrap(target)
                except (ImportError, AttributeError) as error:
                    self.missing[guard.library] = str(error)
        self.functions[BARE] = target
        self.baseline = PEER if PEER in self.functions else BARE

    async def run(self, rounds: int) -> None:
        """Find the block sizes, then take turns for some rounds."""

        async def turn(fn: Function, calls: int) -> dict[str, float]:
            return {"ns": await block(fn, calls, self.mode)}

        subjects = {
            name: functools.partial(turn, fn, await calls_per_block(fn, self.mode))
            for name, fn in self.functions.items()
        }
        self.found = await compare(subjects, self.baseline, seconds=0.0, least=rounds, most=rounds)

    @property
    def absent(self) -> dict[str, str]:
        """What could not be measured, and why."""
        return self.missing | self.found.failed

    def ratios(self) -> dict[str, Spread]:
        """Each library ÷ the peer."""
        return self.found.ratios("ns")

    def rows(self) -> list[list[str]]:
        """One row a library, in the order they are listed."""
        times, spreads = self.found.medians("ns"), self.ratios()
        noise = control(spreads.get(CONTROL))
        rows = [
            [f"{self.name} · {name}", f"{times[name]:,.0f}", ratio(spreads.get(name)), noise]
            for name in self.functions
            if name not in (CONTROL, BARE) and name in times
        ]
        return rows + [[f"{self.name} · {name}", "not available", "", ""] for name in self.absent]


async def measure(mode: str, rounds: int, guards: Sequence[Guard]) -> list[Group]:
    """Measure every group of one mode, one after the other."""
    groups = [Group(name, mode, guards) for name in GROUPS]
    groups = [group for group in groups if len(group.functions) > 1]
    gc.freeze()  # what is alive now is not looked at again by the collections between blocks
    for group in track(groups, description=f"{mode:5}"):
        await group.run(rounds)
    return groups


def report(mode: str, groups: Sequence[Group]) -> str:
    """Lay out the table of one mode."""
    bare = statistics.median(group.found.medians("ns")[BARE] for group in groups)
    rows = [[f"bare {'call' if mode == 'sync' else 'await'}", f"{bare:,.0f}", "", ""]]
    rows += [row for group in groups for row in group.rows()]
    return table((f"{mode} call, succeeding", "ns", f"× {PEER}", "A/A"), rows)


def verdicts(groups: Sequence[Group]) -> str:
    """Give the headline: ours ÷ nopanic for the whole stack, and whether it keeps what is promised."""
    lines = []
    for group in groups:
        spread = group.ratios().get(OURS) if group.baseline == PEER else None
        if group.name not in (HEADLINE, WITH_TIMEOUT) or spread is None:
            continue
        promise = ""
        if group.name == HEADLINE:
            promise = f"; promised ≤ {TARGET}: {'kept' if spread.median <= TARGET else 'NOT KEPT'}"
        noise = control(group.ratios().get(CONTROL))
        lines.append(f"- {group.mode}, {group.name}: **{ratio(spread)} × {PEER}**, A/A {noise}{promise}")
    return "\n".join(lines) or f"- no headline: {OURS} or {PEER} was not measured"


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: for iterating, about 3 s")
    parser.add_argument("--rounds", type=int, help="default 41, quick 11")
    parser.add_argument("--mode", choices=("sync", "async"), action="append", help="default both")
    parser.add_argument("--subjects", help="libraries, comma-separated, by the start of their names")
    parser.add_argument("--no-write", action="store_true", help="leave RESULTS.md alone")
    options = parser.parse_args()
    wanted = tuple(options.subjects.split(",")) if options.subjects else ("",)
    guards = [guard for guard in GUARDS if guard.library.startswith(wanted)]
    rounds = options.rounds or (11 if options.quick else 41)
    groups: list[Group] = []
    tables: list[str] = []
    for mode in options.mode or ("sync", "async"):
        found = asyncio.run(measure(mode, rounds, guards))
        groups += found
        tables.append(report(mode, found))
    notes = [
        f"{rounds} rounds of blocks of {BLOCK * 1e3:.0f} ms; medians; ratio: (middle half); A/A: (nine of ten)",
        "sync `timeout`: nopanic and interlock-cb run the call on another thread; ours is a deadline that waits obey",
        *sorted({f"not available: {name}: {why}" for group in groups for name, why in group.absent.items()}),
    ]
    body = "\n\n".join([verdicts(groups), circumstances(LIBRARIES, notes), *tables])
    show(body, terminal())
    if not options.no_write:
        write_section("overhead", body)


if __name__ == "__main__":
    main()
