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
import threading
import time
from pathlib import Path

from benchmarks.scoreboard.generator import NUMBER
from benchmarks.scoreboard.scenarios import DRAIN, SCENARIOS
from benchmarks.scoreboard.schedule import REQUESTS, Due, schedule
from benchmarks.scoreboard.subjects import SUBJECTS
from benchmarks.scoreboard.told import Call, Told

_WARM_UP = 24
_AT_ONCE = 4
_FAILED = 500


class Load:
    """The calls of a cell, and what became of them."""

    def __init__(self, call: Call, due: list[Due], start: float) -> None:
        self._call, self._due, self._start = call, due, start
        self._open = len(due)
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = threading.Lock()
        self._cpu, self._waited = time.process_time(), _waited()
        self.latencies: list[float | None] = [None] * len(due)
        self.errors: dict[int, str] = {}

    def told(self, pipe: int) -> None:
        """Start the calls whose numbers have come."""
        for (number,) in NUMBER.iter_unpack(os.read(pipe, 4096)):
            task = asyncio.create_task(self._one(number))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _one(self, number: int) -> None:
        due = self._due[number]
        try:
            status = await self._call(*REQUESTS[due.kind], str(number))
            if status >= _FAILED:
                self.errors[number] = f"answered {status}"
        except Exception as error:  # noqa: BLE001 - every failure is a result
            self.errors[number] = type(error).__name__
        self.latencies[number] = time.monotonic() - self._start - due.at
        self._open -= 1
        if not self._open:
            self.close()

    def close(self) -> None:
        """Print the outcome and end the process, whatever the subject still has under way."""
        self._over.acquire()
        cpu, waited = time.process_time() - self._cpu, _waited() - self._waited
        errors = {n: "unanswered" for n, latency in enumerate(self.latencies) if latency is None} | dict(self.errors)
        outcome = {"latencies": self.latencies, "errors": errors, "cpu": cpu, "waited": waited}
        sys.stdout.write(json.dumps(outcome) + "\n")
        sys.stdout.flush()
        os._exit(0)


async def run(subject: str, told: Told, pipe: int, due: list[Due]) -> None:
    """Make the calls and print the outcome."""
    async with SUBJECTS[subject].open(told) as call:
        await _warm_up(call)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        start = float(await asyncio.to_thread(sys.stdin.readline))
        gc.collect()
        load = Load(call, due, start)
        # A thread, because there are subjects that keep the event loop busy for longer than that.
        last = threading.Timer(start + due[-1].at + DRAIN - time.monotonic(), load.close)
        last.daemon = True
        last.start()
        asyncio.get_running_loop().add_reader(pipe, load.told, pipe)
        await asyncio.Event().wait()


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
    calls = schedule(SCENARIOS[plan["scenario"]], plan["seed"])
    asyncio.run(run(sys.argv[1], Told(**json.loads(sys.argv[2])), plan["pipe"], calls))
