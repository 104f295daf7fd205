"""One asynchronous client, several event loops, one after the other or at once: each dials for itself."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator

import anyio
import pytest

import resilience
from resilience.lab import Server
from tests.http.support import CONTEXT, collect

pytestmark = [
    # The sockets of a loop that has ended: nobody can close them properly any more.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


HTTP2 = pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])


@pytest.fixture
def spoken(http2: bool) -> Iterator[Server]:
    """A server that speaks it."""
    with Server("127.0.0.1", http2=http2) as running:
        yield running


def speaking(*, http2: bool) -> resilience.AsyncClient:
    once = resilience.Service(retry=None)
    return resilience.AsyncClient(http1=not http2, http2=http2, verify=CONTEXT, defaults=once)


@contextlib.contextmanager
def two_loops() -> Iterator[list[asyncio.AbstractEventLoop]]:
    """Two event loops, each in a thread of its own."""
    loops = [asyncio.new_event_loop() for _ in range(2)]
    threads = [threading.Thread(target=loop.run_forever, daemon=True) for loop in loops]
    for thread in threads:
        thread.start()
    yield loops
    for loop, thread in zip(loops, threads, strict=True):
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20.0)
        loop.close()


@HTTP2
@pytest.mark.parametrize("second", ["asyncio", "trio"])
def test_one_loop_after_the_other(http2: bool, spoken: Server, second: str) -> None:
    client = speaking(http2=http2)

    async def ask() -> list[int]:
        return [(await client.post(spoken.url)).status_code for _ in range(2)]

    assert asyncio.run(ask()) == [200] * 2
    for _ in range(2):
        assert anyio.run(ask, backend=second) == [200] * 2
    asyncio.run(client.aclose())
    collect()


@HTTP2
def test_two_loops_at_once_leave_no_connection_open(http2: bool, spoken: Server) -> None:
    client = speaking(http2=http2)
    with two_loops() as loops:
        for _ in range(10):
            for loop in loops:
                response = asyncio.run_coroutine_threadsafe(client.post(spoken.url), loop).result(20.0)
                assert response.status_code == 200
        for loop in loops:  # the latest to be let go is closed in its loop's next round
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(20.0)
        assert spoken.accepted == 20
        gone(spoken, but=1)
        asyncio.run_coroutine_threadsafe(client.aclose(), loops[1]).result(20.0)
        gone(spoken)


def gone(server: Server, but: int = 0) -> None:
    """Wait until the server has seen the connections end."""
    until = time.monotonic() + 20.0
    while server.connections > but:
        assert time.monotonic() < until
        time.sleep(0)


@pytest.mark.parametrize("second", ["asyncio", "trio"])
def test_a_loop_that_has_ended_leaves_no_connection_behind_for_the_next(server: Server, second: str) -> None:
    client = resilience.AsyncClient(verify=CONTEXT)

    async def ask() -> list[int]:
        statuses: list[int] = []

        async def one() -> None:
            statuses.append((await client.get(f"{server.url}/slow/0.01")).status_code)

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(one)
        return statuses

    assert asyncio.run(ask()) == [200] * 4
    for _ in range(3):
        assert anyio.run(ask, backend=second) == [200] * 4
    (service,) = client.status().services.values()
    assert (service.endpoints[0].circuit, service.endpoints[0].in_flight) == ("closed", 0)
    asyncio.run(client.aclose())
    collect()
