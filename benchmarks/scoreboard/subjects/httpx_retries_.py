"""httpx-retries: a transport around httpx's that repeats."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
from httpx_retries import Retry, RetryTransport

from benchmarks.scoreboard.told import headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.scoreboard.told import Call, Told

NOTE = (
    "`RetryTransport(retry=Retry(total=2, backoff_factor=0.05, total_timeout=total))`: idempotent methods, 429, 502, 503, 504 and "
    "transport errors as it comes; `timeout=attempt`; one DNS name"
)


@asynccontextmanager
async def open(told: Told) -> AsyncIterator[Call]:  # noqa: A001 - what every adapter calls it
    """Open a client whose transport repeats."""
    retry = Retry(total=2, backoff_factor=0.05, total_timeout=told.total)
    transport = RetryTransport(retry=retry)
    async with httpx.AsyncClient(transport=transport, timeout=told.attempt, base_url=told.url) as client:

        async def call(method: str, path: str, request_id: str) -> int:
            return (await client.request(method, path, headers=headers(request_id))).status_code

        yield call
