"""Bad days on real servers, under open-loop load: what is lost, and who gets the calls. At length: a benchmark."""

import functools
from collections import Counter
from typing import Any

import anyio
import anyio.to_thread
import pytest

import resilience
from resilience.lab import Fleet, run_load
from tests.http.support import CONTEXT, static

RATE, SECONDS = 150.0, 3.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def client_of(fleet: Fleet, **options: Any) -> resilience.AsyncClient:
    service = static(*fleet, **options)
    return resilience.AsyncClient(services={"web.internal": service}, verify=CONTEXT, trust_env=False)


async def load(client: resilience.AsyncClient, rate: float = RATE, seconds: float = SECONDS) -> tuple[Any, int]:
    """Call for a while; return what became of the calls, and how often was sent."""
    sends = 0

    async def call(_number: int) -> str:
        nonlocal sends
        response = await client.get("http://web.internal/")
        sends += len(response.extensions["resilience"].attempts)
        response.raise_for_status()
        return str(response.json()["server"])

    return await run_load(call, rate=rate, seconds=seconds), sends


async def test_one_of_eleven_stuck_loses_no_call_and_is_hardly_sent_to() -> None:
    with Fleet(11, service_time=0.02) as fleet:
        service = {"total_timeout": 1.0, "attempt_timeout": 0.3, "balancer": resilience.PeakEwma()}
        async with client_of(fleet, **service) as client, anyio.create_task_group() as group:

            async def story() -> None:
                await anyio.sleep(SECONDS / 4)
                await anyio.to_thread.run_sync(functools.partial(fleet[0].fault, delay=2.0))

            group.start_soon(story)
            report, sends = await load(client)
    assert report.errors() == {}
    assert sends <= 1.02 * len(report.samples)


async def test_one_of_three_slow_gets_next_to_nothing() -> None:
    with Fleet(3, service_time=0.01) as fleet:
        fleet[0].fault(delay=0.19)
        async with client_of(fleet, balancer=resilience.PeakEwma()) as client:
            report, _ = await load(client)
    assert report.errors() == {}
    assert Counter(sample.label for sample in report.samples)["a"] <= 0.01 * len(report.samples)


@pytest.mark.parametrize("balancer", [resilience.RoundRobin, resilience.LeastRequest, resilience.PeakEwma])
async def test_three_of_ten_refusing_cost_few_sends_and_no_call(balancer: Any) -> None:
    with Fleet(10, service_time=0.01) as fleet:
        for server in fleet.servers[:3]:
            server.fault(status=503)
        async with client_of(fleet, balancer=balancer()) as client:
            before, _ = await load(client, seconds=1.0)  # what circuits and estimates need to find out
            report, sends = await load(client, seconds=2.0)
    assert before.errors() == report.errors() == {}
    assert sends <= 1.05 * len(report.samples)


async def test_a_gray_replica_that_no_circuit_sees_is_ejected() -> None:
    with Fleet(5) as fleet:
        fleet[2].fault(status=500, ratio=0.3)
        ejection = resilience.OutlierEjection(interval=0.5, minimum_calls=10)
        async with client_of(fleet, ejection=ejection) as client:

            async def call(_number: int) -> str:
                return str((await client.get("http://web.internal/")).json()["server"])

            await run_load(call, rate=RATE, seconds=1.5)
            report = await run_load(call, rate=RATE, seconds=1.0)
            found = client.status().services["web.internal:80"].endpoints
    assert [endpoint.ejected for endpoint in found] == [False, False, True, False, False]
    assert Counter(sample.label for sample in report.samples)["c"] == 0


async def test_a_wrong_health_check_takes_nothing_down() -> None:
    with Fleet(4) as fleet:
        for server in fleet:
            server.fault(status=503, path="/broken-check")
        check = resilience.HealthCheck("/broken-check", interval=0.1)
        async with client_of(fleet, health=check) as client:
            await load(client, seconds=1.0)
            report, sends = await load(client, seconds=1.0)
    assert report.errors() == {}
    assert sends == len(report.samples)
