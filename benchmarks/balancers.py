"""Nanoseconds per pick of each balancer, by the number of endpoints, and the time an update of 10,000 takes.

    python benchmarks/balancers.py [--rounds 21] [--write]

Blocks of picks take turns, three endpoints next to 10,000. The endpoints are asked as the client asks them
(`Endpoint.ready`), all are ready, and nothing is in flight. An update replaces one endpoint of 10,000.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from itertools import cycle, repeat
from typing import TYPE_CHECKING, Any

from measure import compare
from resilience.balancing.least_request import LeastRequest
from resilience.balancing.peak_ewma import PeakEwma
from resilience.balancing.random import Random
from resilience.balancing.rendezvous import Rendezvous
from resilience.balancing.round_robin import RoundRobin
from resilience.core.call import Call
from resilience.core.endpoint import Address, Endpoint
from resilience.core.outcome import GOOD
from resilience.runtimes.virtual import VirtualRuntime
from results import circumstances, ratio, show, table, terminal, write_section

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

BALANCERS: dict[str, tuple[Callable[[], Any], tuple[float, ...]]] = {
    "RoundRobin": (RoundRobin, (1.0,)),
    "RoundRobin, weighted": (RoundRobin, (1.0, 2.0, 5.0)),
    "Random": (Random, (1.0,)),
    "LeastRequest": (LeastRequest, (1.0,)),
    "PeakEwma": (PeakEwma, (1.0,)),
    "Rendezvous, 100 keys": (Rendezvous, (1.0,)),
}
SIZES = (3, 10, 10_000)
PICKS = 4_000
KEYS = [f"user-{number}" for number in range(100)]
CALLS: list[Call] = []


class Keyed(Call):
    """A call that is pinned by a key."""

    __slots__ = ("key",)


for _key in KEYS:
    _call = Keyed(VirtualRuntime(), None, 1.0)
    _call.key = _key
    CALLS.append(_call)


def ready(endpoint: Endpoint) -> bool:
    """Ask as the client does."""
    return endpoint.ready(1.0)


def endpoints(count: int, weights: tuple[float, ...]) -> list[Endpoint]:
    """Make as many endpoints, with the weights in turn."""
    pairs = zip(range(count), cycle(weights), strict=False)
    return [Endpoint(Address(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 80), weight=weight) for n, weight in pairs]


def subject(make: Callable[[], Any], known: list[Endpoint]) -> Callable[[], Awaitable[dict[str, float]]]:
    """Return a block of picks of one balancer over one set."""
    balancer = make()
    balancer.update(known)
    if isinstance(balancer, PeakEwma):
        for number, endpoint in enumerate(known):
            balancer.observe(endpoint, 0.01 + number % 7 / 1000, GOOD, 1.0)
    for call in CALLS:  # the keys' rankings are remembered; the first of each key is not what is measured
        balancer.pick(call, ready)

    async def block() -> dict[str, float]:
        pick, calls = balancer.pick, cycle(CALLS)
        start = time.perf_counter_ns()
        for _ in repeat(None, PICKS):
            pick(next(calls), ready)
        return {"ns": (time.perf_counter_ns() - start) / PICKS}

    return block


def update_seconds(make: Callable[[], Any], weights: tuple[float, ...]) -> float:
    """Median seconds of an update that replaces one of 10,000."""
    known = endpoints(10_001, weights)
    balancer = make()
    balancer.update(known[:-1])
    taken = []
    for turn in range(7):
        start = time.perf_counter()
        balancer.update(known[1:] if turn % 2 == 0 else known[:-1])
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


async def measure(rounds: int) -> list[tuple[str, ...]]:
    """Measure balancer after balancer; sizes take turns."""
    rows = []
    for name, (make, weights) in BALANCERS.items():
        subjects = {str(size): subject(make, endpoints(size, weights)) for size in SIZES}
        found = await compare(subjects, str(SIZES[0]), seconds=120.0, least=rounds, most=rounds)
        medians, ratios = found.medians("ns"), found.ratios("ns")
        update = f"{update_seconds(make, weights) * 1e3:.1f}"
        rows.append((name, *(f"{medians[str(size)]:.0f}" for size in SIZES), ratio(ratios[str(SIZES[-1])]), update))
    return rows


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    options = parser.parse_args()
    rows = asyncio.run(measure(options.rounds))
    header = ("balancer", *(f"ns at {size:,}" for size in SIZES), "10,000 ÷ 3", "update of 10,000, ms")
    notes = [f"{options.rounds} rounds of blocks of {PICKS:,} picks, medians; ratio: (middle half)"]
    body = "\n\n".join([circumstances((), notes), table(header, rows)])
    show(body, terminal())
    if options.write:
        write_section("balancers", body)


if __name__ == "__main__":
    main()
