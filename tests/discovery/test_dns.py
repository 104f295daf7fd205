"""`Dns` against a real server on loopback, on asyncio and trio."""

import math
from datetime import timedelta

import anyio
import pytest

from resilience.core.endpoint import Address
from resilience.core.errors import ConfigurationError
from resilience.core.resolution import Replica, Target
from resilience.discovery.dns import Dns
from resilience.discovery.failures import ResolutionError
from resilience.lab import DnsServer
from resilience.runtimes.anyio import ANYIO

TARGET = Target("web.internal", 8080)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


async def resolve(server, *, within=20.0, target=TARGET, **options):
    resolver = Dns(nameservers=[server.address], **options)
    return await resolver.resolve(target, deadline=ANYIO.now() + within)


async def failure(server, **options):
    with pytest.raises(ResolutionError) as caught:
        await resolve(server, **options)
    return caught.value.kind


def places(resolution):
    return [str(replica.address) for replica in resolution.replicas]


@pytest.mark.anyio
async def test_each_address_is_a_replica_and_ipv6_a_fallback(server):
    server.set("web.internal", "A", ["10.0.0.2", "10.0.0.1"], ttl=7)
    server.set("web.internal", "AAAA", ["fd00::1"], ttl=9)
    resolution = await resolve(server)
    assert resolution.replicas == (
        Replica(Address("10.0.0.1", 8080)),
        Replica(Address("10.0.0.2", 8080)),
        Replica(Address("fd00::1", 8080), tier=1),
    )
    assert (resolution.ttl, resolution.source, resolution.fleet) == (7.0, "dns", True)
    assert "Dns()" in resolution.why


@pytest.mark.anyio
async def test_name_port_and_record_may_be_given(server):
    server.set("other.internal", "A", ["10.0.0.1"])
    server.set("other.internal", "AAAA", ["fd00::1"])
    assert places(await resolve(server, name="other.internal", port=9000)) == ["10.0.0.1:9000", "[fd00::1]:9000"]
    assert places(await resolve(server, name="Other.Internal.", record="AAAA")) == ["[fd00::1]:8080"]
    server.reset_queries()
    assert places(await resolve(server, name="other.internal", record="A")) == ["10.0.0.1:8080"]
    assert [query.type for query in server.queries] == ["A"]


@pytest.mark.anyio
async def test_only_an_absolute_name_is_asked_of_nameservers_that_were_given(server):
    server.set("web", "A", ["10.0.0.1"])
    assert places(await resolve(server, target=Target("web", 80))) == ["10.0.0.1:80"]
    assert {query.name for query in server.queries} == {"web"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("count", "transports"), [(1, {"udp"}), (70, {"udp"}), (150, {"udp", "tcp"}), (4_000, {"udp", "tcp"})]
)
async def test_however_many_addresses(server, count, transports):
    addresses = [f"10.{n >> 8}.{n & 255}.1" for n in range(count)]
    server.set("web.internal", "A", addresses)
    assert [replica.address.host for replica in (await resolve(server)).replicas] == addresses
    assert {query.transport for query in server.queries} == transports


@pytest.mark.anyio
async def test_services_have_tiers_weights_and_ports(server):
    name = "_http._tcp.web.internal"
    server.set(name, "SRV", [(10, 3, 81, "a.internal."), (10, 1, 82, "b.internal."), (20, 0, 83, "c.internal.")], ttl=9)
    server.set("a.internal", "A", ["10.0.0.1"], ttl=5)
    server.set("b.internal", "A", ["10.0.0.2", "10.0.0.3"], ttl=5)
    server.set("c.internal", "A", ["10.0.0.4"], ttl=5)
    for options in ({"name": name}, {"name": name, "record": "SRV"}, {"target": Target(name, 1)}):
        resolution = await resolve(server, **options)
        assert resolution.replicas == (
            Replica(Address("10.0.0.1", 81), 3.0, 0),
            Replica(Address("10.0.0.2", 82), 0.5, 0),
            Replica(Address("10.0.0.3", 82), 0.5, 0),
            Replica(Address("10.0.0.4", 83), 1.0, 1),
        )
        assert resolution.ttl == 5.0
    server.set(name, "SRV", [(0, 0, 0, ".")])
    assert await failure(server, name=name) == "empty"


@pytest.mark.anyio
async def test_aliases(server):
    server.set("web.internal", "CNAME", ["b.internal."], ttl=3)
    server.set("b.internal", "A", ["10.0.0.1"], ttl=9)
    assert (await resolve(server)).ttl == 3.0
    server.set("b.internal", "CNAME", ["web.internal."])
    assert await failure(server) == "malformed"
    server.set("web.internal", "CNAME", ["nowhere.internal."])
    assert await failure(server) == "nxdomain"


