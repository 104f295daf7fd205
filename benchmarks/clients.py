"""What `throughput.py` measures: HTTP clients, each opened once and asked for one URL over and over.

Every client trusts the server's throw-away certificate, ignores proxies of the environment, and may open as many
connections as it likes (bare httpx stops at 100 and keeps 20; with that it would be slower still). Nothing else
differs from its defaults.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from server import HOST, NAME, Server

Get = Callable[[str], Awaitable[object]]
"""One complete request: sent, answered, body read."""
SyncGet = Callable[[str], object]
Opener = Callable[[Server], contextlib.AbstractAsyncContextManager[Any]]
"""Opens a client and gives its Get, or its SyncGet if it blocks."""

BARE = "httpx"
OURS = "resilience"
MANY = 1000
"""Connections any client may open and keep: more than any row uses."""
UNLIMITED = httpx.Limits(max_connections=MANY, max_keepalive_connections=MANY)


@dataclass(frozen=True, slots=True)
class Subject:
    """One row: a client to open against the server, and the host it is asked for."""

    name: str
    open: Opener
    host: str = HOST


def _options(server: Server) -> dict[str, Any]:
    return {"verify": server.trust, "trust_env": False}


@contextlib.asynccontextmanager
async def _httpx(server: Server) -> AsyncIterator[Get]:
    async with httpx.AsyncClient(limits=UNLIMITED, **_options(server)) as client:
        yield client.get


@contextlib.asynccontextmanager
async def _httpx2(server: Server) -> AsyncIterator[Get]:
    import httpx2  # noqa: PLC0415

    limits = httpx2.Limits(max_connections=MANY, max_keepalive_connections=MANY)
    async with httpx2.AsyncClient(limits=limits, **_options(server)) as client:
        yield client.get


@contextlib.asynccontextmanager
async def _httpx_retries(server: Server) -> AsyncIterator[Get]:
    from httpx_retries import RetryTransport  # noqa: PLC0415

    inner = httpx.AsyncHTTPTransport(limits=UNLIMITED, **_options(server))
    async with httpx.AsyncClient(transport=RetryTransport(inner), trust_env=False) as client:
        yield client.get


@contextlib.asynccontextmanager
async def _httpware(server: Server) -> AsyncIterator[Get]:
    import httpware  # noqa: PLC0415
    import httpx2  # noqa: PLC0415

    limits = httpx2.Limits(max_connections=MANY, max_keepalive_connections=MANY)
    middleware = [
        httpware.AsyncCircuitBreaker(),
        httpware.AsyncTimeout(timeout=30.0),
        httpware.AsyncBulkhead(max_concurrent=MANY),
        httpware.AsyncRetry(),
    ]
    inner = httpx2.AsyncClient(limits=limits, **_options(server))
    async with inner, httpware.AsyncClient(httpx2_client=inner, middleware=middleware) as client:
        yield client.get


@contextlib.asynccontextmanager
async def _aiohttp(server: Server) -> AsyncIterator[Get]:
    import aiohttp  # noqa: PLC0415

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=server.trust)) as session:

        async def get(url: str) -> object:
            async with session.get(url) as response:
                return await response.read()

        yield get


def _resilience(make: Callable[[Server], dict[str, Any]]) -> Opener:
    @contextlib.asynccontextmanager
    async def open_(server: Server) -> AsyncIterator[Get]:
        import resilience  # noqa: PLC0415

        async with resilience.AsyncClient(**{**_options(server), **make(server)}) as client:
            yield client.get

    return open_


def _httpx_pool(server: Server) -> dict[str, Any]:
    return {"transport": httpx.AsyncHTTPTransport(limits=UNLIMITED, **_options(server))}


def _service(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever Service takes
    import resilience  # noqa: PLC0415

    return {"defaults": resilience.Service(**fields)}


def _three(server: Server) -> dict[str, Any]:
    import resilience  # noqa: PLC0415

    def static(ports: tuple[int, ...]) -> object:
        return resilience.Service(discovery=resilience.Static([f"{HOST}:{port}" for port in ports]))

    kinds = (server.plain, server.secure)
    return {"services": {f"{NAME}:{ports[0]}": static(ports) for ports in kinds}}


SUBJECTS = (
    Subject(BARE, _httpx),
    Subject(OURS, _resilience(lambda _: {})),
    Subject(f"{OURS}, 3 static endpoints", _resilience(_three), NAME),
    Subject(f"{OURS}, policies only (httpx's pool)", _resilience(_httpx_pool)),
    Subject(f"{OURS}, pool only (no policies)", _resilience(lambda _: _service(retry=None, budget=None, circuit=None))),
    Subject("httpx-retries", _httpx_retries),
    Subject("httpx2", _httpx2),
    Subject("httpware, 4 middlewares", _httpware),
    Subject("aiohttp", _aiohttp),
)
IDLE_SUBJECTS = (
    SUBJECTS[0],
    Subject(OURS, _resilience(lambda _: _service(max_in_flight=MANY))),
    *(subject for subject in SUBJECTS if subject.name in ("httpx2", "aiohttp")),
)
"""For the section on idle connections: ours needs room for more than 100 calls at once, to open as many."""


@contextlib.asynccontextmanager
async def _sync_httpx(server: Server) -> AsyncIterator[SyncGet]:
    with httpx.Client(limits=UNLIMITED, **_options(server)) as client:
        yield client.get


@contextlib.asynccontextmanager
async def _sync_resilience(server: Server) -> AsyncIterator[SyncGet]:
    import resilience  # noqa: PLC0415

    with resilience.Client(**_options(server)) as client:
        yield client.get


@contextlib.asynccontextmanager
async def _sync_httpx2(server: Server) -> AsyncIterator[SyncGet]:
    import httpx2  # noqa: PLC0415

    limits = httpx2.Limits(max_connections=MANY, max_keepalive_connections=MANY)
    with httpx2.Client(limits=limits, **_options(server)) as client:
        yield client.get


@contextlib.asynccontextmanager
async def _sync_httpx_retries(server: Server) -> AsyncIterator[SyncGet]:
    from httpx_retries import RetryTransport  # noqa: PLC0415

    inner = httpx.HTTPTransport(limits=UNLIMITED, **_options(server))
    with httpx.Client(transport=RetryTransport(inner), trust_env=False) as client:
        yield client.get


SYNC_SUBJECTS = (
    Subject(BARE, _sync_httpx),
    Subject(OURS, _sync_resilience),
    Subject("httpx-retries", _sync_httpx_retries),
    Subject("httpx2", _sync_httpx2),
)
