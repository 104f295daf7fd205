"""What each balancer makes of a bad day, on virtual time: no servers, no sleeping, the same numbers on every machine.

    python benchmarks/simulate_balancers.py [--seeds 5] [--scenario stuck] [--write]

Calls arrive at random (Poisson), are given to a balancer, and take the time their replica needs. The balancers see what
they see in the client: in-flight counts, settled attempts, endpoints already tried. There are no circuits, no ejection
and no budget here, so that a balancer shows what it does by itself.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from resilience.balancing.least_request import LeastRequest
from resilience.balancing.peak_ewma import PeakEwma
from resilience.balancing.random import Random
from resilience.balancing.round_robin import RoundRobin
from resilience.core.call import Call
from resilience.core.endpoint import Address, Endpoint
from resilience.core.outcome import BAD, GOOD
from resilience.runtimes.virtual import VirtualRuntime
from results import circumstances, show, table, terminal, write_section

if TYPE_CHECKING:
    from collections.abc import Callable

BALANCERS: dict[str, Callable[[], Any]] = {
    "RoundRobin": RoundRobin,
    "Random": Random,
    "LeastRequest": LeastRequest,
    "PeakEwma": PeakEwma,
}
Behaviour: TypeAlias = "Callable[[int, float, random.Random], tuple[float, bool]]"
"""Of replica number n at an instant: seconds a call takes there, and whether its answer is good."""
Client: TypeAlias = "tuple[Any, dict[Endpoint, int]]"
"""A balancer, and the number of the replica behind each of its endpoints."""
End: TypeAlias = "Callable[..., None]"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A service and its load. Seconds; `rate` is calls per second of all clients together."""

    title: str
    replicas: int
    behaviour: Behaviour
    rate: float = 1000.0
    seconds: float = 20.0
    objective: float = 1.0
    attempt_timeout: float = math.inf
    attempts: int = 1
    workers: int | None = None
    """Calls a replica works on at once, the others queue; None: any number."""
    clients: int = 1
    counted_from: float = 0.0


def noisy(seconds: float, draw: random.Random) -> float:
    """Spread a time log-normally (sigma 0.3: the 99th percentile at twice the median)."""
    return seconds * draw.lognormvariate(0.0, 0.3)


def one_stuck(replica: int, now: float, draw: random.Random) -> tuple[float, bool]:
    """20 ms; the first replica takes 2 s from 5 to 15 s (Buoyant's benchmark of 2016)."""
    return (2.0 if replica == 0 and 5.0 <= now < 15.0 else noisy(0.02, draw)), True


def three_refuse(replica: int, _now: float, draw: random.Random) -> tuple[float, bool]:
    """20 ms; three replicas answer 503 after one."""
    return (0.001, False) if replica < 3 else (noisy(0.02, draw), True)


def one_slow(replica: int, _now: float, draw: random.Random) -> tuple[float, bool]:
    """10 ms; the first replica 20 times as long."""
    return noisy(0.2 if replica == 0 else 0.01, draw), True


def antagonists(replica: int, now: float, draw: random.Random) -> tuple[float, bool]:
    """15 to 25 ms by replica; every 2 s other three of ten run at half speed."""
    slowed = (replica - 3 * int(now / 2.0)) % 10 < 3
    return noisy((0.015 + replica * 0.0011) * (2.0 if slowed else 1.0), draw), True


SCENARIOS = {
    "stuck": Scenario("11 replicas at 20 ms, one stuck at 2 s for the middle half; one send a call", 11, one_stuck),
    "stuck-retried": Scenario(
        "the same, `attempt_timeout=0.3`, 3 attempts", 11, one_stuck, attempt_timeout=0.3, attempts=3
    ),
    "stuck-quiet": Scenario("the same at 150 calls/s, one send a call", 11, one_stuck, rate=150.0),
    "refusing": Scenario(
        "3 of 10 answer 503 at once; 3 attempts; counted from 2 s on", 10, three_refuse,
        rate=300.0, attempts=3, counted_from=2.0,
    ),
    "slow": Scenario("one of three 20 times slower; counted from 1 s on", 3, one_slow, rate=200.0, counted_from=1.0),
    "unequal": Scenario(
        "ten unequal replicas of 8 workers, moving antagonists, 5 clients, load 0.95", 10, antagonists,
        rate=0.95 * 3000.0, workers=8, clients=5, objective=math.inf, counted_from=1.0,
    ),
}  # fmt: skip


class Trying(Call):
    """A call that remembers where it has been."""

    __slots__ = ("tried",)


@dataclass(slots=True)
class Replica:
    """A server: how many calls it works on, and those that queue."""

    busy: int = 0
    queue: deque[Callable[[float], None]] = field(default_factory=deque)


