"""Requests per second, p50 and CPU per request of HTTP clients against one server on loopback.

    python benchmarks/throughput.py [--quick] [--only http,threads,steady,idle] [--concurrency 1,32] [--body 2,10k]
                                    [--tls no,yes] [--subjects httpx,resilience,aiohttp] [--seconds 20] [--no-write]

Each combination of body and TLS is a section of RESULTS.md, and so are threads, steady load and idle connections; the
whole takes about ten minutes, `--quick` under one. The server is another process and does next to nothing: clients
are what is compared.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from rich.progress import Progress

import idle
import server
from clients import BARE, OURS, SUBJECTS, SYNC_SUBJECTS, Subject
from load import Load, Work, by_tasks, by_threads
from measure import CONTROL, Comparison, compare, reason
from results import circumstances, control, ratio, show, table, terminal, write_section

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PROMISES = {1: ("time per call", 1.05), 32: ("throughput", 2.0), 100: ("throughput", 3.0)}
"""Concurrent calls → what is promised of ours ÷ bare httpx: at most this time, or at least this throughput."""
SEGMENT = 0.25
"""Seconds of a measured segment, unless that is fewer than two requests a worker."""
SLOW = 64
"""From so many workers on, bare httpx spends 10 ms of CPU a request: fewer baselines, or one measures little else."""
STEADY_LEAD = 6.0
"""Seconds of load before a steady segment: longer than httpx keeps a connection it does not use (5 s)."""
STEADY_TURNS = 10
STEADY = (BARE, OURS, f"{OURS}, policies only (httpx's pool)", "httpx2", "aiohttp")
LIBRARIES = ("httpx", "httpcore", "anyio", "httpx-retries", "httpx2", "httpware", "aiohttp", "uvloop")


class Bench:
    """One run of the command: its options, its server and its progress bar."""

    def __init__(self, options: argparse.Namespace, running: server.Server, progress: Progress) -> None:
        """Derive how long to measure from the options."""
        self.options, self.server = options, running
        self.segment = SEGMENT / 3 if options.quick else SEGMENT
        self.seconds = options.seconds or (4.0 if options.quick else 20.0)
        self.least = 1 if options.quick else 3
        self.progress, self.bar = progress, progress.add_task("starting", total=None)

    def wanted(self, subjects: Iterable[Subject]) -> list[Subject]:
        """Keep the subjects asked for by the start of their names; the baseline always."""
        names = tuple(self.options.subjects.split(",")) if self.options.subjects else ("",)
        return [subject for subject in subjects if subject.name == BARE or subject.name.startswith(names)]

    def circumstances(self, notes: Sequence[str]) -> str:
        """Tell what stands above every table."""
        return circumstances(LIBRARIES, ["server: raw asyncio protocol on uvloop, its own process, loopback", *notes])

    async def cell(
        self,
        subjects: Sequence[Subject],
        load: Load,
        workers: int,
        path: str,
        *,
        tls: bool,
        lead: float = 0.0,
    ) -> Comparison:
        """All subjects with so many workers: open them, find their pace, let them take turns."""
        turns, failed = {}, {}

        def tick(name: str) -> None:
            self.progress.update(self.bar, description=f"{path} {'tls' if tls else 'plain'} x{workers}: {name}")

        async with AsyncExitStack() as stack:
            for name, subject in [(subject.name, subject) for subject in subjects] + [(CONTROL, subjects[0])]:
                tick(f"opening {name}")
                try:
                    get = await stack.enter_async_context(subject.open(self.server))
                    url = functools.partial(self.server.url, tls=tls, host=subject.host)
                    part = functools.partial(load, get, Work(url(path), url(f"barrier/{workers}"), workers))
                    pace = (await part(workers))["rate"]
                    if workers < SLOW:  # a first try is never the real pace, but it is near enough where tries are dear
                        pace = (await part(max(workers, int(pace * self.segment / 3))))["rate"]
                except Exception as error:  # noqa: BLE001 - a subject that fails is a row that says so
                    failed[name] = reason(error)
                    continue
                calls = max(2 * workers, int(pace * self.segment))
                if lead:
                    part = functools.partial(load, get, Work(url(path), url(f"barrier/{workers}"), workers, lead))
                    calls = max(STEADY_TURNS * workers, int(pace))
                turns[name] = functools.partial(part, calls)
            gc.freeze()  # clients and modules are not looked at again by the collections between segments
            between = 4 if workers >= SLOW else 2
            least = 2 if lead else self.least
            found = await compare(turns, BARE, seconds=self.seconds, least=least, between=between, tick=tick)
            gc.unfreeze()
        found.failed |= failed
        return found

    async def section(
        self,
        subjects: Sequence[Subject],
        load: Load,
        concurrency: Sequence[int],
        path: str,
        *,
        tls: bool,
        lead: float = 0.0,
    ) -> str:
        """One table over several numbers of workers, with the promises above it."""
        cells = {workers: await self.cell(subjects, load, workers, path, tls=tls, lead=lead) for workers in concurrency}
        rows = [row for workers, found in cells.items() for row in _rows(workers, found)]
        promises = [line for workers, found in cells.items() for line in _promise(workers, found)]
        rounds = ", ".join(f"{found.rounds} at {workers}" for workers, found in cells.items())
        errors = sorted({f"{who}: {why}" for found in cells.values() for who, why in found.failed.items()})
        header = ("at once · client", "requests/s", "× httpx", "A/A", "p50 ms", "CPU µs/request", "CPU × httpx")
        length = f"segments of {self.segment:.2f} s, at least two requests a worker"
        if lead:
            length = (
                f"segments of 1 s, at least {STEADY_TURNS} requests a worker, each after {lead:.0f} s of the same load"
            )
        notes = [
            f"rounds: {rounds}; {length}; medians; ratio: (middle half); A/A: (nine of ten)",
            *(f"failed: {error}" for error in errors),
        ]
        return "\n\n".join(filter(None, ["\n".join(promises), self.circumstances(notes), table(header, rows)]))

    async def run(self) -> None:
        """Every section asked for, printed and written as soon as it is measured."""
        options = self.options
        if "http" in options.only:
            for tls in [word == "yes" for word in options.tls]:
                for body in options.body:
                    name = f"throughput, async, {'TLS' if tls else 'plain'}, body {body} bytes"
                    subjects = self.wanted(SUBJECTS)
                    text = await self.section(subjects, by_tasks, options.concurrency, body, tls=tls)
                    self.finish(name, text)
        if "threads" in options.only:
            subjects = self.wanted(SYNC_SUBJECTS)
            few = [workers for workers in options.concurrency if workers < SLOW]
            name = "throughput, threads, plain, body 2 bytes"
            self.finish(name, await self.section(subjects, by_threads, few, "2", tls=False))
        if "steady" in options.only:
            subjects = [subject for subject in self.wanted(SUBJECTS) if subject.name in STEADY]
            text = await self.section(subjects, by_tasks, options.concurrency[-1:], "2", tls=False, lead=STEADY_LEAD)
            self.finish("throughput, async, steady, plain, body 2 bytes", text)
        if "idle" in options.only:
            self.finish(idle.NAME, await idle.section(self))

    def finish(self, name: str, text: str) -> None:
        """Show a section and write it."""
        show(f"## {name}\n\n{text}", self.progress.console)
        if not self.options.no_write:
            write_section(name, text)


def _rows(workers: int, found: Comparison) -> list[list[str]]:
    rate, cpu, p50 = found.medians("rate"), found.medians("cpu_us"), found.medians("p50_ms")
    rates, cpus = found.ratios("rate"), found.ratios("cpu_us")
    noise, rows = control(rates.get(CONTROL)), []
    for name in rate:
        if name != CONTROL:
            burnt = f"{cpus[name].median:.2f}" if name in cpus else "1"
            numbers = (
                f"{rate[name]:,.0f}",
                ratio(rates.get(name)),
                noise,
                f"{p50[name]:.2f}",
                f"{cpu[name]:,.0f}",
                burnt,
            )
            rows.append([f"{workers} · {name}", *numbers])
    return sorted(rows, key=lambda row: row[0] != f"{workers} · {BARE}")


def _promise(workers: int, found: Comparison) -> list[str]:
    what, limit = PROMISES.get(workers, ("", 0.0))
    spread = found.ratios("each_us" if what == "time per call" else "rate").get(OURS)
    if not what or spread is None:
        return []
    kept = spread.median <= limit if what == "time per call" else spread.median >= limit
    noise = control(found.ratios("rate").get(CONTROL))
    sign = "≤" if what == "time per call" else "≥"
    promised = f"promised {sign} {limit}: {'kept' if kept else 'NOT KEPT'}"
    return [f"- {workers} at once: {what} **{ratio(spread)} × {BARE}**, A/A {noise}; {promised}"]


def _words(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def main() -> None:
    """Parse, start the server, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="plain 2-byte section only, few rounds: for iterating")
    parser.add_argument("--only", type=_words, help="sections: http, threads, steady, idle; default all, quick http")
    parser.add_argument("--concurrency", type=_numbers, default=[1, 32, 100], help="default 1,32,100")
    parser.add_argument("--body", type=_words, help=f"of {', '.join(server.BODIES)}; default all, quick 2")
    parser.add_argument("--tls", type=_words, help="no, yes; default both, quick no")
    parser.add_argument("--subjects", help="clients, comma-separated, by the start of their names")
    parser.add_argument("--seconds", type=float, help="for each number of workers; default 20, quick 4")
    parser.add_argument("--no-write", action="store_true", help="leave RESULTS.md alone")
    options = parser.parse_args()
    options.only = options.only or (["http"] if options.quick else ["http", "threads", "steady", "idle"])
    options.body = options.body or (["2"] if options.quick else list(server.BODIES))
    options.tls = options.tls or (["no"] if options.quick else ["no", "yes"])
    with server.running() as running, Progress(console=terminal(), transient=True) as progress:
        asyncio.run(Bench(options, running, progress).run())


if __name__ == "__main__":
    main()
