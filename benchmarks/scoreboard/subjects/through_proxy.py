"""The client in front of a proxy: as little of one as there is, so that what is measured is the proxy."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx

from benchmarks.scoreboard.told import headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.scoreboard.told import Call, Told

FRONT = "Called by aiohttp, with `ClientTimeout(total=total)` and no limit of connections"


@asynccontextmanager
async def open(told: Told) -> AsyncIterator[Call]:  # noqa: A001 - what every adapter calls it
    """Open a client for the proxy's address; the Host header is the proxy's to write.

    aiohttp, not httpx: with hundreds of calls open httpx's pool keeps a core busy by itself, and its timeout is one of each
    phase, never of the call. Failures go by httpx's names, as those of the other clients do.
    """
    # Late: whoever only writes a proxy's configuration or the tables needs no aiohttp.
    import aiohttp  # noqa: PLC0415

    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=told.total)
    async with aiohttp.ClientSession(f"http://{told.via}", connector=connector, timeout=timeout) as client:

        async def call(method: str, path: str, request_id: str) -> int:
            try:
                async with client.request(method, path, headers=headers(request_id)) as response:
                    await response.read()
                    return response.status
            except TimeoutError as error:
                raise httpx.ReadTimeout(str(error)) from error
            except aiohttp.ClientConnectorError as error:
                raise httpx.ConnectError(str(error)) from error
            except aiohttp.ClientOSError as error:
                raise httpx.ReadError(str(error)) from error
            except aiohttp.ClientError as error:  # disconnected, or no HTTP
                raise httpx.RemoteProtocolError(str(error)) from error

        yield call
