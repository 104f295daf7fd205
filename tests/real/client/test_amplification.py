"""What a dead or sick backend gets to see: the budget bounds it, circuits or not."""

import httpx
import pytest

import resilience
from resilience.lab import Server, run_load
from tests.http.support import CONTEXT, MODES, static

SECONDS, RATE = 10.0, 100.0


@pytest.mark.parametrize("mode", MODES[:2])
async def test_a_backend_that_fails_gets_at_most_a_fifth_more_and_thirty(mode: str, server: Server) -> None:
    server.fault(status=503)
    service = static(server, circuit=None)
    async with resilience.AsyncClient(services={"web.internal": service}, verify=CONTEXT) as client:

        async def one(_number: int) -> str:
            return str((await client.get(f"http://web.internal:{server.port}/")).status_code)

        report = await run_load(one, rate=RATE, seconds=SECONDS)
        counts = client.status().services[f"web.internal:{server.port}"].counts
    calls = len(report.samples)
    assert report.shares() == {"503": 1.0}
    assert server.count == counts["attempts"]
    assert calls + 30 <= server.count <= 1.2 * calls + 30


@pytest.mark.parametrize("mode", MODES[:1])
async def test_a_backend_that_is_gone_too(mode: str, server: Server) -> None:
    server.kill()
    service = static(server, circuit=None)
    async with resilience.AsyncClient(services={"web.internal": service}, verify=CONTEXT) as client:

        async def one(_number: int) -> str:
            with pytest.raises(httpx.ConnectError):
                await client.get(f"http://web.internal:{server.port}/")
            return "refused"

        report = await run_load(one, rate=RATE, seconds=SECONDS)
        counts = client.status().services[f"web.internal:{server.port}"].counts
    assert report.errors() == {}
    assert counts["attempts"] <= 1.2 * len(report.samples) + 30


async def test_once_its_circuit_is_open_it_gets_probes_only(mode: str, server: Server) -> None:
    server.fault(status=503)
    service = static(server)
    if mode == "threads":
        with resilience.Client(services={"web.internal": service}, verify=CONTEXT) as client:
            for _ in range(200):
                try:
                    client.get(f"http://web.internal:{server.port}/")
                except resilience.CircuitOpenError:
                    continue
    else:
        async with resilience.AsyncClient(services={"web.internal": service}, verify=CONTEXT) as aclient:
            for _ in range(200):
                try:
                    await aclient.get(f"http://web.internal:{server.port}/")
                except resilience.CircuitOpenError:
                    continue
    assert server.count <= 40
