"""What takes real seconds: idle connections, ``Retry-After``, and how quickly a call is refused."""

import statistics
import time

import anyio
import httpx
import pytest

import resilience
from resilience.http.options import KEEPALIVE
from resilience.lab import Fleet, Server
from tests.http.support import Face, attempts, static


async def fill(face: Face, url: str, size: int) -> list[int]:
    """Make `size` calls at once, so that as many connections are kept; return their statuses."""
    statuses: list[int] = []

    async def one() -> None:
        statuses.append((await face.get(url)).status_code)

    async with anyio.create_task_group() as group:
        for _ in range(size):
            group.start_soon(one)
    return statuses


@pytest.mark.parametrize("given", [True, False])
async def test_a_server_whose_keep_alive_equals_ours_costs_nothing(mode: str, fleet: Fleet, given: bool) -> None:
    """All pooled sockets go stale at once, on both sides in the same instant; then comes the next burst."""
    ours = 1.0 if given else KEEPALIVE
    for server in fleet:
        server.fault(idle_close=ours)
    limits = {"limits": httpx.Limits(max_connections=100, keepalive_expiry=ours)} if given else {}
    async with Face(mode, services={"web.internal": static(*fleet)}, **limits) as face:
        url = f"http://web.internal:{fleet.port}/slow/0.02"
        for early in (0.02, 0.01, 0.0) if given else (0.01,):
            assert set(await fill(face, url, 30)) == {200}
            await anyio.sleep(ours - early)
            assert set(await fill(face, url, 30)) == {200}
        endpoints = face.endpoints(f"web.internal:{fleet.port}")
    assert {endpoint.circuit for endpoint in endpoints.values()} == {"closed"}


async def test_retry_after_is_waited_out_by_the_whole_client(mode: str, server: Server) -> None:
    server.fault(status=503, retry_after=1)
    async with Face(mode, services={"web.internal": static(server, retry=resilience.Retry(max_attempts=2))}) as face:
        begun = time.monotonic()
        response = await face.get(f"http://web.internal:{server.port}/")
        took = time.monotonic() - begun
    assert len(attempts(response)) == 2
    assert took >= 1.0
    assert response.extensions["resilience"].waited >= 1.0


async def test_once_its_circuits_are_open_a_service_refuses_within_ten_milliseconds(mode: str, fleet: Fleet) -> None:
    for server in fleet:
        server.kill()
    service = static(*fleet, circuit=resilience.CircuitBreaker(open_for=60))
    async with Face(mode, services={"web.internal": service}) as face:
        took: list[float] = []
        while len(took) < 50:
            begun = time.perf_counter()
            try:
                await face.get(f"http://web.internal:{fleet.port}/")
            except resilience.CircuitOpenError:
                took.append(time.perf_counter() - begun)
            except httpx.ConnectError:
                continue
    assert statistics.median(took) < 0.010
