"""What the tests of the HTTP side share: clients of every kind behind one face, and servers healthy at first."""

import gc
import ssl
import sys
import threading
import time
from collections.abc import Awaitable, Iterator
from inspect import isawaitable
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import httpx
import pytest

import resilience
from resilience.http import wire_async, wire_blocking
from resilience.lab import Fleet, Server

T = TypeVar("T")

MODES = ("asyncio", "trio", "threads")
CONTEXT = ssl.create_default_context()
"""Shared: it takes a client longer to make one than to make a call."""


async def settled(value: T | Awaitable[T]) -> T:
    """Return what a method of either kind of client gives."""
    return await cast("Awaitable[T]", value) if isawaitable(value) else cast("T", value)


class Face:
    """A client of one kind, awaited in every case; the blocking kind simply blocks."""

    def __init__(self, mode: str, *, plain: bool = False, **arguments: Any) -> None:
        module: Any = httpx if plain else resilience
        arguments.setdefault("verify", CONTEXT)
        self.client: Any = (module.Client if mode == "threads" else module.AsyncClient)(**arguments)

    async def request(self, method: str, url: str, **arguments: Any) -> httpx.Response:
        return await settled(self.client.request(method, url, **arguments))

    async def get(self, url: str, **arguments: Any) -> httpx.Response:
        return await self.request("GET", url, **arguments)

    async def post(self, url: str, **arguments: Any) -> httpx.Response:
        return await self.request("POST", url, **arguments)

    async def open(self, method: str, url: str, **arguments: Any) -> httpx.Response:
        """Send and return at the headers."""
        return await settled(self.client.send(self.client.build_request(method, url, **arguments), stream=True))

    @staticmethod
    async def read(response: httpx.Response) -> bytes:
        return response.read() if isinstance(response.stream, httpx.SyncByteStream) else await response.aread()

    @staticmethod
    async def shut(response: httpx.Response) -> None:
        if isinstance(response.stream, httpx.SyncByteStream):
            response.close()
        else:
            await response.aclose()

    def endpoints(self, service: str) -> dict[str, Any]:
        return {endpoint.address: endpoint for endpoint in self.client.status().services[service].endpoints}

    def in_flight(self) -> int:
        services = self.client.status().services.values()
        return sum(endpoint.in_flight for service in services for endpoint in service.endpoints)

    async def close(self) -> None:
        await settled(self.client.close() if isinstance(self.client, httpx.Client) else self.client.aclose())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


def heal(server: Server) -> None:
    """Make a server healthy, whatever a test did to it, and count from zero.

    What was sent while it hung it reads only now: a connection of our own comes after those, and all are to have ended.
    """
    server.start()
    server.resume()
    server.fault()
    httpx.get(server.url, headers={"connection": "close"}, trust_env=False, verify=CONTEXT)
    until = time.monotonic() + 1.0
    while server.connections and time.monotonic() < until:
        time.sleep(0)
    server.reset_counts()


def static(*servers: Server, **options: Any) -> resilience.Service:
    """Describe a service with these servers as its replicas."""
    return resilience.Service(discovery=resilience.Static([server.address for server in servers]), **options)


def attempts(response: httpx.Response) -> list[tuple[str | None, int | None, str | None]]:
    """Return where each attempt went, and what it got."""
    record = response.extensions["resilience"]
    return [(attempt.endpoint, attempt.status, attempt.error) for attempt in record.attempts]


def collect() -> None:
    """Collect garbage, in every generation, as it would be collected sooner or later."""
    sys.exc_info()
    for _ in range(3):
        gc.collect()


@pytest.fixture(scope="session")
def _server() -> Iterator[Server]:
    with Server(name="solo") as running:
        yield running


@pytest.fixture
def server(_server: Server) -> Server:
    """One healthy server."""
    heal(_server)
    return _server


@pytest.fixture(scope="session")
def _fleet() -> Iterator[Fleet]:
    with Fleet(3) as running:
        yield running


@pytest.fixture
def fleet(_fleet: Fleet) -> Fleet:
    """Three healthy servers, a, b and c, on one port."""
    for each in _fleet:
        heal(each)
    return _fleet


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """The kind of client: asyncio, trio, or threads."""
    return cast("str", request.param)


@pytest.fixture
def anyio_backend(mode: str) -> str:
    """Where the test itself runs."""
    return "trio" if mode == "trio" else "asyncio"


class Census:
    """How many connections are open, and the most there were at once: counted where they are opened and closed."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.open = self.most = self.opened = 0
        self._lock = threading.Lock()
        self._patch = patch
        blocking, awaiting = wire_blocking.BlockingWire.connect_tcp, wire_async.AsyncWire.connect_tcp

        def connect(*arguments: Any, **more: Any) -> Any:
            return self._count(blocking(*arguments, **more))

        async def aconnect(*arguments: Any, **more: Any) -> Any:
            return self._count(await awaiting(*arguments, **more))

        patch.setattr(wire_blocking.BlockingWire, "connect_tcp", connect)
        patch.setattr(wire_async.AsyncWire, "connect_tcp", aconnect)

    def _count(self, stream: Any) -> Any:
        with self._lock:
            self.open += 1
            self.opened += 1
            self.most = max(self.most, self.open)
        ended = [None]
        close, aclose = getattr(stream, "close", None), getattr(stream, "aclose", None)

        def once() -> None:
            with self._lock:
                if ended:
                    ended.pop()
                    self.open -= 1

        def closed() -> None:
            once()
            if close is not None:
                close()

        async def aclosed() -> None:
            once()
            if aclose is not None:
                await aclose()

        if close is not None:
            stream.close = closed
        else:
            stream.aclose = aclosed
        return stream
