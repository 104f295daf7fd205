"""The command: which cells are wanted, and what is written when they are there."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks.scoreboard import network
from benchmarks.scoreboard.cell import CellError, run
from benchmarks.scoreboard.outputs import RECORD, write
from benchmarks.scoreboard.rounds import Plan, fill, lacking
from benchmarks.scoreboard.rows import Rows
from benchmarks.scoreboard.scenarios import QUICK as QUICK_SCENARIOS
from benchmarks.scoreboard.scenarios import SCENARIOS, SEEDS
from benchmarks.scoreboard.subjects import QUICK as QUICK_SUBJECTS
from benchmarks.scoreboard.subjects import SUBJECTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

QUICK_RESULTS = Path("out/scoreboard")
ROUNDS = 6
"""Of the record: each of three replicas is the victim twice."""
_TRIES = 3
_Cell = tuple[str, str, int]


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments ask for; return the exit code."""
    options = _parser().parse_args(arguments)
    console = Console()
    if options.cell:
        return _one(options.cell, options.seeds, options.results, console)
    quick = options.quick
    folder = Path(options.results or (QUICK_RESULTS if quick else RECORD))
    subjects = _wanted(options.subject, SUBJECTS, QUICK_SUBJECTS if quick else SUBJECTS)
    scenarios = _wanted(options.scenario, SCENARIOS, QUICK_SCENARIOS if quick else SCENARIOS)
    rows = Rows(folder / "rows.jsonl")
    if not options.tables:
        if reason := network.missing():
            return _no_networks(reason, console)
        for name in [name for name in subjects if (what := lacking(SUBJECTS[name]))]:
            console.print(f"[yellow]left out: {name}[/], {what} is missing", highlight=False)
            subjects.remove(name)
        rounds = options.rounds or (1 if quick else ROUNDS)
        tries = 1 if quick else _TRIES
        fill(Plan(scenarios, subjects, rounds, options.seeds, tries, options.jobs), rows, console)
    written = write(rows.read(options.seeds), folder)
    console.print(f"written: {', '.join(str(file) for file in written)}", highlight=False)
    return 0


def _one(cell: _Cell, seeds: str, folder: str | None, console: Console) -> int:
    """Run one cell again, and show it beside what is on record; nothing is recorded."""
    scenario, subject, number = cell
    if what := lacking(SUBJECTS[subject]):
        console.print(f"[red]{subject} cannot be run:[/] {what} is missing", highlight=False)
        return 2
    if reason := network.missing():
        return _no_networks(reason, console)
    try:
        fresh = run(scenario, subject, number, seeds)
    except CellError as error:
        console.print(f"[red]{scenario} · {subject} · round {number} could not be run:[/] {error}")
        return 1
    rows = Rows(Path(folder or RECORD) / "rows.jsonl").read(seeds)
    known = [row for row in rows if (row["scenario"], row["subject"], row["round"]) == cell]
    for title, row in [*(("on record", row) for row in known), ("now", fresh)]:
        shown = {key: value for key, value in row.items() if key not in {"windows", "calls_raw"}}
        console.print(f"[bold]{title}[/]")
        console.print_json(json.dumps(shown))
    return 0


def _no_networks(reason: str, console: Console) -> int:
    console.print(f"[red]The scoreboard needs network namespaces:[/] {reason}")
    return 2


def _cell(text: str) -> _Cell:
    """Read `killed/ours/1`; what is said of anything else ends the command with exit code 2."""
    scenario, subject, number = text.split("/") if text.count("/") == 2 else ("", "", "")
    if scenario in SCENARIOS and subject in SUBJECTS and number.isdecimal() and int(number) > 0:
        return scenario, subject, int(number)
    message = (
        f"{text!r} is no cell. It is a scenario, a subject and a round from 1, as in 'killed/ours/1'. Scenarios: "
        f"{', '.join(SCENARIOS)}. Subjects: {', '.join(SUBJECTS)}"
    )
    raise argparse.ArgumentTypeError(message)


def _from_one(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    message = f"{text!r} is no whole number from 1"
    raise argparse.ArgumentTypeError(message)


def _wanted(given: str | None, known: Iterable[str], default: Iterable[str]) -> list[str]:
    if given is None:
        return list(default)
    names = [name.strip() for name in given.split(",")]
    if strangers := set(names) - set(known):
        message = f"unknown: {', '.join(sorted(strangers))}; there are: {', '.join(known)}"
        raise SystemExit(message)
    return [name for name in known if name in names]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks scoreboard",
        description="The same load and the same fault for every alternative. Finished cells are not run again.",
    )
    parser.add_argument("--scenario", metavar="A,B", help=f"of: {', '.join(SCENARIOS)}")
    parser.add_argument("--subject", metavar="A,B", help=f"of: {', '.join(SUBJECTS)}")
    parser.add_argument(
        "--quick", action="store_true", help="three subjects, five scenarios, one round, in out/scoreboard"
    )
    parser.add_argument("--rounds", type=_from_one, metavar="N", help=f"rounds of each cell ({ROUNDS})")
    parser.add_argument(
        "--jobs", type=_from_one, default=1, metavar="N", help="cells at a time, each on one core (1: on any)"
    )
    parser.add_argument("--seeds", choices=list(SEEDS), default="report", help="tuning: for whoever changes a subject")
    parser.add_argument(
        "--cell", type=_cell, metavar="SCENARIO/SUBJECT/ROUND", help="run this one again, show it, record nothing"
    )
    parser.add_argument("--tables", action="store_true", help="run nothing; write table, pictures and page again")
    parser.add_argument("--results", metavar="FOLDER", help="where rows are kept and outputs written")
    return parser
