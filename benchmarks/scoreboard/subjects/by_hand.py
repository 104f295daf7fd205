"""What one writes by hand: round robin over the addresses, tenacity's retries, a pybreaker for each address."""

from __future__ import annotations

import asyncio
import itertools
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pybreaker
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from benchmarks.scoreboard.told import Lost, headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.scoreboard.told import Call, Told

NOTE = (
    "getaddrinfo every 5 s; tenacity: 3 attempts, `wait_random_exponential(0.05, max=1)`, GETs only; pybreaker per address: "
    "`fail_max=5, reset_timeout=1`, open ones passed over; httpx with `timeout=attempt`, a pool per address"
)
_FAILED, _REFRESH = 500, 5.0


@asynccontextmanager
async def open(told: Told) -> AsyncIterator[Call]:  # noqa: A001 - what every adapter calls it
    """Open a client per address, and follow the name."""
    loop, turn = asyncio.get_running_loop(), itertools.count()
    known: dict[str, tuple[pybreaker.CircuitBreaker, httpx.AsyncClient]] = {}
    context = httpx.create_ssl_context()
    hosts: list[str] = []

    async def look_up() -> None:
        found = await loop.getaddrinfo(told.name, told.port, family=socket.AF_INET, type=socket.SOCK_STREAM)
        hosts[:] = sorted({address[0] for *_, address in found})
        for host in hosts:
            if host not in known:
                client = httpx.AsyncClient(base_url=f"http://{host}:{told.port}", timeout=told.attempt, verify=context)
                known[host] = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=1), client

    async def follow() -> None:
        while True:
            await asyncio.sleep(_REFRESH)
            try:
                await look_up()
            except OSError:
                continue

    async def attempt(method: str, path: str, request_id: str) -> int:
        for _ in range(len(hosts)):
            breaker, client = known[hosts[next(turn) % len(hosts)]]
            if breaker.current_state != pybreaker.STATE_OPEN or breaker is known[hosts[-1]][0]:
                break
        with breaker.calling():
            response = await client.request(method, path, headers=headers(request_id) | {"host": told.name})
            if response.status_code >= _FAILED:
                raise Lost(str(response.status_code))
        return response.status_code

    retrying = AsyncRetrying(
        stop=stop_after_attempt(3) | stop_after_delay(told.total),
        wait=wait_random_exponential(0.05, max=1),
        retry=retry_if_exception_type((httpx.TransportError, Lost, pybreaker.CircuitBreakerError)),
        reraise=True,
    )

    async def call(method: str, path: str, request_id: str) -> int:
        once = attempt(method, path, request_id) if method == "POST" else None
        return await (once or retrying(attempt, method, path, request_id))

    await look_up()
    following = asyncio.create_task(follow())
    yield call
    following.cancel()
