"""httpware: middleware on httpx2, in the order of its guide: breaker, timeout, bulkhead, retry."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx2
from httpware import AsyncBulkhead, AsyncCircuitBreaker, AsyncClient, AsyncRetry, AsyncTimeout, RetryBudget

from benchmarks.scoreboard.told import headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.scoreboard.told import Call, Told

NOTE = (
    "`AsyncCircuitBreaker(failure_rate_threshold=0.5, window_seconds=10, reset_timeout=1)`, `AsyncTimeout(total)`, "
    "`AsyncBulkhead(100)`, `AsyncRetry(max_attempts=3, base_delay=0.05, budget=RetryBudget())`; httpx2 with "
    "`timeout=attempt`; one DNS name"
)


@asynccontextmanager
async def open(told: Told) -> AsyncIterator[Call]:  # noqa: A001 - what every adapter calls it
    """Open a client with all of its middleware."""
    inner = httpx2.AsyncClient(timeout=told.attempt, base_url=told.url)
    middleware = (
        AsyncCircuitBreaker(failure_rate_threshold=0.5, window_seconds=10, reset_timeout=1),
        AsyncTimeout(timeout=told.total),
        AsyncBulkhead(max_concurrent=100),
        AsyncRetry(max_attempts=3, base_delay=0.05, budget=RetryBudget()),
    )
    async with AsyncClient(httpx2_client=inner, middleware=middleware) as client:

        async def call(method: str, path: str, request_id: str) -> int:
            request = client.build_request(method, path, headers=headers(request_id))
            return (await client.send(request)).status_code

        yield call
