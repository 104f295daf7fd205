"""Every balancer through the same bad days, with real servers: what the default is chosen by.

    python benchmarks/balancing_lab.py [--scenario stuck] [--rounds 5] [--write]

Each replica is a process on an address of its own; several clients share the load, as several processes would, and
know nothing of each other. Balancers take turns round by round; latency counts from when a call was due. A round in
which the generator itself was late (99th percentile above 5 ms) says more about the machine; it is run again, at most
twice, and counted.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import random
import ssl
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

import resilience
from hot_cold import HotCold
from resilience.lab import Fleet, Report, run_load
from results import circumstances, show, table, terminal, write_section

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LATEST = 0.005
"""Seconds of lag, at the 99th percentile, beyond which a round is run again."""
CONTEXT = ssl.create_default_context()


def _balancer(make: Callable[[], Any], **more: Any) -> Callable[[], dict[str, Any]]:  # noqa: ANN401
    return lambda: {"balancer": make(), **more}


SUBJECTS: dict[str, Callable[[], dict[str, Any]]] = {
    "RoundRobin": _balancer(resilience.RoundRobin),
    "RoundRobin, ejection": _balancer(resilience.RoundRobin, ejection=resilience.OutlierEjection(interval=2.0)),
    "Random": _balancer(resilience.Random),
    "LeastRequest": _balancer(resilience.LeastRequest),
    "PeakEwma": _balancer(resilience.PeakEwma),
    "Prequal's rule": _balancer(HotCold),
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """A service, its load, and what happens to it. Seconds; `rate` is calls per second of all clients together."""

    title: str
    replicas: int
    story: Callable[[Fleet, float], Awaitable[None]]
    rate: Callable[[float], float] | float
    seconds: float
    service: dict[str, Any] = field(default_factory=dict)
    servers: dict[str, Any] = field(default_factory=dict)
    objective: float = 1.0
    counted_from: float = 0.0
    clients: int = 2


async def stuck(fleet: Fleet, seconds: float) -> None:
    """Let one replica take 2 s for the middle half."""
    await anyio.sleep(seconds / 4)
    await anyio.to_thread.run_sync(partial(fleet[0].fault, delay=2.0))
    await anyio.sleep(seconds / 2)
    await anyio.to_thread.run_sync(partial(fleet[0].fault))


async def refusing(fleet: Fleet, _seconds: float) -> None:
    """Let three replicas answer 503 from the beginning."""
    for server in fleet.servers[:3]:
        await anyio.to_thread.run_sync(partial(server.fault, status=503))


async def slow(fleet: Fleet, _seconds: float) -> None:
    """Let the first take 20 times as long."""
    await anyio.to_thread.run_sync(partial(fleet[0].fault, delay=0.19))


BASE = (0.030, 0.032, 0.034, 0.036, 0.038, 0.042, 0.044, 0.046, 0.048, 0.050)
"""Seconds a call takes at each of ten unequal replicas."""
STEP = 1.5
"""Seconds after which the antagonists move on."""


async def antagonists(fleet: Fleet, seconds: float) -> None:
    """Let three of ten run at half speed, every 1.5 s other three."""
    for turn in range(int(seconds / STEP) + 1):
        for number, server in enumerate(fleet):
            slowed = (number - 3 * turn) % 10 < 3
            delay = BASE[number] * (2.0 if slowed else 1.0)
            await anyio.to_thread.run_sync(partial(server.fault, delay=delay))  # it waits for the server to obey
        await anyio.sleep(STEP)


WORKERS = 2
CAPACITY = WORKERS * sum(1 / seconds for seconds in BASE) * 0.85
"""Calls per second that the ten answer in all, three of them at half speed."""


def ramp(at: float) -> float:
    """Rise from 0.75 of the capacity to 1.03 in four steps, in shares of the time."""
    return CAPACITY * (0.75, 0.85, 0.95, 1.03)[min(3, int(at * 4))]


SCENARIOS = {
    "stuck": Scenario(
        "11 replicas at 20 ms, one stuck at 2 s for the middle half; 1 s objective, `attempt_timeout=0.3`",
        11, stuck, 250.0, 12.0, {"total_timeout": 1.0, "attempt_timeout": 0.3}, {"service_time": 0.02},
    ),
    "stuck-once": Scenario(
        "the same with `retry=None, circuit=None`: what the balancer does by itself",
        11, stuck, 250.0, 12.0, {"total_timeout": 1.0, "retry": None, "circuit": None}, {"service_time": 0.02},
    ),
    "refusing": Scenario(
        "3 of 10 answer 503; counted from 2 s on",
        10, refusing, 250.0, 10.0, {}, {"service_time": 0.02}, counted_from=2.0,
    ),
    "slow": Scenario(
        "one of three 20 times slower (10 ms, 200 ms); counted from 1 s on",
        3, slow, 200.0, 8.0, {}, {"service_time": 0.01}, counted_from=1.0,
    ),
    "unequal": Scenario(
        "ten unequal replicas of 2 workers, moving antagonists, load rising from 0.75 to 1.03 of the capacity",
        10, antagonists, ramp, 12.0, {}, {"workers": WORKERS}, objective=5.0, counted_from=1.0,
    ),
}  # fmt: skip


@dataclass(slots=True)
class Tally:
    """What became of the counted calls of all rounds of one subject."""

    calls: int = 0
    good: int = 0
    sends: int = 0
    latencies: list[float] = field(default_factory=list)
    late: int = 0
    """Rounds in which the generator was late."""

    def percentile(self, share: float) -> float:
        """Milliseconds that this share of the calls stayed below."""
        self.latencies.sort()
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * share))] * 1e3


async def play(scenario: Scenario, subject: dict[str, Any]) -> tuple[Report, int, int]:
    """Run one round; return the report, the sends received in the counted part, and the calls made in it."""
    sends = calls = 0
    with Fleet(scenario.replicas, **scenario.servers) as fleet:
        service = resilience.Service(discovery=resilience.Static(fleet.addresses), **scenario.service, **subject)
        async with contextlib.AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(
                    resilience.AsyncClient(services={"web": service}, verify=CONTEXT, trust_env=False)
                )
                for _ in range(scenario.clients)
            ]
            draw = random.Random(1)
            started = anyio.current_time()

            async def call(_number: int) -> None:
                nonlocal sends, calls
                counted = anyio.current_time() - started >= scenario.counted_from
                calls += counted
                error: Any = None
                try:
                    response: Any = await draw.choice(clients).get("http://web/")
                    response.raise_for_status()
                except Exception as raised:
                    error = response = raised
                    raise
                finally:
                    if counted:
                        record = getattr(response, "extensions", {}).get("resilience")
                        sends += len(getattr(error, "attempts", ()) if record is None else record.attempts)

            await call(0)  # connect once, in peace
            sends, calls = 0, 0
            started = anyio.current_time()
            async with anyio.create_task_group() as group:
                group.start_soon(scenario.story, fleet, scenario.seconds)
                report = await _load(scenario, call)
                group.cancel_scope.cancel()
    return report, sends, calls


async def _load(scenario: Scenario, call: Callable[[int], Awaitable[None]]) -> Report:
    if not callable(scenario.rate):
        return await run_load(call, rate=scenario.rate, seconds=scenario.seconds)
    samples: list[Any] = []
    steps = 4
    async with anyio.create_task_group() as group:

        async def step(number: int) -> None:
            await anyio.sleep(number * scenario.seconds / steps)
            rate = scenario.rate(number / steps)  # type: ignore[operator]
            report = await run_load(call, rate=rate, seconds=scenario.seconds / steps)
            offset = number * scenario.seconds / steps
            samples.extend(replace(sample, scheduled=sample.scheduled + offset) for sample in report.samples)

        for number in range(steps):
            group.start_soon(step, number)
    return Report(0.0, scenario.seconds, tuple(sorted(samples)))


async def report(scenario: Scenario, rounds: int, subjects: list[str]) -> str:
    """Run one scenario with every subject in turn and lay out what came of it."""
    tallies = {name: Tally() for name in subjects}
    for number in range(rounds):
        for name in subjects if number % 2 == 0 else reversed(subjects):
            tally = tallies[name]
            for again in range(3):
                gc.collect()
                found, sends, calls = await play(scenario, SUBJECTS[name]())
                if found.lag_p99 <= LATEST:
                    break
                tally.late += 1
                if again == 2:
                    print(f"{name}: the generator was late three times, p99 {found.lag_p99 * 1e3:.0f} ms")
            counted = found.between(since=scenario.counted_from)
            tally.calls += len(counted.samples)
            tally.good += sum(sample.ok and sample.latency <= scenario.objective for sample in counted.samples)
            tally.latencies += [sample.latency for sample in counted.samples]
            tally.sends += round(sends / max(calls, 1) * len(counted.samples))
            print(f"  {scenario.title[:30]} {name}: {len(counted.failed)} failed of {len(counted.samples)}", flush=True)
    rows = [
        (
            name,
            f"{tally.good / tally.calls:.3%}",
            f"{tally.calls - tally.good} of {tally.calls}",
            f"{tally.sends / tally.calls:.3f}",
            *(f"{tally.percentile(share):.0f}" for share in (0.5, 0.99, 0.999)),
            str(tally.late),
        )
        for name, tally in tallies.items()
    ]
    header = ("balancer", "good in time", "not", "sends per call", "p50 ms", "p99 ms", "p99.9 ms", "late rounds")
    rate = f"{CAPACITY * 0.75:.0f}–{CAPACITY * 1.03:.0f}" if callable(scenario.rate) else f"{scenario.rate:g}"
    title = f"{scenario.title} ({rate} calls/s, {scenario.seconds:g} s, within {scenario.objective:g} s)"
    return f"**{title}**\n\n{table(header, rows)}"


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scenario", choices=SCENARIOS, action="append", help="default all")
    parser.add_argument("--subject", choices=SUBJECTS, action="append", help="default all")
    parser.add_argument("--write", action="store_true", help="put the tables into RESULTS.md")
    options = parser.parse_args()
    with contextlib.suppress(OSError):
        os.nice(-10)  # where root may: the generator's lag is not what is measured
    subjects = options.subject or list(SUBJECTS)
    parts = [anyio.run(report, SCENARIOS[name], options.rounds, subjects) for name in options.scenario or SCENARIOS]
    notes = [f"{options.rounds} rounds each, added up; replicas are processes on loopback; 2 clients share the load"]
    body = "\n\n".join([circumstances((), notes), *parts])
    show(body, terminal())
    if options.write:
        write_section("balancers, real servers", body)


if __name__ == "__main__":
    main()
