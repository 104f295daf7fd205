"""Cancelling a call, at any await, leaks nothing: no permit, slot, connection, task, or place in a queue."""

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

import resilience
from resilience.lab import Authority, Fleet, Server
from resilience.runtimes.stepping import Stepped
from tests.http.support import CONTEXT, MODES, Census, static

pytestmark = [
    # trio's word on the generators in which httpx itself sends a body: nobody closes them when a call is cut.
    pytest.mark.filterwarnings("ignore:Async generator 'httpx._content:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*ByteStream.__aiter__:pytest.PytestUnraisableExceptionWarning"),
]


def assert_clean(client: resilience.AsyncClient) -> None:
    for service in client.status().services.values():
        assert service.counts["waiting"] == 0
        assert [endpoint.in_flight for endpoint in service.endpoints] == [0] * len(service.endpoints)
    for upstream in client._main._upstreams.by_origin.values():
        assert upstream.room.streams == set()
        for endpoint in upstream.endpoints:
            if endpoint.circuit is not None:
                assert endpoint.circuit.state == "closed"
                assert endpoint.circuit._probes == []
    total = client._main._total
    assert total is None or total.taken == 0


async def others() -> int:
    """Count the tasks beside this one."""
    try:
        return len(asyncio.all_tasks()) - 1
    except RuntimeError:
        import trio

        return trio.lowlevel.current_statistics().tasks_living


@pytest.mark.parametrize("limits", [None, httpx.Limits(max_connections=8)])
@pytest.mark.parametrize("mode", MODES[:2])
async def test_900_random_cancellations_under_contention(
    mode: str, fleet: Fleet, monkeypatch: pytest.MonkeyPatch, limits: httpx.Limits | None
) -> None:
    census = Census(monkeypatch)
    rng = random.Random(7)
    outcomes = {"ok": 0, "cut": 0}
    more: dict[str, Any] = {} if limits is None else {"limits": limits}
    services = {"web.internal": static(*fleet, max_in_flight=5)}
    async with resilience.AsyncClient(services=services, verify=CONTEXT, timeout=30, **more) as client:
        before = await others()

        async def one() -> None:
            path = rng.choice(["/", "/bytes/2000", "/slow/0.01", "/slow/0.03"])
            with anyio.move_on_after(rng.random() * 0.06):
                if rng.random() < 0.3:
                    async with client.stream("GET", f"http://web.internal:{fleet.port}{path}") as response:
                        await response.aread()
                else:
                    method = rng.choice(["GET", "POST", "PUT"])
                    await client.request(method, f"http://web.internal:{fleet.port}{path}", content=b"x")
                outcomes["ok"] += 1
                return
            outcomes["cut"] += 1

        for _ in range(9):
            async with anyio.create_task_group() as group:
                for _ in range(100):
                    group.start_soon(one)
        assert outcomes["ok"] + outcomes["cut"] == 900
        assert outcomes["cut"] > 50
        assert_clean(client)
        for _ in range(30):
            assert (await client.get(f"http://web.internal:{fleet.port}/")).status_code == 200
        assert_clean(client)
        assert await others() <= before
        idle = sum(transport.pool.idle_count() for transport in client._main._exchange._transports.all())
        assert census.open == idle <= 15
    assert census.open == 0


Work = Callable[[resilience.AsyncClient], Awaitable[object]]


async def cut_everywhere(
    work: Work, make: Callable[[], resilience.AsyncClient], cut: Callable[[Any, int], Awaitable[bool]] | None = None
) -> int:
    """Run `work` again and again, cancelled at its first await, its second, … until it gets through; count them."""
    async with make() as warm:
        await work(warm)  # one-time imports and look-ups do not belong to the call
    for number in range(1, 500):
        client = make()
        finished = await (cut or _cut)(lambda: work(client), number)  # noqa: B023 - used in this round only
        assert_clean(client)
        assert (await client.get("http://web.internal/after")).status_code == 200
        assert_clean(client)
        await client.aclose()
        if finished:
            return number
    message = "it never came to an end"
    raise AssertionError(message)


async def _cut_natively(work: Callable[[], Awaitable[object]], number: int) -> bool:
    """Do it as ``Task.cancel()`` does, which asyncio delivers once only."""
    task = asyncio.current_task()
    assert task is not None
    try:
        await Stepped(work(), number, task.cancel)
    except asyncio.CancelledError:
        task.uncancel()
        return False
    return not task.cancelling()


