"""The subject's own process: a call whenever the generator says so.

``python -m benchmarks.scoreboard.caller SUBJECT TOLD JSON``: it warms the client up, says that it is ready, reads the
instant of the start, and prints what became of each call.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from pathlib import Path

from benchmarks.scoreboard.generator import NUMBER
from benchmarks.scoreboard.scenarios import DRAIN
from benchmarks.scoreboard.schedule import Due, schedule
from benchmarks.scoreboard.subjects import SUBJECTS
from benchmarks.scoreboard.told import Call, Told

_WARM_UP = 24
_AT_ONCE = 4
_FAILED = 500


async def run(subject: str, told: Told, pipe: int, due: list[Due]) -> None:
    """Make the calls and print the outcome."""
    async with SUBJECTS[subject].open(told) as call:
        await _warm_up(call)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        start = float(await asyncio.to_thread(sys.stdin.readline))
        gc.collect()
        waited, cpu = _waited(), time.process_time()
        latencies, errors = await _all(call, pipe, due, start)
        cpu, waited = time.process_time() - cpu, _waited() - waited
        sys.stdout.write(json.dumps({"latencies": latencies, "errors": errors, "cpu": cpu, "waited": waited}) + "\n")
        sys.stdout.flush()
        os._exit(0)  # whatever a subject still has under way when it is closed is not measured


async def _all(call: Call, pipe: int, due: list[Due], start: float) -> tuple[list[float | None], dict[int, str]]:
    latencies: list[float | None] = [None] * len(due)
    errors: dict[int, str] = {}
    over = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()
    open_ = len(due)

    async def one(number: int) -> None:
        nonlocal open_
        try:
            method, path = ("POST", "/orders") if due[number].unsafe else ("GET", "/items")
            status = await call(method, path, str(number))
            if status >= _FAILED:
                errors[number] = f"answered {status}"
        except Exception as error:  # noqa: BLE001 - every failure is a result
            errors[number] = type(error).__name__
        latencies[number] = time.monotonic() - start - due[number].at
        open_ -= 1
        if not open_:
            over.set()

    def told() -> None:
        for (number,) in NUMBER.iter_unpack(os.read(pipe, 4096)):
            task = asyncio.create_task(one(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    asyncio.get_running_loop().add_reader(pipe, told)
    try:
        await asyncio.wait_for(over.wait(), start + due[-1].at + DRAIN - time.monotonic())
    except TimeoutError:
        for number, latency in enumerate(latencies):
            if latency is None:
                errors[number] = "unanswered"
    return latencies, errors


async def _warm_up(call: Call) -> None:
    async def some() -> None:
        for _ in range(_WARM_UP // _AT_ONCE):
            await call("GET", "/warm-up", "")

    await asyncio.gather(*(some() for _ in range(_AT_ONCE)))


def _waited() -> float:
    """Seconds this process was ready to run and had no processor."""
    file = Path("/proc/self/schedstat")
    return int(file.read_text().split()[1]) / 1e9 if file.exists() else 0.0


if __name__ == "__main__":
    plan = json.loads(sys.argv[3])
    asyncio.run(
        run(
            sys.argv[1],
            Told(**json.loads(sys.argv[2])),
            plan["pipe"],
            schedule(plan["rate"], plan["seconds"], plan["seed"]),
        )
    )
