"""What the policies without a peer cost: added to a call, to be refused by an open circuit, and below three tiers.

    python benchmarks/policies.py [--quick] [--no-write]

Blocks of calls take turns with blocks of the bare call, as in overhead.py. The tiers are three applications behind the
middleware, each calling the next through a client with three attempts; what is counted needs no clock.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
import time
from itertools import repeat
from typing import TYPE_CHECKING, Any

import httpx

import resilience
from measure import CONTROL, compare
from resilience.server import DeadlineMiddleware
from results import circumstances, control, show, table, terminal, write_section

if TYPE_CHECKING:
    from collections.abc import Callable

BARE = "bare call"
BLOCK = 0.003
TARGET = 2.0
"""Microseconds in which an open circuit refuses by ``outcome()``, at most."""
TIERS_TARGET = 1.33
"""Calls at the bottom for each at the top, at most; without any of this there are 27."""
CALLS = 1000


def noop() -> int:
    """Return a constant."""
    return 1


async def anoop() -> int:
    """Return a constant."""
    return 1


def policies() -> dict[str, resilience.Policy]:
    """Return one of each policy that no peer has."""
    os.environ["RESILIENCE_CHAOS"] = "1"
    far = 60.0
    return {
        "hedge": resilience.Hedge(after=far),
        "fallback": resilience.Fallback(0),
        "fallback, last good": resilience.Fallback(0, last_good=far),
        "guard (a check)": resilience.Guard(check=bool),
        "single flight": resilience.SingleFlight(),
        "rate limit": resilience.RateLimit(1e6, burst=1_000_000),
        "throttle": resilience.Throttle(),
        "adaptive limit": resilience.AdaptiveLimit(),
        "bulkhead, with priorities": resilience.Bulkhead(100, queue=100, priority=lambda: 0.0),
        "circuit, slow calls": resilience.CircuitBreaker(slow_after=far),
        "circuit, slow start": resilience.CircuitBreaker(slow_start=far),
        "circuit, by key": resilience.KeyedCircuitBreaker(lambda: "key"),
        "chaos that never strikes": resilience.Chaos(1e-12, fault=ConnectionError),
    }


async def block(fn: Callable[[], Any], calls: int, mode: str) -> dict[str, float]:
    """Nanoseconds per call over one block."""
    start = time.perf_counter_ns()
    if mode == "sync":
        for _ in repeat(None, calls):
            fn()
    else:
        for _ in repeat(None, calls):
            await fn()
    return {"ns": (time.perf_counter_ns() - start) / calls}


async def section(mode: str, guarded: dict[str, Callable[[], Any]], seconds: float) -> str:
    """One table: a row for each, with what it adds to the bare call."""
    bare = noop if mode == "sync" else anoop
    subjects = {BARE: bare, CONTROL: bare, **guarded}
    turns = {}
    for name, fn in subjects.items():
        await block(fn, 200, mode)
        per_call = (await block(fn, 200, mode))["ns"]
        turns[name] = functools.partial(block, fn, max(20, int(BLOCK * 1e9 / per_call)), mode)
    found = await compare(turns, BARE, seconds=seconds, least=5, most=200)
    medians, spreads = found.medians("ns"), found.ratios("ns")
    rows = [
        [name, f"{ns:,.0f}", f"{ns - medians[BARE]:,.0f}", control(spreads.get(name)) if name == CONTROL else ""]
        for name, ns in medians.items()
    ]
    return table((f"{mode}", "ns a call", "added", "A/A"), rows)


async def refusals(seconds: float) -> str:
    """Compare what it costs to be refused by an open circuit, by each way of asking."""
    breaker = resilience.CircuitBreaker(name="db", open_for=1e6, max_open_for=1e6)
    pipeline = resilience.Pipeline(breaker, resilience.Retry(3))
    breaker.open()
    decorated = breaker(noop)

    def raised(call: Callable[[], Any]) -> None:
        try:
            call()
        except resilience.CircuitOpenError:
            return

    ways: dict[str, Callable[[], Any]] = {
        "breaker.outcome(fn)": functools.partial(breaker.outcome, noop),
        "pipeline.outcome(fn)": functools.partial(pipeline.outcome, noop),
        "the decorated function, caught": functools.partial(raised, decorated),
        "breaker.call(fn), caught": functools.partial(raised, functools.partial(breaker.call, noop)),
    }
    turns = {name: functools.partial(block, fn, 1000, "sync") for name, fn in {BARE: noop, **ways}.items()}
    found = await compare(turns, BARE, seconds=seconds, least=5, most=100)
    medians = found.medians("ns")
    told = medians["breaker.outcome(fn)"] / 1000
    kept = "kept" if told <= TARGET else "NOT KEPT"
    head = f"- an open circuit refuses by `outcome()` in **{told:.2f} µs**; promised ≤ {TARGET:g}: {kept}"
    return head + "\n\n" + table(("refused by", "µs"), [[name, f"{ns / 1000:.2f}"] for name, ns in medians.items()])


class Tiers:
    """Three tiers of three attempts each, in front of something dead; `asked` counts what that was asked."""

    def __init__(self, *, marked: bool, budget: bool) -> None:
        self.asked = 0
        self._budget = resilience.RetryBudget() if budget else None
        below: Any = self._dead
        for _ in range(2):
            below = self._tier(below)
            below = DeadlineMiddleware(below) if marked else below
        self.client = self._client(below)

    async def _dead(self, _scope: Any, _receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
        self.asked += 1
        await _answer(send, 503)

    def _client(self, below: Any) -> resilience.AsyncClient:  # noqa: ANN401
        retry = resilience.Retry(3, wait=0.0)
        service = resilience.Service(retry=retry, budget=self._budget, circuit=None)
        return resilience.AsyncClient(transport=httpx.ASGITransport(below), defaults=service)

    def _tier(self, below: Any) -> Any:  # noqa: ANN401
        client = self._client(below)

        async def app(_scope: Any, _receive: Any, send: Any) -> None:  # noqa: ANN401
            await _answer(send, (await client.get("http://below.test/")).status_code)

        return app


async def _answer(send: Any, status: int) -> None:  # noqa: ANN401
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def amplification(calls: int) -> str:
    """How often the last tier's dead backend is asked for each call at the top."""
    rows = []
    for name, marked, budget in (
        ("neither budget nor marks", False, False),
        ("budgets", False, True),
        ("budgets, and answers marked as final", True, True),
    ):
        tiers = Tiers(marked=marked, budget=budget)
        for _ in range(calls):
            await tiers.client.get("http://top.test/")
        rows.append([name, f"{tiers.asked / calls:.2f}"])
    kept = "kept" if float(rows[-1][1]) <= TIERS_TARGET else "NOT KEPT"
    head = f"- calls at the bottom for one at the top: **{rows[-1][1]}**; promised ≤ {TIERS_TARGET}: {kept}"
    return head + "\n\n" + table((f"three tiers × 3 attempts, {calls} calls", "asked per call"), rows)


async def main(*, quick: bool, write: bool) -> None:
    """Measure, print, and write the sections."""
    seconds = 3.0 if quick else 20.0
    guards = policies()
    sync = {name: policy(noop) for name, policy in guards.items()}
    tasks = {name: policy(anoop) for name, policy in guards.items()}
    tables = [await section("sync", sync, seconds), await section("async", tasks, seconds)]
    notes = ["hedge: sync starts a thread a call, async a task; nothing of it where a call may not be repeated"]
    about = circumstances(("httpx",), notes)
    console = terminal()
    for name, body in (
        ("What the policies without a peer add to a call", "\n\n".join([about, *tables])),
        ("An open circuit refuses", "\n\n".join([await refusals(seconds / 4), about])),
        ("Three tiers, the last one dead", "\n\n".join([await amplification(CALLS), about])),
    ):
        show(f"## {name}\n\n{body}", console)
        if write:
            write_section(name, body)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few seconds, for a look")
    parser.add_argument("--no-write", action="store_true", help="leave RESULTS.md as it is")
    arguments = parser.parse_args()
    asyncio.run(main(quick=arguments.quick, write=not arguments.no_write))
