"""What happens to a fleet while it is under load, told as a list of instants and acts."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import anyio.to_thread

from resilience.lab import Report, run_load, run_load_blocking
from resilience.runtimes.blocking import run_blocking
from tests.http.support import Face

RATE = 150.0

Act = tuple[float, Callable[[], Any]]


async def under_load(
    face: Face, mode: str, url: str, acts: Sequence[Act], *, seconds: float = 8.0, rate: float = RATE
) -> Report:
    """Send calls on schedule while the acts happen at their instants (seconds from the start)."""

    async def call(number: int) -> str:
        response = await face.get(url, headers={"x-request-id": str(number)})
        assert response.status_code == 200, response.status_code
        return response.headers["x-server"]

    return await (load_blocking if mode == "threads" else load)(call, acts, seconds=seconds, rate=rate)


async def load(call: Callable[[int], Awaitable[str]], acts: Sequence[Act], *, seconds: float, rate: float) -> Report:
    """Run calls on schedule while the acts happen."""

    async with anyio.create_task_group() as group:
        group.start_soon(_act, acts)
        return await run_load(call, rate=rate, seconds=seconds)


async def load_blocking(
    call: Callable[[int], Awaitable[str]], acts: Sequence[Act], *, seconds: float, rate: float
) -> Report:
    """Do the same with calls that block, from threads; their coroutines never suspend."""
    reports: list[Report] = []

    async def run() -> None:
        work = lambda: run_load_blocking(lambda n: run_blocking(call(n)), rate=rate, seconds=seconds, workers=160)
        reports.append(await anyio.to_thread.run_sync(work))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        group.start_soon(_act, acts)
    return reports[0]


async def _act(acts: Sequence[Act]) -> None:
    start = anyio.current_time()
    for instant, what in acts:
        await anyio.sleep(max(0.0, start + instant - anyio.current_time()))
        await anyio.to_thread.run_sync(what)
