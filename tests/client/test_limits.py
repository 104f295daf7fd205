"""``limits=`` counts over the whole client, ``max_in_flight`` per endpoint; beyond them calls queue, in their order."""

import threading

import anyio
import httpx
import pytest

import resilience
from resilience.lab import Fleet, Server
from tests.http.support import CONTEXT, MODES, Census, Face, attempts, static


@pytest.mark.parametrize("mode", MODES[:2])
async def test_three_hundred_gets_at_once_all_succeed(mode: str, fleet: Fleet) -> None:
    statuses: list[int] = []
    # On a machine that stands still for a second a dial would be given up for one elsewhere, and accepted all the same.
    services = {"web.internal": static(*fleet, connect_timeout=30.0)}
    async with resilience.AsyncClient(services=services, verify=CONTEXT) as client:

        async def one() -> None:
            statuses.append((await client.get(f"http://web.internal:{fleet.port}/")).status_code)

        async with anyio.create_task_group() as group:
            for _ in range(300):
                group.start_soon(one)
    assert statuses == [200] * 300
    assert all(server.accepted <= 100 for server in fleet)


@pytest.mark.parametrize("mode", MODES[:2])
async def test_three_hundred_gets_of_one_endpoint_queue(mode: str, server: Server) -> None:
    statuses: list[int] = []
    async with resilience.AsyncClient(verify=CONTEXT) as client:

        async def one() -> None:
            statuses.append((await client.get(server.url)).status_code)

        async with anyio.create_task_group() as group:
            for _ in range(300):
                group.start_soon(one)
        (service,) = client.status().services.values()
        assert (service.counts["calls"], service.counts["waiting"]) == (300, 0)
    assert statuses == [200] * 300
    assert server.accepted <= 100


@pytest.mark.parametrize("mode", MODES[:2])
async def test_max_connections_bounds_all_endpoints_and_services_together(
    mode: str, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    census = Census(monkeypatch)
    services = {"one.internal": static(*fleet), "two.internal": static(*fleet)}
    limits = httpx.Limits(max_connections=4)
    async with resilience.AsyncClient(services=services, limits=limits, verify=CONTEXT, timeout=30) as client:

        async def one(number: int) -> None:
            name = ("one", "two")[number % 2]
            response = await client.get(f"http://{name}.internal:{fleet.port}/slow/0.005")
            assert response.status_code == 200

        async with anyio.create_task_group() as group:
            for number in range(60):
                group.start_soon(one, number)
        assert sum(e.in_flight for s in client.status().services.values() for e in s.endpoints) == 0
        total = client._main._total
        assert (total.taken, total.limit) == (0, 4)
    assert (census.most, census.open) == (4, 0)


def test_max_connections_bounds_threads_too(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    census = Census(monkeypatch)
    limits = httpx.Limits(max_connections=3)
    failures: list[Exception] = []
    with resilience.Client(
        services={"web.internal": static(*fleet)}, limits=limits, verify=CONTEXT, timeout=30
    ) as client:

        def work() -> None:
            try:
                for _ in range(5):
                    client.get(f"http://web.internal:{fleet.port}/slow/0.002").raise_for_status()
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client._main._total.taken == 0
    assert failures == []
    assert (census.most, census.open) == (3, 0)


async def test_max_connections_may_exceed_the_default_of_an_endpoint(mode: str, server: Server) -> None:
    async with Face(mode, limits=httpx.Limits(max_connections=500)) as face:
        await face.get(server.url)
        (upstream,) = face.client._main._upstreams.by_origin.values()
        assert upstream.endpoints[0].slots.limit == 500


async def test_max_keepalive_connections_bounds_what_is_kept(mode: str, fleet: Fleet) -> None:
    async with Face(
        mode, services={"web.internal": static(*fleet)}, limits=httpx.Limits(max_keepalive_connections=1)
    ) as face:
        for _ in range(9):
            await face.get(f"http://web.internal:{fleet.port}/")
        transports = face.client._main._exchange._transports.all()
        assert sum(transport.pool.idle_count() for transport in transports) == 1


async def test_keepalive_expiry_is_httpx_own(mode: str, server: Server) -> None:
    async with Face(mode, limits=httpx.Limits(keepalive_expiry=0.0)) as face:
        for _ in range(3):
            await face.get(server.url)
    assert server.accepted == 3


async def test_a_full_service_is_an_overload_after_the_pool_timeout(mode: str, server: Server) -> None:
    timeout = httpx.Timeout(5.0, pool=0.02)
    services = {"web.internal": static(server, max_in_flight=1)}
    async with Face(mode, services=services, timeout=timeout) as face:
        url = f"http://web.internal:{server.port}"
        held = await face.open("GET", f"{url}/sse")
        with pytest.raises(resilience.OverloadedError) as caught:
            await face.post(url, content=b"order")
        assert isinstance(caught.value, httpx.PoolTimeout)
        assert "all slots of its 1 ready endpoint" in str(caught.value)
        await face.shut(held)
        assert (await face.post(url, content=b"order")).status_code == 200
        endpoint = face.endpoints(f"web.internal:{server.port}")[server.address]
        assert (endpoint.circuit, endpoint.in_flight) == ("closed", 0)
    assert [seen.method for seen in server.requests] == ["GET", "POST"]


async def test_a_full_client_says_so(mode: str, fleet: Fleet) -> None:
    timeout = httpx.Timeout(5.0, pool=0.02)
    limits = httpx.Limits(max_connections=1)
    async with Face(mode, services={"web.internal": static(*fleet)}, timeout=timeout, limits=limits) as face:
        held = await face.open("GET", f"http://web.internal:{fleet.port}/sse")
        with pytest.raises(resilience.OverloadedError, match="max_connections=1"):
            await face.get(f"http://web.internal:{fleet.port}/")
        assert face.in_flight() == 1
        await face.shut(held)
        assert (await face.get(f"http://web.internal:{fleet.port}/")).status_code == 200


async def test_a_full_endpoint_sends_calls_to_another(mode: str, fleet: Fleet) -> None:
    async with Face(mode, services={"web.internal": static(*fleet, max_in_flight=1)}) as face:
        url = f"http://web.internal:{fleet.port}"
        held = [await face.open("GET", f"{url}/sse") for _ in range(2)]
        for _ in range(4):
            response = await face.get(url)
            assert len(attempts(response)) == 1
        for response in held:
            await face.shut(response)
        assert face.in_flight() == 0


@pytest.mark.parametrize("mode", MODES[:2])
async def test_whoever_queues_longest_is_served_first(mode: str, server: Server) -> None:
    order: list[int] = []
    async with resilience.AsyncClient(
        services={"web.internal": static(server, max_in_flight=1)}, verify=CONTEXT
    ) as client:

        async def one(number: int) -> None:
            await client.get(f"http://web.internal:{server.port}/{number}")
            order.append(number)

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(one, number)
                for _ in range(20):  # let it get into the line before the next one comes
                    await anyio.lowlevel.checkpoint()
    assert order == sorted(order)


@pytest.mark.parametrize("value", [0, -1, True, 1.5])
def test_a_limit_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(resilience.ConfigurationError) as caught:
        resilience.Client(limits=httpx.Limits(max_connections=value), verify=CONTEXT)  # type: ignore[arg-type]
    assert "max_connections" in str(caught.value)
