"""The client in front of a proxy: httpx without any retry, and with a pool that is never the limit."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx

from benchmarks.scoreboard.told import headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.scoreboard.told import Call, Told


@asynccontextmanager
async def open(told: Told) -> AsyncIterator[Call]:  # noqa: A001 - what every adapter calls it
    """Open a client for the proxy's address; the Host header names the upstream."""
    limits = httpx.Limits(max_connections=1000, max_keepalive_connections=100)
    async with httpx.AsyncClient(timeout=told.total, limits=limits, base_url=f"http://{told.via}") as client:

        async def call(method: str, path: str, request_id: str) -> int:
            return (await client.request(method, path, headers=headers(request_id))).status_code

        yield call
