"""Streams nobody closes: they settle when they are collected, and ``status()`` counts those that stay open."""

import threading
import time

import anyio.lowlevel
import pytest

import resilience
from resilience.lab import Server
from tests.http.support import Face, collect, static


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_abandoned_stream_settles_when_it_is_collected(mode: str, server: Server) -> None:
    async with Face(mode, services={"web.internal": static(server, max_in_flight=2)}) as face:
        for _ in range(5):
            response = await face.open("GET", f"http://web.internal:{server.port}/sse")
            assert response.status_code == 200
            del response
            collect()
        assert face.in_flight() == 0
        endpoint = face.endpoints(f"web.internal:{server.port}")[server.address]
        assert (endpoint.circuit, endpoint.ready) == ("closed", True)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
async def test_nor_does_it_hold_its_connection(mode: str, http2: bool) -> None:
    with Server("127.0.0.1", http2=http2, max_streams=3) as spoken:
        async with Face(mode, http1=not http2, http2=http2) as face:
            for _ in range(10):
                response = await face.open("GET", f"{spoken.url}/sse")
                assert response.status_code == 200
                del response
                collect()
                await anyio.lowlevel.checkpoint()
            assert (await face.get(spoken.url)).status_code == 200
            until = time.monotonic() + 20.0
            while spoken.connections > 1 and time.monotonic() < until:
                collect()
                await anyio.lowlevel.checkpoint()
            assert spoken.connections == 1


def test_whoever_waits_for_its_slot_is_woken(server: Server) -> None:
    with resilience.Client(services={"web.internal": static(server, max_in_flight=1)}) as client:
        url = f"http://web.internal:{server.port}"
        held = [client.send(client.build_request("GET", f"{url}/sse"), stream=True)]
        got: list[int] = []
        thread = threading.Thread(target=lambda: got.append(client.get(url).status_code))
        thread.start()
        while client.status().services[f"web.internal:{server.port}"].counts["waiting"] == 0:
            pass
        held.clear()
        collect()
        thread.join(10)
        assert got == [200]


def test_collecting_in_the_midst_of_a_locked_section_locks_nothing_up(server: Server) -> None:
    with resilience.Client(services={"web.internal": static(server)}) as client:
        url = f"http://web.internal:{server.port}"
        held = [client.send(client.build_request("GET", f"{url}/sse"), stream=True)]
        (upstream,) = client._main._upstreams.by_origin.values()
        with upstream.line.lock:  # not re-entrant: settling in here would never return
            held.clear()
            collect()
        assert client.status().services[f"web.internal:{server.port}"].endpoints[0].in_flight == 0


async def test_streams_open_for_over_a_minute_are_counted(mode: str, server: Server) -> None:
    async with Face(mode) as face:
        response = await face.open("GET", f"{server.url}/sse")
        (upstream,) = face.client._main._upstreams.by_origin.values()
        (attempt,) = upstream.room.streams

        def counted() -> int:
            return face.client.status().services[server.address].counts["streams_over_60s"]

        assert counted() == 0
        attempt.answered -= 61.0
        assert counted() == 1
        await face.shut(response)
        assert counted() == 0
