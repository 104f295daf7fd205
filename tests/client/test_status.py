"""``status()`` and ``describe()``: what a client knows, and what it was told."""

import dataclasses
import threading
import time
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import tenacity

import resilience
from resilience.health import App
from resilience.lab import Fleet, Server
from resilience.testing import Script, ScriptedDns, virtual
from tests.http.support import CONTEXT, Face, static

Service = resilience.Service


async def test_the_fields_of_the_contract(mode: str, fleet: Fleet) -> None:
    fleet[0].fault(status=503)
    name = f"web.internal:{fleet.port}"
    async with Face(mode, services={"web.internal": static(*fleet)}) as face:
        assert face.client.status().services == {}
        for _ in range(30):
            await face.get(f"http://{name}/")
        service = face.client.status().services[name]
    by_address = {endpoint.address: endpoint for endpoint in service.endpoints}
    assert set(by_address) == set(fleet.addresses)
    sick, well = by_address[fleet[0].address], by_address[fleet[1].address]
    assert (sick.ready, sick.not_ready_because, sick.circuit, sick.healthy) == (False, ("circuit",), "open", True)
    assert (well.ready, well.not_ready_because, well.circuit, well.in_flight, well.weight) == (
        True,
        (),
        "closed",
        0,
        1.0,
    )
    assert well.latency is not None
    assert 0 < well.latency < 5
    assert service.resolution is not None
    assert (service.resolution.source, service.resolution.fleet) == ("static", True)
    assert isinstance(service.budget, float)


async def test_counts_are_real_numbers(mode: str, fleet: Fleet) -> None:
    name = f"web.internal:{fleet.port}"
    services = {"web.internal": static(fleet[0], circuit=None, retry=resilience.Retry(wait=0.001))}
    async with Face(mode, services=services) as face:
        for _ in range(4):
            await face.get(f"http://{name}/")
        fleet[0].fault(status=503)
        for _ in range(2):
            await face.get(f"http://{name}/")
        fleet[0].fault(reset="after")
        for _ in range(3):
            with pytest.raises(httpx.TransportError):
                await face.post(f"http://{name}/")
        counts = face.client.status().services[name].counts
    assert counts == {"calls": 9, "attempts": 4 + 6 + 3, "failed": 5, "waiting": 0, "streams_over_60s": 0}


def test_counts_of_threads_add_up() -> None:
    with resilience.Client(
        transport=httpx.MockTransport(lambda _request: httpx.Response(200)), verify=CONTEXT
    ) as client:

        def work() -> None:
            for _ in range(50):
                client.get("http://web.internal/")

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counts = client.status().services["web.internal:80"].counts
    assert (counts["calls"], counts["attempts"]) == (400, 400)


async def test_a_snapshot_does_not_change(mode: str, server: Server) -> None:
    async with Face(mode) as face:
        await face.get(server.url)
        before = face.client.status()
        await face.get(server.url)
        after = face.client.status()
    assert before.services[server.address].counts["calls"] == 1
    assert after.services[server.address].counts["calls"] == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        before.services[server.address].endpoints[0].ready = False


async def test_names_are_shown_with_their_port_and_found_however_they_are_spelled(mode: str, server: Server) -> None:
    services = {
        "Web.Internal": static(server),
        "müller.test": static(server),
        f"other.test:{server.port}": static(server),
    }
    async with Face(mode, services=services) as face:
        for host in ("web.internal", "WEB.INTERNAL", "müller.test", "xn--mller-kva.test", "other.test"):
            assert (await face.get(f"http://{host}:{server.port}/")).status_code == 200
        met = set(face.client.status().services)
    assert met == {f"{host}:{server.port}" for host in ("web.internal", "xn--mller-kva.test", "other.test")}


async def test_host_and_port_win_over_the_host(mode: str, fleet: Fleet) -> None:
    services = {"web.internal": static(fleet[0]), f"web.internal:{fleet.port}": static(fleet[1])}
    async with Face(mode, services=services) as face:
        assert (await face.get(f"http://web.internal:{fleet.port}/")).json()["server"] == "b"
        assert (await face.get("http://web.internal/")).json()["server"] == "a"
        assert (await face.get("http://web.internal:80/")).json()["server"] == "a"
        assert set(face.client.status().services) == {f"web.internal:{fleet.port}", "web.internal:80"}


def warnings_of(service: Service, **arguments: Any) -> list[str]:
    with resilience.Client(services={"web": service}, verify=CONTEXT, **arguments) as client:
        return [warning.partition(": ")[2] for warning in client.describe().warnings if warning.startswith("web: ")]


def test_the_defaults_leave_no_doubt() -> None:
    with resilience.Client(verify=CONTEXT) as client:
        assert client.describe().warnings == ()


def test_policies_are_told_outermost_first() -> None:
    with resilience.Client(services={"web": Service(total_timeout=2, attempt_timeout=0.5)}, verify=CONTEXT) as client:
        policies = client.describe().services["web"].policies
    order = ["deadline", "retry", "budget", "discovery", "balancer", "in flight", "circuit", "attempt"]
    assert [policy.partition(":")[0] for policy in policies] == order
    assert "2 s" in policies[0]
    assert "max_attempts=3" in policies[1]


