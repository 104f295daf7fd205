"""Nameservers that say nothing: cold calls end by their deadline, warm ones do not notice, and nobody's exit waits."""

import pickle
import time
from contextlib import ExitStack

import httpx
import pytest

import resilience
from resilience.core.outcome import Sent
from resilience.lab import Fleet
from tests.http.support import Face
from tests.real.faults import under_load
from tests.real.nameservers import Dnsmasq
from tests.real.place import Place
from tests.real.programs import run_program

DEADLINE = 1.0
SOON = 1.2
RESOLVERS = {"auto": resilience.Auto(), "dns": resilience.Dns(min_ttl=1)}


@pytest.mark.parametrize("kind", RESOLVERS)
async def test_a_cold_call_ends_by_its_deadline(mode: str, kind: str, dnsmasq: Dnsmasq) -> None:
    dnsmasq.hang()
    service = resilience.Service(discovery=RESOLVERS[kind], total_timeout=DEADLINE)
    took: list[float] = []
    async with Face(mode, defaults=service) as face:
        for number in range(3):  # the machine may be busy: the quickest counts
            # Nobody else's: the system goes on asking for ten seconds, and who asks for the same name shares that.
            name = f"{mode}-{kind}-{number}.internal"
            start = time.monotonic()
            with pytest.raises(resilience.DeadlineExceededError) as caught:
                await face.get(f"http://{name}/")
            took.append(time.monotonic() - start)
            error = caught.value
            assert isinstance(error, httpx.ConnectTimeout)
            assert (error.service, error.sent) == (f"{name}:80", Sent.NO)
            assert pickle.loads(pickle.dumps(error)).service == error.service
        assert face.in_flight() == 0
    assert min(took) < SOON, took


@pytest.mark.parametrize("kind", RESOLVERS)
@pytest.mark.parametrize("state", ["stopped", "ignorant"])
async def test_a_cold_call_to_a_name_that_nobody_knows_says_so(
    mode: str, kind: str, state: str, dnsmasq: Dnsmasq
) -> None:
    if state == "stopped":
        dnsmasq.stop()
    async with Face(mode, defaults=resilience.Service(discovery=RESOLVERS[kind])) as face:
        with pytest.raises(resilience.NoEndpointsError) as caught:
            await face.get("http://nowhere.internal/")
    error = caught.value
    assert isinstance(error, httpx.ConnectError)
    assert error.service == "nowhere.internal:80"
    assert error.request.url.host == "nowhere.internal"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.service, str(again)) == (type(error), error.service, str(error))
    assert "nowhere.internal" in str(error)


@pytest.mark.parametrize("kind", RESOLVERS)
async def test_warm_calls_do_not_notice(mode: str, kind: str, dnsmasq: Dnsmasq, place: Place) -> None:
    hosts = [f"10.77.0.{i}" for i in range(1, 4)]
    with ExitStack() as stack:
        stack.enter_context(place.addresses(*hosts))
        fleet = stack.enter_context(Fleet(3, "10.77.0.{i}"))
        dnsmasq.set("web.internal", fleet.hosts)
        service = resilience.Service(discovery=RESOLVERS[kind], total_timeout=DEADLINE)
        async with Face(mode, services={"web.internal": service}) as face:
            url = f"http://web.internal:{fleet.port}/"
            await face.get(url)
            dnsmasq.hang()
            report = await under_load(face, mode, url, (), seconds=3.0)
            resolution = face.client.status().services[f"web.internal:{fleet.port}"].resolution
    assert resolution.source == "dns"
    assert not report.failed
    assert report.quantile(0.5) < 0.1
    assert report.shares() == {name: pytest.approx(1 / 3, rel=0.1) for name in "abc"}


HUNG_LOOKUP = """
    import asyncio, sys, threading
    import httpx, resilience
    blocking, host = sys.argv[1:]
    service = resilience.Service(total_timeout=0.3, discovery=resilience.Auto())
    other = resilience.Service(total_timeout=0.3, discovery=resilience.Dns())
    names = {"services": {"auto.internal": service, "dns.internal": other}}
    urls = [f"http://{name}.internal/" for name in ("auto", "dns")] + [host]
    if blocking == "yes":
        client = resilience.Client(**names)
        for url in urls:
            try:
                client.get(url)
            except httpx.ConnectTimeout:
                print("cut")
    else:
        async def main():
            client = resilience.AsyncClient(**names)
            for url in urls:
                try:
                    await client.get(url)
                except httpx.ConnectTimeout:
                    print("cut")
            if blocking == "closed":
                await client.aclose()
        asyncio.run(main())
    print("the end", flush=True)
"""


@pytest.mark.parametrize("blocking", ["yes", "no", "closed"])
def test_exit_waits_for_no_lookup_and_no_client(blocking: str, dnsmasq: Dnsmasq, place: Place) -> None:
    with Fleet(1) as fleet:
        dnsmasq.hang()
        ran = run_program(HUNG_LOOKUP, blocking, fleet[0].url)
    assert ran.code == 0, ran.errors
    assert ran.said == ["cut", "cut", "the end"], ran.errors
    assert ran.errors == ""
    assert ran.lingered < 3.0  # a lookup takes ten
