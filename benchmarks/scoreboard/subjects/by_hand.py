"""What one writes by hand: round robin over the addresses, tenacity's retries, a pybreaker for each address."""

import asyncio
import itertools
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pybreaker
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from benchmarks.scoreboard.told import Call, Lost, Told, headers

NOTE = (
    "getaddrinfo every 5 s; tenacity: 3 attempts, `wait_random_exponential(0.05, max=1)`, GETs only; pybreaker per address: "
    "`fail_max=5, reset_timeout=1`, open ones passed over; httpx with `timeout=attempt`, a pool per address"
)
_FAILED, _REFRESH, _OPEN_FOR = 500, 5.0, 1.0
_WORTH = retry_if_exception_type((httpx.TransportError, Lost, pybreaker.CircuitBreakerError))


@asynccontextmanager
async def open(told: Told) -> AsyncIterator[Call]:  # noqa: A001 - what every adapter calls it
    """Open a client per address, and follow the name."""
    turn, context, look_up = itertools.count(), httpx.create_ssl_context(), asyncio.get_running_loop().getaddrinfo
    known: dict[str, tuple[pybreaker.CircuitBreaker, httpx.AsyncClient]] = {}
    hosts, opened = list[str](), dict[str, float]()

    async def follow(*, for_ever: bool = False) -> None:
        while True:
            await asyncio.sleep(_REFRESH * for_ever)
            with suppress(OSError):
                found = await look_up(told.name, told.port, family=socket.AF_INET)
                hosts[:] = sorted({address[0] for *_, address in found})
            for host in set(hosts) - set(known):
                client = httpx.AsyncClient(base_url=f"http://{host}:{told.port}", timeout=told.attempt, verify=context)
                known[host] = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=_OPEN_FOR), client
            if not for_ever:
                return

    async def once(method: str, path: str, request_id: str) -> int:
        start, now = next(turn), time.monotonic()
        order = [hosts[(start + step) % len(hosts)] for step in range(len(hosts))]
        host = next((it for it in order if now - opened.get(it, 0.0) > _OPEN_FOR), order[0])
        breaker, client = known[host]
        try:
            with breaker.calling():
                response = await client.request(method, path, headers=headers(request_id) | {"host": told.name})
                if response.status_code >= _FAILED:
                    raise Lost(str(response.status_code))
        finally:
            if breaker.current_state == pybreaker.STATE_OPEN and now - opened.get(host, 0.0) > _OPEN_FOR:
                opened[host] = time.monotonic()
        return response.status_code

    async def call(method: str, path: str, request_id: str) -> int:
        stop, wait = stop_after_attempt(1 if method == "POST" else 3), wait_random_exponential(0.05, max=1)
        again = AsyncRetrying(stop=stop, wait=wait, retry=_WORTH, reraise=True)
        return await again(once, method, path, request_id)

    await follow()
    following = asyncio.create_task(follow(for_ever=True))
    yield call
    following.cancel()
