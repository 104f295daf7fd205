"""nopanic around httpx: its decorators, outermost first."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
from nopanic import RetryBudget, backoff, circuit_breaker, compose, deadline, retry

from benchmarks.scoreboard.told import Lost, headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.scoreboard.told import Call, Told

NOTE = (
    "`compose(deadline(total), retry(3, full_jitter(0.05, 1), honor_retry_after=False, budget=RetryBudget(0.2)), "
    "circuit_breaker(0.5, min_calls=10, window=10, reset_timeout=1))`, GETs only; httpx with `timeout=attempt`; one DNS "
    "name. Honouring its own open circuit, as it does by default, would stall every call"
)
_FAILED = 500
_WORTH = (httpx.TransportError, Lost)


@asynccontextmanager
async def open(told: Told) -> AsyncIterator[Call]:  # noqa: A001 - what every adapter calls it
    """Open httpx and put the policies around it."""
    circuit = circuit_breaker(failure_threshold=0.5, min_calls=10, window=10, reset_timeout=1, on=_WORTH)
    again = retry(
        3, on=_WORTH, backoff=backoff.full_jitter(0.05, 1.0), honor_retry_after=False, budget=RetryBudget(0.2)
    )
    async with httpx.AsyncClient(timeout=told.attempt, base_url=told.url) as client:

        async def once(method: str, path: str, request_id: str) -> int:
            response = await client.request(method, path, headers=headers(request_id))
            if response.status_code >= _FAILED:
                raise Lost(str(response.status_code))
            return response.status_code

        repeated = compose(deadline(told.total), again, circuit)(once)
        single = compose(deadline(told.total), circuit)(once)

        async def call(method: str, path: str, request_id: str) -> int:
            return await (single if method == "POST" else repeated)(method, path, request_id)

        yield call
