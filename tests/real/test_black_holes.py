"""Packets that vanish without a word: no call is lost, and few attempts find out."""

from collections import Counter
from collections.abc import Iterator

import pytest

import resilience
from resilience.core.events import AttemptEnded
from resilience.lab import Fleet
from tests.http.support import Face
from tests.real.faults import Act, under_load
from tests.real.nameservers import Dnsmasq
from tests.real.place import Filter, Place

NAME = "web.internal"
MOST_LOST = 5


@pytest.fixture
def fleet(place: Place) -> Iterator[Fleet]:
    """Four replicas on private addresses."""
    with place.addresses(*(f"10.77.0.{i}" for i in range(1, 5))), Fleet(4, "10.77.0.{i}") as running:
        yield running


@pytest.mark.parametrize("rate", [10.0, 150.0])
async def test_a_black_hole_costs_few_attempts_and_no_call(
    mode: str, rate: float, fleet: Fleet, dnsmasq: Dnsmasq, filter_: Filter
) -> None:
    dnsmasq.set(NAME, fleet.hosts)
    lost: Counter[str] = Counter()

    def hear(event: object) -> None:
        if isinstance(event, AttemptEnded) and event.error is not None:
            lost[event.error] += 1

    service = resilience.Service(
        discovery=resilience.Dns(min_ttl=1),
        attempt_timeout=0.3,
        health=resilience.HealthCheck("/ready", interval=0.2, timeout=0.2),
    )
    acts: list[Act] = [(1.0, lambda: filter_.black_hole(fleet[1].host))]
    async with Face(mode, services={NAME: service}, listeners=[hear]) as face:
        report = await under_load(face, mode, f"http://{NAME}:{fleet.port}/", acts, seconds=4.0, rate=rate)
    assert not report.failed, report.errors()
    assert 0 < sum(lost.values()) <= MOST_LOST, lost
    assert set(report.shares(since=2.5)) == {"a", "c", "d"}
