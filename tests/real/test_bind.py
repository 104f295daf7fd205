"""BIND with dynamic updates: large answers, services with weights and tiers, moves, absences that say for how long."""

import asyncio
import ipaddress
import time
from collections.abc import Iterator

import anyio
import pytest

import resilience
from resilience.core.resolution import Target
from resilience.discovery.auto import Auto
from resilience.lab import Fleet
from resilience.runtimes.anyio import ANYIO
from tests.http.support import Face
from tests.real.faults import Act, under_load
from tests.real.nameservers import Bind
from tests.real.place import Place

NAME = "web.internal"


def many(count: int) -> list[str]:
    first = int(ipaddress.ip_address("10.100.0.1"))
    return [str(ipaddress.ip_address(first + number)) for number in range(count)]


@pytest.fixture
def fleet(place: Place) -> Iterator[Fleet]:
    """Four replicas on private addresses."""
    with place.addresses(*(f"10.77.0.{i}" for i in range(1, 5))), Fleet(4, "10.77.0.{i}") as running:
        yield running


@pytest.mark.parametrize("count", [150, 4000])
@pytest.mark.parametrize("kind", ["dns", "auto"])
def test_more_addresses_than_fit_into_a_packet_come_by_tcp(kind: str, count: int, bind: Bind) -> None:
    addresses = many(count)
    for start in range(0, count, 500):
        bind.add(NAME, "A", addresses[start : start + 500], ttl=7)

    async def resolve() -> None:
        resolver = resilience.Dns() if kind == "dns" else Auto()
        found = await resolver.resolve(Target(NAME, 80), deadline=ANYIO.now() + 5.0)
        assert [replica.address.host for replica in found.replicas] == addresses
        assert (found.fleet, found.source, found.ttl) == (True, "dns", 7.0)

    asyncio.run(resolve())


async def test_a_fleet_of_four_thousand_is_called(mode: str, bind: Bind, fleet: Fleet) -> None:
    for start in range(0, 4000, 500):
        bind.add(NAME, "A", many(4000)[start : start + 500])
    service = resilience.Service(discovery=resilience.Dns(min_ttl=1), total_timeout=5.0, retry=None)
    async with Face(mode, services={NAME: service}) as face:
        url = f"http://{NAME}:{fleet.port}/"
        with pytest.raises(Exception, match=r"."):  # nobody is at any of those, and to read them all takes its time
            await face.get(url, timeout=0.2)
        until = time.monotonic() + 5.0
        while len(face.endpoints(f"{NAME}:{fleet.port}")) < 4000 and time.monotonic() < until:
            await anyio.sleep(0.05)
        assert len(face.endpoints(f"{NAME}:{fleet.port}")) == 4000
        bind.set(NAME, "A", fleet.hosts)
        report = await under_load(face, mode, url, (), seconds=3.0, rate=50.0)
        assert len(face.endpoints(f"{NAME}:{fleet.port}")) == 4
    assert not report.between(2.0).failed


async def test_services_have_their_weights_and_tiers_and_follow_changes(
    mode: str, bind: Bind, fleet: Fleet, place: Place
) -> None:
    records = []
    for number, host in enumerate(fleet.hosts):
        bind.set(f"s{number}.internal", "A", [host])
        priority, weight = (10, 30 if number == 0 else 10) if number < 3 else (20, 10)
        records.append(f"{priority} {weight} {fleet.port} s{number}.internal.")
    bind.set("_http._tcp.web.internal", "SRV", records)
    service = resilience.Service(discovery=resilience.Dns("_http._tcp.web.internal", min_ttl=1))

    def lose_the_first_tier() -> None:
        bind.set("_http._tcp.web.internal", "SRV", records[3:])
        for server in fleet.servers[:3]:
            server.kill()

    async with Face(mode, services={"web": service}) as face:
        report = await under_load(face, mode, "http://web/", [(2.0, lose_the_first_tier)], seconds=4.0)
    assert not report.failed, report.errors()
    shares = report.shares(until=1.9)
    about = {"a": 0.6, "b": 0.2, "c": 0.2}
    assert shares == {name: pytest.approx(share, rel=0.1) for name, share in about.items()}
    assert report.shares(since=3.5) == {"d": 1.0}


@pytest.mark.parametrize("mode", ["asyncio"])
async def test_an_absence_is_believed_at_last_and_ends_at_once(mode: str, bind: Bind, fleet: Fleet) -> None:
    bind.set(NAME, "A", fleet.hosts)
    events: list[object] = []
    service = resilience.Service(discovery=resilience.Dns(min_ttl=0.3))
    async with Face(mode, services={NAME: service}, listeners=[events.append]) as face:
        url = f"http://{NAME}:{fleet.port}/"
        acts: list[Act] = [(0.5, lambda: bind.set(NAME, "A", [])), (7.0, lambda: bind.set(NAME, "A", fleet.hosts))]
        report = await under_load(face, mode, url, acts, seconds=9.0, rate=50.0)
    assert not report.between(0.0, 3.0).failed  # the last good set stands for three such answers
    refused = report.between(5.5, 6.9)
    assert len(refused.failed) == len(refused.samples)
    assert all("NoEndpointsError" in (sample.error or "") for sample in refused.failed)
    assert not report.between(8.5).failed
    names = [event.name for event in events]  # type: ignore[attr-defined]
    assert names.count("endpoints_changed") == 3
    assert names.count("resolution_failed") >= 4


async def test_aliases_are_followed_and_circles_are_not(mode: str, bind: Bind, fleet: Fleet) -> None:
    bind.set("real.internal", "A", fleet.hosts)
    for number in range(6):
        following = f"alias{number + 1}.internal." if number < 5 else "real.internal."
        bind.set(f"alias{number}.internal", "CNAME", [following])
    bind.set("round.internal", "CNAME", ["about.internal."])
    bind.set("about.internal", "CNAME", ["round.internal."])
    async with Face(mode, defaults=resilience.Service(discovery=resilience.Dns())) as face:
        response = await face.get(f"http://alias0.internal:{fleet.port}/")
        assert response.status_code == 200
        with pytest.raises(resilience.NoEndpointsError, match="round.internal"):
            await face.get(f"http://round.internal:{fleet.port}/")
