"""httpx, calling one DNS name: the client as most services have it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx

from benchmarks.scoreboard.told import headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.scoreboard.told import Call, Told

NOTE = (
    "`httpx.AsyncClient(timeout=total)` with `AsyncHTTPTransport(retries=2)`, the connection retries of its documentation; "
    "its own pool of 100"
)


@asynccontextmanager
async def open(told: Told) -> AsyncIterator[Call]:  # noqa: A001 - what every adapter calls it
    """Open a client with connection retries."""
    transport = httpx.AsyncHTTPTransport(retries=2)
    async with httpx.AsyncClient(transport=transport, timeout=told.total, base_url=told.url) as client:

        async def call(method: str, path: str, request_id: str) -> int:
            return (await client.request(method, path, headers=headers(request_id))).status_code

        yield call
