"""Closed-loop load: some workers, each sending its next request when its last one is answered.

Before each segment a burst of as many requests as there are workers is sent to the server's barrier, which answers
none before all have arrived: every client then has exactly so many connections open, as any server that takes time to
answer would bring about. After it all start together and share a fixed number of requests; the clock stops at the
last answer.

A window in the middle would look cleaner and is not: workers of one event loop fall into step, answers come in bursts
of as many as there are workers, and a window catches one burst more or less.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clients import Get, SyncGet

BARRIER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Work:
    """What is asked for, by how many workers, and the barrier they meet at first."""

    url: str
    barrier: str
    workers: int
    lead: float = 0.0
    """Seconds of the same load before the clock starts, without a pause in between; async only."""


Load = Callable[[Any, Work, int], Awaitable[dict[str, float]]]
"""A client's get, the work, how many measured calls → what was measured."""


def _values(seconds: float, cpu: float, latencies: list[float]) -> dict[str, float]:
    """Give requests per second and the inverse, ms at the median, CPU microseconds of this process a request."""
    calls = len(latencies)
    return {
        "rate": calls / seconds,
        "each_us": seconds / calls * 1e6,
        "p50_ms": statistics.median(latencies) * 1e3,
        "cpu_us": cpu / calls * 1e6,
    }


async def burst(get: Get, url: str, count: int) -> None:
    """Send so many requests to the barrier at once, and wait for all."""

    async def one() -> None:
        await get(url)

    async with asyncio.timeout(BARRIER_SECONDS), asyncio.TaskGroup() as tasks:
        for _ in range(count):
            tasks.create_task(one())


async def by_tasks(get: Get, work: Work, calls: int) -> dict[str, float]:
    """Load an async client by tasks on the running loop."""
    latencies: list[float] = []
    url, tickets, clocks = work.url, iter(range(calls)), list[tuple[float, float]]()

    async def worker(until: float) -> None:
        while time.perf_counter() < until:
            await get(url)
        if not clocks:
            clocks.append((time.perf_counter(), time.process_time()))
        for _ in tickets:
            started = time.perf_counter()
            await get(url)
            latencies.append(time.perf_counter() - started)

    await burst(get, work.barrier, work.workers)
    async with asyncio.TaskGroup() as tasks:
        until = time.perf_counter() + work.lead
        for _ in range(work.workers):
            tasks.create_task(worker(until))
    opened, cpu = clocks[0]
    return _values(time.perf_counter() - opened, time.process_time() - cpu, latencies)


async def by_threads(get: SyncGet, work: Work, calls: int) -> dict[str, float]:
    """Load a blocking client by threads (the loop stands still meanwhile); raise the first error of any."""
    latencies: list[float] = []
    errors: list[Exception] = []
    tickets = itertools.count()
    warm = threading.Barrier(work.workers + 1, timeout=BARRIER_SECONDS)

    def worker() -> None:
        try:
            get(work.barrier)
            warm.wait()
            while next(tickets) < calls:
                started = time.perf_counter()
                get(work.url)
                latencies.append(time.perf_counter() - started)
        except Exception as error:  # noqa: BLE001 - handed to the caller below
            errors.append(error)
            warm.abort()

    threads = [threading.Thread(target=worker, daemon=True) for _ in range(work.workers)]
    for thread in threads:
        thread.start()
    cpu = opened = 0.0
    try:
        warm.wait()
        cpu, opened = time.process_time(), time.perf_counter()
    except threading.BrokenBarrierError:
        pass  # a worker's error, raised below
    for thread in threads:
        thread.join()
    if errors:
        raise next((error for error in errors if not isinstance(error, threading.BrokenBarrierError)), errors[0])
    return _values(time.perf_counter() - opened, time.process_time() - cpu, latencies)
