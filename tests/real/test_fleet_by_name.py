"""150 calls a second to a name whose replicas fail one after the other: none may be lost."""

from collections.abc import Callable, Iterator

import pytest

import resilience
from resilience.lab import Fleet, Report
from tests.http.support import CONTEXT, Face
from tests.real.faults import Act, under_load
from tests.real.nameservers import Dnsmasq
from tests.real.place import Place

NAME = "web.internal"
FAULT_AT = 2.0
FAIR = 0.10


@pytest.fixture
def four(place: Place) -> Iterator[Fleet]:
    """Four replicas on private addresses, three of them in DNS at first."""
    hosts = [f"10.77.0.{i}" for i in range(1, 5)]
    with place.addresses(*hosts), Fleet(4, "10.77.0.{i}") as running:
        yield running


def discovery(kind: str, dnsmasq: Dnsmasq) -> object:
    return resilience.Auto() if kind == "auto" else resilience.Dns(nameservers=[dnsmasq.address], min_ttl=1)


async def run(
    mode: str, four: Fleet, dnsmasq: Dnsmasq, acts: list[Act], *, kind: str = "dns", seconds: float = 8.0
) -> Report:
    dnsmasq.set(NAME, four.hosts[:3])
    service = resilience.Service(discovery=discovery(kind, dnsmasq))
    async with Face(mode, services={NAME: service}, verify=CONTEXT) as face:
        url = f"http://{NAME}:{four.port}/"
        report = await under_load(face, mode, url, acts, seconds=seconds)
        assert face.in_flight() == 0
    print(report.errors(), report.shares(), report.lag_p99, report.quantile(0.99))
    assert not report.failed, report.errors()
    return report


def fair(report: Report, names: str, *, since: float, until: float = 8.0) -> None:
    """Each of these has its share, within a tenth of it."""
    shares = report.shares(since=since, until=until)
    assert set(shares) == set(names), shares
    for share in shares.values():
        assert share == pytest.approx(1 / len(names), rel=FAIR), shares


FAULTS: dict[str, tuple[Callable[[Fleet, Dnsmasq], None], str]] = {
    "killed": (lambda four, dns: four[1].kill(), "ac"),
    "hung": (lambda four, dns: four[1].hang(), "ac"),
    "answering 503": (lambda four, dns: four[1].fault(status=503), "ac"),
    "nameserver stopped": (lambda four, dns: dns.stop(), "abc"),
    "nameserver hung": (lambda four, dns: dns.hang(), "abc"),
    "replaced": (
        lambda four, dns: (dns.set(NAME, [four.hosts[0], four.hosts[3], four.hosts[2]]), four[1].kill()),
        "acd",
    ),
}


@pytest.mark.parametrize("mode", ["asyncio"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_is_lost(mode: str, fault: str, four: Fleet, dnsmasq: Dnsmasq) -> None:
    act, left = FAULTS[fault]
    report = await run(mode, four, dnsmasq, [(FAULT_AT, lambda: act(four, dnsmasq))])
    fair(report, "abc", since=0.5, until=FAULT_AT)
    fair(report, left, since=FAULT_AT + 2.0)


@pytest.mark.parametrize("fault", ["hung", "replaced"])
async def test_nor_with_threads_or_trio(mode: str, fault: str, four: Fleet, dnsmasq: Dnsmasq) -> None:
    kind = "auto" if mode == "asyncio" else "dns"
    act, left = FAULTS[fault]
    report = await run(mode, four, dnsmasq, [(1.0, lambda: act(four, dnsmasq))], kind=kind, seconds=5.0)
    fair(report, left, since=4.0, until=5.0)


@pytest.mark.parametrize("mode", ["asyncio"])
async def test_a_name_that_is_gone_for_a_moment_and_then_moves(mode: str, four: Fleet, dnsmasq: Dnsmasq) -> None:
    moved = [four.hosts[3]]

    def move() -> None:
        dnsmasq.set(NAME, moved)
        for server in four.servers[:3]:
            server.kill()

    acts: list[Act] = [
        (1.5, lambda: dnsmasq.set(NAME, [])),
        (2.8, lambda: dnsmasq.set(NAME, four.hosts[:3])),
        (5.0, move),
    ]
    report = await run(mode, four, dnsmasq, acts)
    assert set(report.shares(since=7.0)) == {"d"}
    # Answered before the three were killed: what was in flight then is sent again, and d answers it.
    before = {it.label for it in report.samples if it.scheduled >= 1.5 and it.scheduled + it.latency < 5.0}
    assert before == {"a", "b", "c"}