def test_dropped_policies_are_told_as_such() -> None:
    with resilience.Client(services={"web": Service(retry=None, circuit=None)}, verify=CONTEXT) as client:
        text = str(client.describe())
    assert "circuit: none" in text


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        (Service(attempt_timeout=40), "attempt_timeout=40 s never acts"),
        (Service(total_timeout=1, attempt_timeout=1), "attempt_timeout=1 s never acts"),
        (Service(total_timeout=1, attempt_timeout=0.5), "3 attempts of 0.5 s do not fit into the deadline of 1 s"),
        (Service(total_timeout=2), "one attempt that hangs takes the whole deadline of 2 s"),
        (Service(total_timeout=2, attempt_timeout=0.1, retry=resilience.Retry(wait=3)), "waits of up to 3 s go beyond"),
        (
            Service(
                total_timeout=2,
                attempt_timeout=0.1,
                retry=resilience.Retry(wait=resilience.full_jitter(1, 60), max_attempts=5),
            ),
            "waits of up to 8 s go beyond",
        ),
        (
            Service(retry=resilience.Retry(wait=tenacity.wait_exponential(multiplier=40))),
            "waits of up to 80 s go beyond the deadline of 30 s",
        ),
        (Service(budget=None), "retries without a budget"),
        (Service(retry=resilience.Retry(budget=False)), "retries without a budget"),
        (Service(budget=None, retry=None, hedge=resilience.Hedge(after=0.1)), "hedge without a budget"),
        (Service(hedge=resilience.Hedge(after=0.1, budget=False)), "hedge without a budget"),
        (
            Service(retry=resilience.Retry(1), hedge=resilience.Hedge(after=0.1)),
            "hedge never acts: max_attempts=1 of the retry allows one send",
        ),
        (Service(discovery=resilience.Static(["10.0.0.1:80"])), "balancing over one address does nothing"),
        (
            Service(circuit=resilience.CircuitBreaker(minimum_calls=10**8, consecutive_failures=10**8)),
            "this circuit can never open",
        ),
        (Service(circuit=resilience.CircuitBreaker(minimum_calls=10**8)), "never opens by its ratio"),
    ],
)
def test_what_is_doubtful_is_said(service: Service, expected: str) -> None:
    found = warnings_of(service)
    assert len(found) == 1, found
    assert expected in found[0]


@pytest.mark.parametrize(
    "service",
    [
        Service(),
        Service(total_timeout=2, attempt_timeout=0.5),
        Service(total_timeout=2, retry=None),
        Service(total_timeout=2, retry=resilience.Retry(max_attempts=1)),
        Service(budget=None, retry=None),
        Service(budget=None, retry=resilience.Retry(budget=resilience.RetryBudget())),
        Service(hedge=resilience.Hedge(after=0.1)),
        Service(retry=None, hedge=resilience.Hedge(after=0.1)),
        Service(budget=None, retry=None, hedge=resilience.Hedge(after=0.1, budget=resilience.RetryBudget())),
        Service(retry=resilience.Retry(wait=lambda state: state.outcome.result())),
        Service(discovery=resilience.Static(["10.0.0.1:80", "10.0.0.2:80"])),
        Service(circuit=None),
    ],
)
def test_what_is_not_doubtful_is_not(service: Service) -> None:
    assert warnings_of(service) == []


class Peer(httpx.BaseTransport):
    """As httpx-retries' transport looks from outside."""

    retry = SimpleNamespace(total=2)


Peer.__module__ = "httpx_retries.transport"


@pytest.mark.parametrize("below", [lambda: httpx.HTTPTransport(retries=2), Peer])
def test_retries_stacked_on_httpxs_own_or_on_a_peers(below: Any) -> None:
    (found,) = warnings_of(Service(), transport=below())
    assert "retries 2 times itself: up to 9 sends a call" in found
    assert warnings_of(Service(retry=None), transport=below()) == []


def test_a_service_once_met_is_described_as_it_was_found(server: Server) -> None:
    with resilience.Client(services={"web.internal": static(server)}, verify=CONTEXT) as client:
        client.get(f"http://web.internal:{server.port}/")
        found = client.describe().services
        assert set(found) == {f"web.internal:{server.port}", "defaults"}
        assert "a fleet of 1 (static" in str(found[f"web.internal:{server.port}"])
        assert "warning: balancing over one address" in str(client.describe())


def test_an_endpoint_whose_name_nobody_knows_is_not_ready_until_it_is_time_to_ask_again() -> None:
    with virtual() as clock:
        dns = ScriptedDns({0: "nxdomain", 200: "servfail", 300: ["10.0.0.1"]}, max_ttl=10.0)
        with resilience.Client(transport=Script([], then=200), defaults=Service(discovery=dns)) as client:
            app = App(requires={"web.internal": client})

            def known() -> tuple[bool, tuple[str, ...], int]:
                (endpoint,) = client.status().services["web.internal:80"].endpoints
                return endpoint.ready, endpoint.not_ready_because, app.ready().code

            def call() -> None:
                with pytest.raises(resilience.NoEndpointsError):
                    client.get("http://web.internal/")

            call()
            assert known() == (False, ("unresolved",), 503)
            time.sleep(60.0)
            assert known() == (False, ("unresolved",), 503)  # asked again meanwhile
            time.sleep(100.0)
            assert known() == (True, (), 200)  # nobody has asked for long: a call may find out
            time.sleep(50.0)
            call()
            assert known() == (False, ("unresolved",), 503)
            time.sleep(200.0)
            assert client.get("http://web.internal/").status_code == 200
            assert known() == (True, (), 200)
        assert clock.elapsed > 400.0