@pytest.mark.anyio
@pytest.mark.parametrize("negative_soa", [True, False])
async def test_absence(negative_soa):
    with DnsServer(negative_soa=negative_soa) as server:
        assert await failure(server) == "nxdomain"
        server.set("web.internal", "TXT", ["x"])
        assert await failure(server) == "empty"
        server.set("web.internal", "AAAA", ["fd00::1"])
        assert places(await resolve(server)) == ["[fd00::1]:8080"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("servfail", "servfail"),
        ("refused", "refused"),
        ("notimp", "refused"),
        ("nxdomain", "nxdomain"),
        ("wrong-owner", "malformed"),
        ("silent", "timeout"),
        ("garbage", "timeout"),
        ("wrong-id", "timeout"),
        ("wrong-name", "timeout"),
    ],
)
async def test_each_fault_has_its_kind(server, fault, kind):
    server.set("web.internal", "A", ["10.0.0.1"])
    server.fault(fault)
    assert await failure(server, within=0.3 if kind == "timeout" else 20.0) == kind
    server.fault()
    assert places(await resolve(server)) == ["10.0.0.1:8080"]


@pytest.mark.anyio
async def test_a_truncated_answer_comes_whole_over_tcp(server):
    server.set("web.internal", "A", ["10.0.0.1"])
    server.fault("truncate")
    assert places(await resolve(server)) == ["10.0.0.1:8080"]


@pytest.mark.anyio
async def test_a_server_that_is_not_there_is_noticed_at_once(server):
    server.stop()
    with anyio.fail_after(15):
        assert await failure(server, within=math.inf) == "timeout"


@pytest.mark.anyio
async def test_the_next_nameserver_stands_in(server):
    server.set("web.internal", "A", ["10.0.0.1"])
    resolver = Dns(nameservers=["127.0.0.1:1", server.address])
    assert places(await resolver.resolve(TARGET, deadline=ANYIO.now() + 20)) == ["10.0.0.1:8080"]


@pytest.mark.anyio
async def test_many_lookups_at_once(server):
    names = [f"n{n}.internal" for n in range(50)]
    for n, name in enumerate(names):
        server.set(name, "A", [f"10.0.0.{n}"])
    found = {}

    async def one(name):
        found[name] = places(await resolve(server, target=Target(name, 80)))

    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(one, name)
    assert found == {name: [f"10.0.0.{n}:80"] for n, name in enumerate(names)}


@pytest.mark.anyio
@pytest.mark.parametrize(("host", "source"), [("10.0.0.1", "literal"), ("fd00::1", "literal"), ("localhost", "hosts")])
async def test_what_needs_no_nameserver_asks_none(server, host, source):
    resolution = await resolve(server, target=Target(host, 80))
    assert (resolution.source, resolution.fleet) == (source, True)
    assert not server.queries


@pytest.mark.anyio
async def test_a_name_that_cannot_be_encoded_is_a_failure(server):
    assert await failure(server, target=Target("x" * 64 + ".internal", 80)) == "malformed"
    assert await failure(server, target=Target(".".join(["x" * 60] * 5), 80)) == "malformed"


def test_a_description_is_a_value():
    once = Dns("web.internal", nameservers=(server for server in ["10.0.0.53", "[fd00::53]:5353"]), min_ttl=1)
    assert once == Dns("web.internal", nameservers=["10.0.0.53:53", "[fd00::53]:5353"], min_ttl=timedelta(seconds=1))
    assert hash(once) == hash(Dns("web.internal", nameservers=["10.0.0.53:53", "[fd00::53]:5353"], min_ttl=1.0))
    assert (Dns().min_ttl, Dns().max_ttl, Dns().stale_for) == (5.0, 30.0, 86_400.0)


@pytest.mark.parametrize(
    ("argument", "bad"),
    [
        *(
            ("name", bad)
            for bad in ["", ".", "a..b", "web:80", "http://web", "a b", "x" * 64, ".".join("x" * 128), 7, b"web"]
        ),
        *(("port", bad) for bad in [0, -1, 65_536, "80", 1.5, True]),
        *(("record", bad) for bad in ["a", "MX", "", None, 1]),
        *(("nameservers", bad) for bad in [[], "10.0.0.53", 7, ["ns.internal"], ["10.0.0.53:0"], [None], [""]]),
        *(("min_ttl", bad) for bad in [-1, math.nan, math.inf, "5", None, True]),
        *(("max_ttl", bad) for bad in [-1, math.nan, "5", None, 4.9, 0]),
        *(("stale_for", bad) for bad in [-1, math.nan, "5", None]),
    ],
)
def test_anything_else_is_refused_by_name(argument, bad):
    with pytest.raises(ConfigurationError) as caught:
        Dns(**{argument: bad})
    assert caught.value.argument == argument
