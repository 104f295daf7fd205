"""Ejection, panic and slow start, as a client lives through them: real servers, every kind of client."""

import math
from collections import Counter
from typing import Any

import pytest

import resilience
from resilience.core.events import EndpointEjected, EndpointReturned, Event, HealthChanged, PanicChanged
from resilience.lab import Fleet
from tests.http.support import Face, static

MANY = 20_000
"""Calls after which what is waited for will not happen any more."""
WEB = "http://web.internal/"


class Heard(list[Event]):
    """A listener that keeps what it hears."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self if isinstance(event, kind)]


def eager(**options: Any) -> resilience.OutlierEjection:
    return resilience.OutlierEjection(**{"interval": 0.02, "minimum_calls": 5, **options})


async def call_until(face: Face, done: Any) -> None:
    for _ in range(MANY):
        await face.get(WEB)
        if done():
            return
    pytest.fail("it never happened")


async def test_who_fails_more_often_than_the_others_is_left_out_and_comes_back(mode: str, fleet: Fleet) -> None:
    heard = Heard()
    service = static(*fleet, ejection=eager(base=0.05, longest=0.05), circuit=None, retry=None)
    fleet[1].fault(status=500, ratio=0.5)
    async with Face(mode, services={"web.internal": service}, listeners=[heard]) as face:
        await call_until(face, lambda: heard.of(EndpointReturned))
        (sick, *_) = heard.of(EndpointEjected)
        assert sick.endpoint == fleet[1].address
        assert sick.rate < sick.expected < 1.0
        assert sick.ejected_for == pytest.approx(0.05, rel=0.3)
        assert {event.endpoint for event in heard.of(EndpointReturned)} == {fleet[1].address}


async def test_an_ejected_endpoint_gets_no_calls_and_is_named_so(mode: str, fleet: Fleet) -> None:
    heard = Heard()
    service = static(*fleet, ejection=eager(), circuit=None, retry=None)
    fleet[1].fault(status=500, ratio=0.5)
    async with Face(mode, services={"web.internal": service}, listeners=[heard]) as face:
        await call_until(face, lambda: heard.of(EndpointEjected))
        seen = Counter([(await face.get(WEB)).json()["server"] for _ in range(30)])
        endpoints = face.endpoints("web.internal:80")
        described = str(face.client.describe())
    assert set(seen) == {"a", "c"}
    out = endpoints[fleet[1].address]
    assert (out.ejected, out.ready, out.not_ready_because) == (True, False, ("ejected",))
    assert "ejection: OutlierEjection(" in described


async def test_when_all_fail_alike_nobody_is_ejected_and_one_is_always_kept(mode: str, fleet: Fleet) -> None:
    heard = Heard()
    service = static(*fleet, ejection=eager(max_ejected=1.0), circuit=None, retry=None)
    for server in fleet:
        server.fault(status=500)
    async with Face(mode, services={"web.internal": service}, listeners=[heard]) as face:
        for _ in range(200):
            await face.get(WEB)
    assert heard.of(EndpointEjected) == []


async def test_in_a_panic_health_is_ignored_once_for_all(mode: str, fleet: Fleet) -> None:
    heard = Heard()
    check = resilience.HealthCheck("/health", interval=0.02, fall=1)
    for server in (fleet[0], fleet[2]):
        server.fault(status=503, path="/health")
    async with Face(mode, services={"web.internal": static(*fleet, health=check)}, listeners=[heard]) as face:
        await call_until(face, lambda: heard.of(PanicChanged))
        status = face.client.status().services["web.internal:80"]
        seen = {(await face.get(WEB)).json()["server"] for _ in range(30)}
        assert seen == {"a", "b", "c"}
        assert status.panic
        assert sum(endpoint.healthy for endpoint in status.endpoints) == 1
        assert all(endpoint.ready for endpoint in status.endpoints)
        fleet[0].fault()
        await call_until(face, lambda: len(heard.of(PanicChanged)) > 1)
        assert not face.client.status().services["web.internal:80"].panic
    began, ended = heard.of(PanicChanged)
    assert (began.panic, began.well, began.total, began.level) == (True, 1, 3, 30)
    assert (ended.panic, ended.well, ended.total, ended.level) == (False, 2, 3, 20)


async def test_without_panic_nobody_healthy_is_nobody_at_all(mode: str, fleet: Fleet) -> None:
    heard = Heard()
    check = resilience.HealthCheck("/health", interval=0.02, fall=1)
    for server in fleet:
        server.fault(status=503, path="/health")
    service = static(*fleet, health=check, panic=0)
    async with Face(mode, services={"web.internal": service}, listeners=[heard]) as face:
        with pytest.raises(resilience.NoEndpointsError, match="unhealthy"):
            await call_until(face, lambda: False)
    assert len(heard.of(HealthChanged)) == 3
    assert heard.of(PanicChanged) == []


async def test_who_comes_back_from_an_open_circuit_is_eased_in(mode: str, fleet: Fleet) -> None:
    heard = Heard()
    circuit = resilience.CircuitBreaker(consecutive_failures=1, open_for=0.01)
    service = static(*fleet, circuit=circuit, slow_start=1e6)
    fleet[0].fault(status=503)
    async with Face(mode, services={"web.internal": service}, listeners=[heard]) as face:
        await call_until(face, lambda: any(event.name == "circuit_opened" for event in heard))
        before = face.endpoints("web.internal:80")
        fleet[0].fault()
        await call_until(face, lambda: any(event.name == "circuit_closed" for event in heard))
        after = face.endpoints("web.internal:80")
        seen = Counter([(await face.get(WEB)).json()["server"] for _ in range(300)])
        assert "slow start: 1e+06 s" in str(face.client.describe())
    assert {endpoint.ramp for endpoint in before.values()} == {1.0}
    assert after[fleet[0].address].ramp == pytest.approx(0.1)
    assert seen["a"] < 50 < seen["b"]  # a tenth of a share; with a whole one it would be 100


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("ejection", 3),
        ("panic", 1),
        ("panic", -0.1),
        ("panic", math.nan),
        ("panic", None),
        ("slow_start", 0),
        ("slow_start", "5"),
        ("overprovisioning", 0.9),
        ("overprovisioning", math.inf),
        ("overprovisioning", True),
    ],
)
def test_bad_arguments(argument: str, value: Any) -> None:
    with pytest.raises(resilience.ConfigurationError, match=argument):
        resilience.Service(**{argument: value})
