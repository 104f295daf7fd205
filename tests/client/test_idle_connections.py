"""A server that closes connections while they are idle costs no failure, and no circuit."""

import socket

import anyio
import httpx
import pytest

from resilience.lab import Fleet, Server
from tests.http.raw import Raw, head_of
from tests.http.support import Face, attempts, static


async def test_sockets_closed_after_each_answer_cost_nothing(mode: str, fleet: Fleet) -> None:
    for server in fleet:
        server.fault(idle_close=0.0)
    async with Face(mode, services={"web.internal": static(*fleet)}) as face:
        for method in ["GET", "PUT", "DELETE"] * 10:
            response = await face.request(method, f"http://web.internal:{fleet.port}/")
            assert response.status_code == 200
        endpoints = face.endpoints(f"web.internal:{fleet.port}")
    assert {endpoint.circuit for endpoint in endpoints.values()} == {"closed"}
    assert sum(server.count for server in fleet) == 30


async def test_all_pooled_sockets_stale_at_once_cost_nothing(mode: str, server: Server) -> None:
    url = f"http://web.internal:{server.port}/slow/0.05"
    async with Face(mode, services={"web.internal": static(server)}) as face:
        statuses: list[int] = []

        async def one() -> None:
            statuses.append((await face.get(url)).status_code)

        for _ in range(3):
            async with anyio.create_task_group() as group:
                for _ in range(20):
                    group.start_soon(one)
            server.restart()  # every connection that was kept is dead now
        assert statuses == [200] * 60
        endpoint = face.endpoints(f"web.internal:{server.port}")[server.address]
        assert (endpoint.circuit, endpoint.in_flight) == ("closed", 0)


async def test_found_closed_on_reuse_it_is_sent_once_more_for_free_and_on_a_new_connection(
    mode: str, server: Server
) -> None:
    service = static(server, retry=None)
    async with Face(mode, services={"web.internal": service}) as face:
        url = f"http://web.internal:{server.port}/"
        await face.get(url)
        server.fault(reset="before")  # the reused connection breaks before anything is read; so does a new one
        with pytest.raises(httpx.TransportError) as caught:
            await face.get(url)
        assert len(caught.value.attempts) == 2
        assert [attempt.blame for attempt in caught.value.attempts] == ["unknown", "bad"]
        server.fault()
        response = await face.get(url)
        assert len(attempts(response)) == 1


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
async def test_more_than_was_asked_for_is_not_the_answer_to_the_next_call(mode: str, method: str) -> None:
    body = b"" if method == "HEAD" else b"first"  # to HEAD a server that does not know better sends one

    def talk(connection: socket.socket) -> None:
        while head_of(connection):
            own = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst"
            connection.sendall(own + b"HTTP/1.1 201 Created\r\ncontent-length: 6\r\n\r\nnobody")

    with Raw(talk) as raw:
        async with Face(mode) as face:
            for _ in range(3):
                response = await face.request(method, f"http://{raw.address}/")
                assert (response.status_code, response.content) == (200, body)
        assert raw.accepted == 3


async def test_a_post_on_a_connection_that_broke_is_not_sent_again(mode: str, server: Server) -> None:
    async with Face(mode, services={"web.internal": static(server)}) as face:
        url = f"http://web.internal:{server.port}/"
        await face.get(url)
        server.fault(reset="after")
        with pytest.raises(httpx.TransportError) as caught:
            await face.post(url, content=b"order")
    assert len(caught.value.attempts) == 1
    assert [seen.method for seen in server.requests] == ["GET", "POST"]


async def test_a_cancelled_call_leaves_the_other_idle_connections_alone(server: Server) -> None:
    async with Face("asyncio", services={"web.internal": static(server)}) as face:
        url = f"http://web.internal:{server.port}/slow/0.02"
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(face.get, url)
        opened = server.accepted
        with anyio.move_on_after(0.01):
            await face.get(f"http://web.internal:{server.port}/slow/5")
        for _ in range(4):
            await face.get(url)
    assert opened == 5
    assert server.accepted == 5


async def test_idle_connections_live_for_four_seconds_unless_limits_say_otherwise(mode: str, server: Server) -> None:
    async with Face(mode) as face:
        pool = await _pool_after_a_call(face, server)
        assert pool.options.keepalive_expiry == 4.0


async def _pool_after_a_call(face: Face, server: Server) -> object:
    await face.get(server.url)
    transport = face.client._transport
    return transport._exchange._transports.all()[0].pool
