"""The rounds: every cell of a round before the next round begins, so that a bad hour hits all subjects alike."""

from __future__ import annotations

import datetime as dt
import importlib.util
import itertools
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.scoreboard.cell import CellError, run
from benchmarks.scoreboard.proxies import program
from benchmarks.scoreboard.rows import Row, Rows, finished
from benchmarks.scoreboard.scenarios import LAG_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from benchmarks.scoreboard.subjects import Subject


@dataclass(frozen=True, slots=True)
class Plan:
    """What is wanted."""

    scenarios: list[str]
    subjects: list[str]
    rounds: int
    seeds: str
    tries: int
    """How often a cell is run when the noise rule drops it."""
    jobs: int = 1
    """Cells run at the same time, each with all of its processes on a core of its own; 1: on any core."""

    def cells(self) -> Iterator[tuple[int, str, str]]:
        """Round, scenario, subject: rounds outermost; subjects change their turns from round to round."""
        for round_ in range(1, self.rounds + 1):
            for scenario in self.scenarios:
                shift = round_ % len(self.subjects)
                for subject in self.subjects[shift:] + self.subjects[:shift]:
                    yield round_, scenario, subject


def lacking(subject: Subject) -> str:
    """Say what a subject needs and this machine has not; nothing when it can run."""
    for need in subject.needs:
        kind, _, name = need.partition(":")
        there = importlib.util.find_spec(name) if kind == "module" else program(name)
        if not there:
            return name
    return ""


def fill(plan: Plan, rows: Rows, console: Console) -> None:
    """Run the cells that are not on record yet."""
    known = rows.read(plan.seeds)
    wanted = [cell for cell in plan.cells() if not finished(known, cell[1], cell[2], cell[0], plan.tries)]
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    revision = _revision()
    workers = ThreadPoolExecutor(plan.jobs, initializer=_pin, initargs=(_cores(plan.jobs),))
    with Progress(*columns, console=console) as progress, workers:
        bar = progress.add_task(f"round {wanted[0][0]}" if wanted else "", total=len(wanted))

        def cell(round_: int, scenario: str, subject: str) -> None:
            progress.update(bar, description=f"round {round_} · {scenario} · {subject}")
            while not finished(known, scenario, subject, round_, plan.tries):
                try:
                    row = run(scenario, subject, round_, plan.seeds)
                except CellError as error:
                    progress.console.print(f"[red]{scenario} · {subject} · round {round_} could not be run:[/] {error}")
                    break
                now = dt.datetime.now(tz=dt.UTC)
                row |= {"revision": revision, "date": f"{now:%Y-%m-%d %H:%M}", "jobs": plan.jobs}
                rows.append(row)
                known.append(row)
                progress.console.print(_line(row), highlight=False)
            progress.advance(bar)

        running = [workers.submit(cell, *it) for it in wanted]
        try:
            for done in as_completed(running):
                done.result()
        except BaseException:
            workers.shutdown(wait=False, cancel_futures=True)
            raise


def _cores(jobs: int) -> Iterator[set[int]]:
    """Give each worker its cores: one when there are several workers, else all."""
    cores = sorted(os.sched_getaffinity(0))
    if jobs > len(cores):
        message = f"--jobs {jobs}: this machine has {len(cores)} cores"
        raise SystemExit(message)
    return itertools.repeat(set(cores)) if jobs == 1 else iter([{core} for core in cores])


def _pin(cores: Iterator[set[int]]) -> None:
    """Pin this thread: what it starts inherits that."""
    os.sched_setaffinity(0, next(cores))


def _line(row: Row) -> str:
    text = (
        f"round {row['round']} {row['scenario']:<13} {row['subject']:<20} good {100 * row['within']:6.2f} %  answered "
        f"{100 * row['success']:6.2f} %  p99 {row['p99'] or float('inf'):7.1f} ms  sends/call {row['sends']:.3f}"
    )
    if row["duplicated"]:
        text += f"  [red]{row['duplicated']} POSTs twice[/]"
    return text if row["kept"] else f"[dim]{text}  dropped: lag {row['lag_p99']} ms > {LAG_LIMIT * 1000:g} ms[/]"


def _revision() -> str:
    try:
        command = ["git", "rev-parse", "--short", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