async def _cut(work: Callable[[], Awaitable[object]], number: int) -> bool:
    """Run `work` and cancel it at its n-th suspension; tell whether it ended before."""
    done = False
    with anyio.CancelScope() as scope:

        async def counted() -> None:
            nonlocal done
            await Stepped(work(), number, scope.cancel)
            done = True

        await counted()
    return done


class Chunks:
    """A body in two pieces, with an await before each."""

    def __init__(self) -> None:
        self.left = [b"two", b"one"]

    def __aiter__(self) -> "Chunks":
        return self

    async def __anext__(self) -> bytes:
        await anyio.lowlevel.checkpoint()
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop()


def client_of(*servers: Server, **options: Any) -> Callable[[], resilience.AsyncClient]:
    service = static(*servers, retry=resilience.Retry(wait=0.001), **options)
    return lambda: resilience.AsyncClient(services={"web.internal": service}, verify=CONTEXT)


@pytest.mark.parametrize("mode", MODES[:2])
async def test_a_plain_call_cut_at_every_await(mode: str, server: Server) -> None:
    async def work(client: resilience.AsyncClient) -> None:
        await client.get("http://web.internal/bytes/100")

    assert await cut_everywhere(work, client_of(server)) > 2


@pytest.mark.parametrize("mode", MODES[:1])
async def test_a_call_cut_by_its_task_at_every_await(mode: str, fleet: Fleet) -> None:
    fleet[0].fault(status=503)

    async def work(client: resilience.AsyncClient) -> None:
        for _ in range(2):
            await client.get("http://web.internal/bytes/100")

    assert await cut_everywhere(work, client_of(*fleet), _cut_natively) > 4


@pytest.mark.parametrize("mode", MODES[:2])
async def test_a_call_with_retries_cut_at_every_await(mode: str, fleet: Fleet) -> None:
    fleet[0].fault(status=503)
    fleet[1].fault(truncate=True)

    async def work(client: resilience.AsyncClient) -> None:
        for _ in range(3):
            await client.get("http://web.internal/bytes/100")

    assert await cut_everywhere(work, client_of(*fleet)) > 6


@pytest.mark.parametrize("mode", MODES[:2])
async def test_an_upload_and_a_stream_cut_at_every_await(mode: str, server: Server) -> None:
    async def work(client: resilience.AsyncClient) -> None:
        async with client.stream("POST", "http://web.internal/echo", content=Chunks()) as response:
            await response.aread()

    assert await cut_everywhere(work, client_of(server)) > 2


@pytest.mark.parametrize("mode", MODES[:2])
async def test_waiting_for_a_slot_cut_at_every_await(mode: str, server: Server) -> None:
    async def work(client: resilience.AsyncClient) -> None:
        async with client.stream("GET", "http://web.internal/bytes/10"), anyio.create_task_group() as group:
            group.start_soon(client.get, "http://web.internal/queued")
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        await client.get("http://web.internal/")

    assert await cut_everywhere(work, client_of(server, max_in_flight=1)) > 4


@pytest.mark.parametrize("mode", MODES[:2])
async def test_redirects_and_reuse_cut_at_every_await(mode: str, server: Server) -> None:
    async def work(client: resilience.AsyncClient) -> None:
        await client.get("http://web.internal/redirect?to=/end", follow_redirects=True)
        await client.get("http://web.internal/again")

    assert await cut_everywhere(work, client_of(server)) > 4


@pytest.mark.parametrize("mode", MODES[:2])
async def test_stale_connections_cut_at_every_await(mode: str, server: Server) -> None:
    server.fault(idle_close=0.0)

    async def work(client: resilience.AsyncClient) -> None:
        for _ in range(3):
            await client.get("http://web.internal/")

    assert await cut_everywhere(work, client_of(server)) > 4


@pytest.mark.parametrize("mode", MODES[:2])
async def test_a_handshake_cut_at_every_await(mode: str, tmp_path: Any) -> None:
    authority = Authority.create(tmp_path)
    context = authority.context()
    with Server(ssl=authority.issue("good.test")) as secure:
        service = static(secure)

        async def work(client: resilience.AsyncClient) -> None:
            await client.get(f"https://good.test:{secure.port}/")

        for number in range(1, 200):
            client = resilience.AsyncClient(services={"good.test": service}, verify=context)
            finished = await _cut(lambda: work(client), number)  # noqa: B023 - used in this round only
            assert_clean(client)
            await work(client)
            await client.aclose()
            gc.collect()  # an unclosed socket would warn, and warnings are errors
            if finished:
                break
        assert number > 2
        while secure.connections:
            await anyio.lowlevel.checkpoint()
