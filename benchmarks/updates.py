"""What a new answer of 10,000 addresses costs: the seconds until it is in force, and what callers feel of it.

    python benchmarks/updates.py [--rounds 15] [--write]

The whole way is measured, from a resolver's answer to endpoints with circuits that take calls (`Roster.adopt` of a
service under its defaults), on a thread of its own, as in the background. Meanwhile an event loop on the main thread
ticks every half millisecond: its worst lateness is what callers feel. The same loop with an idle thread is the control.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import threading
import time
import timeit
from functools import partial
from typing import TYPE_CHECKING, Any

import resilience
from resilience.core.endpoint import Address
from resilience.core.resolution import Replica, Resolution, Target
from resilience.http.listening import Listeners
from resilience.http.upstream import Upstream
from resilience.runtimes.anyio import ANYIO
from results import circumstances, show, table, terminal, write_section

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 10_000
TICK = 0.0005
SUBJECTS: dict[str, Callable[[], dict[str, Any]]] = {
    "RoundRobin": dict,
    "RoundRobin, weighted": dict,
    "PeakEwma": lambda: {"balancer": resilience.PeakEwma()},
    "Rendezvous": lambda: {"balancer": resilience.Rendezvous(header="x-user")},
    "RoundRobin, ejection, slow start": lambda: {"ejection": resilience.OutlierEjection(), "slow_start": 30.0},
}
STEPS = {
    "one": "one replaced",
    "tenth": "a tenth replaced",
    "first": "the first answer",
    "all": "all replaced",
    "same": "the same again",
    "control": "control: nothing for 30 ms",
}
WEIGHTS = (1.0, 2.0, 5.0)


class _Lease:
    """A background that runs nothing: sweeps are not what is measured."""

    def every(self, *_: object, **__: object) -> _Lease:
        return self

    def submit(self, *_: object, **__: object) -> _Lease:
        return self

    def cancel(self) -> None:
        return

    hurry = cancel


class _Exchange:
    ssl_context = object()

    async def send(self, *_: object) -> None:
        return


def answer(numbers: range, weights: tuple[float, ...] = (1.0,)) -> Resolution:
    """Return an answer as a resolver makes it: nothing of it is shared with the one before."""
    replicas = tuple(
        Replica(Address(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 8080), weights[n % len(weights)]) for n in numbers
    )
    return Resolution(replicas, 30.0, "dns", fleet=True, why="told so")


def upstream(options: dict[str, Any]) -> Upstream:
    """Return a service under its defaults, before its first answer."""
    service = resilience.Service(discovery=resilience.Dns(), **options)
    lease: Any = _Lease()
    return Upstream(Target("web.internal", 8080), service, None, lambda: lease, _Exchange(), Listeners(()), ANYIO)


async def beside(work: Callable[[], None]) -> tuple[float, float, float]:
    """Run `work` on a thread; return its seconds, those of its CPU, and by how many the loop was late at worst."""
    taken: list[float] = []
    done = threading.Event()

    def run() -> None:
        time.sleep(0.005)
        start, cpu = time.perf_counter(), time.thread_time()
        work()
        taken.extend((time.perf_counter() - start, time.thread_time() - cpu))
        time.sleep(0.002)
        done.set()

    thread = threading.Thread(target=run)
    thread.start()
    worst = 0.0
    while not done.is_set():
        before = time.perf_counter()
        await asyncio.sleep(TICK)
        worst = max(worst, time.perf_counter() - before - TICK)
    thread.join()
    return taken[0], taken[1], worst


async def measure(rounds: int) -> list[tuple[str, ...]]:
    """Measure subject after subject; the kinds of update take turns."""
    rows = []
    for name, options in SUBJECTS.items():
        weights = WEIGHTS if name.endswith("weighted") else (1.0,)
        found: dict[str, list[tuple[float, float, float]]] = {}
        for _ in range(rounds):
            subject = upstream(options())
            answers = {
                "first": range(SIZE),
                "one": range(1, SIZE + 1),
                "tenth": range(SIZE // 10, SIZE + SIZE // 10),
                "all": range(2 * SIZE, 3 * SIZE),
                "same": range(2 * SIZE, 3 * SIZE),
            }
            for step, numbers in answers.items():
                resolution = answer(numbers, weights)
                gc.collect()
                found.setdefault(step, []).append(await beside(partial(subject.roster.adopt, resolution)))
            found.setdefault("control", []).append(await beside(partial(time.sleep, 0.03)))
        rows += [(name, title, *_cells(found[step])) for step, title in STEPS.items()]
    return rows


def _cells(found: list[tuple[float, float, float]]) -> tuple[str, ...]:
    return tuple(f"{statistics.median(values) * 1e3:.1f}" for values in zip(*found, strict=True))


def bare() -> float:
    """Return the nanoseconds of calling a function that does nothing: what all the numbers here go up and down with."""
    return statistics.median(timeit.repeat(lambda: None, number=100_000, repeat=9)) / 100_000 * 1e9


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    options = parser.parse_args()
    speed = [bare()]
    rows = asyncio.run(measure(options.rounds))
    speed.append(bare())
    header = ("balancer", "what", "ms", "of them CPU", "loop late, ms")
    notes = [
        f"{SIZE:,} addresses; {options.rounds} rounds, medians",
        f"how fast the machine was: a bare call took {speed[0]:.0f} ns before and {speed[1]:.0f} ns after",
    ]
    body = "\n\n".join([circumstances((), notes), table(header, rows)])
    show(body, terminal())
    if options.write:
        write_section("updates", body)


if __name__ == "__main__":
    main()
