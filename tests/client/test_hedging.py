"""Hedge in a client: another endpoint, within the budget, never a POST, and nothing left behind."""

import io

import httpx
import pytest

import resilience
from resilience.lab import Fleet
from tests.http.support import Face, static

SERVICE = "service.test:80"
URL = "http://service.test/"
SOON = 0.02


def two(fleet: Fleet, **options):
    """Two replicas, the first of which may be made to hang."""
    options.setdefault("hedge", resilience.Hedge(after=SOON))
    return {"service.test": static(fleet[0], fleet[1], **options)}


async def test_a_hung_replica_is_overtaken_and_its_send_ended(fleet: Fleet, mode: str):
    async with Face(mode, services=two(fleet, circuit=None)) as client:
        fleet[0].hang()
        for _ in range(6):
            response = await client.get(URL)
            assert response.json()["server"] == fleet[1].name
        fleet[0].resume()
        while client.in_flight():  # losers end by themselves, without the server's answer
            await client.get(URL)


async def test_the_second_send_goes_to_the_other_replica_and_is_on_record(fleet: Fleet, mode: str):
    async with Face(mode, services=two(fleet)) as client:
        fleet[0].hang()
        records = [(await client.get(URL)).extensions["resilience"].attempts for _ in range(2)]
        both = next(attempts for attempts in records if len(attempts) == 2)
        assert [attempt.number for attempt in both] == [1, 2]
        assert [attempt.endpoint for attempt in both] == [fleet[0].address, fleet[1].address]
        assert both[1].status == 200
        fleet[0].resume()


async def test_what_may_not_be_repeated_is_sent_once(fleet: Fleet, mode: str):
    fleet[0].fault(delay=5 * SOON)
    fleet[1].fault(delay=5 * SOON)
    async with Face(mode, services=two(fleet)) as client:
        for _ in range(4):
            assert (await client.post(URL, content=b"order")).status_code == 200
        assert sum(server.count for server in fleet[:2]) == 4
        for _ in range(4):
            await client.get(URL)
        assert sum(server.count for server in fleet[:2]) > 8


async def test_a_file_is_sent_once(fleet: Fleet, mode: str):
    """Two sends at a time would read it between them: each would send half of it, or what the other had read twice."""
    for server in fleet[:2]:
        server.fault(delay=5 * SOON)
    bodies = [{"files": {"form": io.BytesIO(b"file")}}, {"content": b"bytes"}, {"files": {"form": b"bytes"}}]
    if mode == "threads":  # httpx takes a file alone from blocking callers only
        bodies.append({"content": io.BytesIO(b"file")})
    async with Face(mode, services=two(fleet)) as client:
        responses = [await client.request("PUT", URL, **body) for body in bodies]
    sends = [len(response.extensions["resilience"].attempts) for response in responses]
    assert sends == [1, 2, 2, 1][: len(bodies)]


async def test_a_hedge_does_not_stand_in_line_for_the_clients_last_connection(fleet: Fleet, mode: str):
    """There it would be let in by the first send's end, and ask for what is there already."""
    for server in fleet[:2]:
        server.fault(delay=5 * SOON)
    async with Face(mode, services=two(fleet), limits=httpx.Limits(max_connections=1)) as client:
        records = [(await client.get(URL)).extensions["resilience"].attempts for _ in range(4)]
        assert client.client.status().services[SERVICE].counts["attempts"] == 4
    assert [len(attempts) for attempts in records] == [1] * 4


async def test_extra_sends_are_paid_for_by_the_services_budget(fleet: Fleet, mode: str):
    budget = resilience.RetryBudget(0.0, min_per_second=0.3)  # three in ten seconds
    for server in fleet[:2]:
        server.fault(delay=5 * SOON)
    async with Face(mode, services=two(fleet, budget=budget, retry=None)) as client:
        sent = [len((await client.get(URL)).extensions["resilience"].attempts) for _ in range(10)]
    assert sum(sent) <= 13


async def test_a_slow_replica_that_loses_is_blamed(fleet: Fleet, mode: str):
    circuit = resilience.CircuitBreaker(consecutive_failures=2, open_for=60.0)
    services = two(fleet, hedge=resilience.Hedge(after=0.06), circuit=circuit)
    async with Face(mode, services=services) as client:
        await client.get(URL)
        for endpoint in next(iter(client.client._main._upstreams.by_origin.values())).endpoints:
            endpoint.usual = 0.001  # both are known to be fast
        fleet[0].hang()
        for _ in range(8):
            await client.get(URL)
        assert client.endpoints(SERVICE)[fleet[0].address].circuit == "open"
        assert client.endpoints(SERVICE)[fleet[1].address].circuit == "closed"
        fleet[0].resume()


async def test_the_winners_body_stays_readable(fleet: Fleet, mode: str):
    async with Face(mode, services=two(fleet)) as client:
        fleet[0].hang()
        for _ in range(4):
            response = await client.open("GET", f"{URL}bytes/100000")
            assert response.status_code in {200, 404}
            body = await client.read(response)
            assert len(body) == int(response.headers.get("content-length", len(body)))
            await client.shut(response)
        fleet[0].resume()


async def test_one_origin_is_asked_twice_too(fleet: Fleet, mode: str):
    services = {"service.test": static(fleet[0], hedge=resilience.Hedge(after=SOON))}
    fleet[0].fault(delay=5 * SOON)
    async with Face(mode, services=services) as client:
        response = await client.get(URL)
        assert len(response.extensions["resilience"].attempts) == 2


@pytest.mark.parametrize("state", ["open", "half-open"])
async def test_a_hedge_never_probes_and_never_goes_where_the_first_send_is(fleet: Fleet, mode: str, state: str):
    async with Face(mode, services=two(fleet)) as client:
        await client.get(URL)
        upstream = next(iter(client.client._main._upstreams.by_origin.values()))
        circuit = upstream.endpoints[1].circuit
        for server in fleet[:2]:
            server.fault(delay=5 * SOON)
        for _ in range(3):
            circuit.force("closed", upstream.runtime.now())
            circuit.force(state, upstream.runtime.now())
            attempts = (await client.get(URL)).extensions["resilience"].attempts
            if attempts[0].endpoint == fleet[0].address:
                assert len(attempts) == 1