@dataclass(slots=True)
class Result:
    """What became of the calls that were counted."""

    calls: int = 0
    sends: int = 0
    latencies: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Milliseconds that this share of the good calls stayed below."""
        self.latencies.sort()
        return self.latencies[int(len(self.latencies) * share)] * 1e3


class Simulation:
    """One run: a heap of what happens next."""

    def __init__(self, scenario: Scenario, make: Callable[[], Any], seed: int, result: Result) -> None:
        self.scenario = scenario
        self.result = result
        self.draw = random.Random(seed)
        self.runtime = VirtualRuntime()
        self.replicas = [Replica() for _ in range(scenario.replicas)]
        self.clients = []
        for _ in range(scenario.clients):
            known = [Endpoint(Address(f"10.0.0.{number}", 80)) for number in range(scenario.replicas)]
            balancer = make().fresh(draw=self.draw.random)
            balancer.update(known)
            self.clients.append((balancer, {endpoint: number for number, endpoint in enumerate(known)}))
        self.next: list[tuple[float, int, Callable[[float], None]]] = []
        self.count = 0

    def at(self, when: float, what: Callable[[float], None]) -> None:
        """Let something happen."""
        self.count += 1
        heapq.heappush(self.next, (when, self.count, what))

    def run(self) -> None:
        """Let everything happen."""
        self.at(0.0, self.arrive)
        while self.next:
            when, _, what = heapq.heappop(self.next)
            what(when)

    def arrive(self, now: float) -> None:
        """One call comes, and the next is on its way."""
        call = Trying(self.runtime, None, now)
        call.tried = ()
        self.result.calls += now >= self.scenario.counted_from
        self.send(now, call, self.draw.choice(self.clients))
        later = now + self.draw.expovariate(self.scenario.rate)
        if later < self.scenario.seconds:
            self.at(later, self.arrive)

    def send(self, now: float, call: Trying, client: Client) -> None:
        """Send one attempt; it ends by an answer or by its limit, whichever comes first."""
        scenario = self.scenario
        balancer, numbers = client
        endpoint = balancer.pick(call, lambda _: True)
        endpoint.slots.taken += 1
        call.tried += (endpoint,)
        self.result.sends += call.started >= scenario.counted_from
        ended: list[float] = []

        def end(when: float, *, good: bool) -> None:
            if ended:
                return
            ended.append(when)
            endpoint.slots.taken -= 1
            if hasattr(balancer, "observe"):
                balancer.observe(endpoint, when - now, GOOD if good else BAD, when)
            self.settle(when, call, client, good=good)

        limit = min(now + scenario.attempt_timeout, call.started + scenario.objective)
        if limit < math.inf:
            self.at(limit, lambda when: end(when, good=False))
        self.serve(now, numbers[endpoint], end)

    def settle(self, now: float, call: Trying, client: Client, *, good: bool) -> None:
        """Count a good answer; send a failed call once more, while attempts and time are left."""
        scenario = self.scenario
        if good:
            if call.started >= scenario.counted_from:
                self.result.latencies.append(now - call.started)
        elif len(call.tried) < scenario.attempts and now < call.started + scenario.objective:
            self.send(now, call, client)

    def serve(self, now: float, number: int, end: End) -> None:
        """Let a replica work on a call, at once or when a worker is free."""
        replica, workers = self.replicas[number], self.scenario.workers

        def work(when: float) -> None:
            seconds, good = self.scenario.behaviour(number, when, self.draw)
            self.at(when + seconds, lambda then: done(then, good=good))

        def done(when: float, *, good: bool) -> None:
            end(when, good=good)
            if replica.queue:
                replica.queue.popleft()(when)
            else:
                replica.busy -= 1

        if workers is None or replica.busy < workers:
            replica.busy += 1
            work(now)
        else:
            replica.queue.append(work)


def report(scenario: Scenario, seeds: int) -> str:
    """Run one scenario with every balancer and lay out what came of it."""
    rows = []
    for name, make in BALANCERS.items():
        result = Result()
        for seed in range(seeds):
            Simulation(scenario, make, seed, result).run()
        rows.append((
            name,
            f"{len(result.latencies) / result.calls:.3%}",
            f"{result.sends / result.calls:.4f}",
            f"{result.percentile(0.5):.1f}",
            f"{result.percentile(0.99):.1f}",
            f"{result.percentile(0.999):.1f}",
        ))  # fmt: skip
    header = ("balancer", f"good within {scenario.objective:g} s", "sends per call", "p50 ms", "p99 ms", "p99.9 ms")
    return f"**{scenario.title}** ({scenario.rate:g} calls/s)\n\n{table(header, rows)}"


def main() -> None:
    """Parse, simulate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="runs of each scenario, added up; default 5")
    parser.add_argument("--scenario", choices=SCENARIOS, action="append", help="default all")
    parser.add_argument("--write", action="store_true", help="put the tables into RESULTS.md")
    options = parser.parse_args()
    tables = [report(SCENARIOS[name], options.seeds) for name in options.scenario or SCENARIOS]
    body = "\n\n".join([circumstances((), [f"{options.seeds} seeds; virtual time"]), *tables])
    show(body, terminal())
    if options.write:
        write_section("balancers, simulated", body)


if __name__ == "__main__":
    main()
