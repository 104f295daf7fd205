"""`Auto`, with the system's resolver and configuration replaced at their edges: ``getaddrinfo`` and two files."""

import math
import socket
import threading

import pytest

from resilience.core.endpoint import Address
from resilience.core.resolution import Target
from resilience.discovery import auto, by_dns, system
from resilience.discovery.failures import ResolutionError
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.blocking import BLOCKING, run_blocking
from resilience.runtimes.offload import Offload

TARGET = Target("web.internal", 8080)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def machine(monkeypatch, server):
    """A machine that knows what a test sets, and asks the lab's nameserver."""
    known = {}

    def getaddrinfo(host, port, *args, **kwargs):
        found = known.get(host, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
        if callable(found):
            found = found()
        if isinstance(found, Exception):
            raise found
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (each, 0, 0, 0))
            if ":" in each
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 0))
            for each in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    configuration = system.Configuration((Address(server.host, server.port),))
    monkeypatch.setattr(by_dns, "read_configuration", lambda: configuration)
    return known


async def resolve(target=TARGET, *, within=20.0):
    return await auto.Auto().resolve(target, deadline=ANYIO.now() + within)


def places(resolution):
    return [str(replica.address) for replica in resolution.replicas]


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["10.0.0.1", "fd00::1", "127.0.0.1"])
async def test_an_address_is_one_origin_that_nobody_looks_up(machine, host):
    resolution = await resolve(Target(host, 80))
    assert [replica.address for replica in resolution.replicas] == [Address(host, 80)]
    assert (resolution.fleet, resolution.ttl, resolution.source) == (False, math.inf, "literal")


@pytest.mark.anyio
async def test_an_origins_addresses_stay_in_the_systems_order(machine, server):
    machine["web.internal"] = ["2606:4700::9", "104.16.0.2", "104.16.0.1", "104.16.0.2"]
    resolution = await resolve()
    assert places(resolution) == ["[2606:4700::9]:8080", "104.16.0.2:8080", "104.16.0.1:8080"]
    assert (resolution.fleet, resolution.ttl, resolution.source) == (False, 30.0, "system")
    assert "globally routable" in resolution.why
    assert {replica.tier for replica in resolution.replicas} == {0}
    assert not server.queries


@pytest.mark.anyio
async def test_private_addresses_are_a_fleet_with_the_ttl_that_dns_gives(machine, server):
    machine["web.internal"] = ["10.0.0.2", "10.0.0.1"]
    server.set("web.internal", "A", ["10.0.0.1", "10.0.0.2"], ttl=7)
    resolution = await resolve()
    assert places(resolution) == ["10.0.0.1:8080", "10.0.0.2:8080"]
    assert (resolution.fleet, resolution.ttl, resolution.source) == (True, 7.0, "dns")


@pytest.mark.anyio
@pytest.mark.parametrize("known", [[], ["10.0.0.1"], ["10.0.0.1", "10.0.0.2", "10.0.0.3"]])
async def test_where_dns_knows_otherwise_the_system_is_right(machine, server, known):
    machine["web.internal"] = ["10.0.0.2", "10.0.0.1"]
    server.set("web.internal", "A", known, ttl=7)
    resolution = await resolve()
    assert places(resolution) == ["10.0.0.1:8080", "10.0.0.2:8080"]
    assert (resolution.fleet, resolution.ttl, resolution.source) == (True, 30.0, "system")


@pytest.mark.anyio
async def test_a_dead_nameserver_does_not_take_what_the_system_knows(machine, server):
    machine["web.internal"] = ["10.0.0.2", "10.0.0.1"]
    server.fault("silent")
    resolution = await resolve()
    assert (places(resolution), resolution.ttl) == (["10.0.0.1:8080", "10.0.0.2:8080"], 30.0)


@pytest.mark.anyio
@pytest.mark.parametrize("first", ["fd00::1", "10.0.0.1"])
async def test_the_family_the_system_prefers_is_used_and_the_other_a_fallback(machine, first):
    addresses = ["fd00::1", "fd00::2", "10.0.0.1", "10.0.0.2"]
    machine["web.internal"] = sorted(addresses, key=lambda each: (":" in each) != (":" in first))
    resolution = await resolve()
    assert {replica.tier for replica in resolution.replicas if (":" in replica.address.host) == (":" in first)} == {0}
    assert [replica.tier for replica in resolution.replicas] == [0, 0, 1, 1]


@pytest.mark.anyio
async def test_names_in_the_hosts_file_are_one_origin(machine, monkeypatch, tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("10.0.0.1 web.internal\n10.0.0.2 web.internal\n")
    real = system.listed_in_hosts
    monkeypatch.setattr(system, "listed_in_hosts", lambda name: real(name, str(hosts)))
    machine["web.internal"] = ["10.0.0.1", "10.0.0.2"]
    resolution = await resolve()
    assert (resolution.fleet, resolution.source) == (False, "hosts")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "nxdomain"),
        (socket.gaierror(socket.EAI_NODATA, "No address associated with hostname"), "empty"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), "timeout"),
        (socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure in name resolution"), "servfail"),
        (OSError(24, "Too many open files"), "servfail"),
        (UnicodeError("label too long"), "servfail"),
        (TimeoutError("timed out"), "timeout"),
        ([], "empty"),
    ],
)
async def test_what_the_system_raises_has_its_kind(machine, error, kind):
    machine["web.internal"] = error
    with pytest.raises(ResolutionError) as caught:
        await resolve()
    assert caught.value.kind == kind
    assert list(caught.value.causes) == ([error] if isinstance(error, Exception) else [])


@pytest.mark.parametrize("blocked", [1, 4])
def test_a_hung_lookup_costs_its_caller_the_deadline_and_others_nothing(machine, blocked):
    go_on, lookups, calls = threading.Event(), Offload(threads=5, linger=0.0), []

    def hang():
        calls.append(1)
        go_on.wait(20)
        return ["10.0.0.1"]

    async def look(host, within):
        target = Target(host, 80)
        return await auto.system_addresses(target, deadline=BLOCKING.now() + within, runtime=BLOCKING, lookups=lookups)

    for n in range(blocked):
        machine[f"hung{n}"] = hang
        for _ in range(3):  # who asks again joins the lookup that hangs
            with pytest.raises(ResolutionError) as caught:
                run_blocking(look(f"hung{n}", 0.0))
            assert caught.value.kind == "timeout"
    machine["web.internal"] = ["10.0.0.9"]
    assert run_blocking(look("web.internal", 20.0)) == ["10.0.0.9"]
    go_on.set()
    for n in range(blocked):
        assert run_blocking(look(f"hung{n}", 20.0)) == ["10.0.0.1"]
    assert blocked <= len(calls) <= 2 * blocked  # joined, or asked anew once it had ended


@pytest.mark.anyio
async def test_a_scope_is_part_of_a_link_local_address(monkeypatch):
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 0, 0, 2))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert places(await resolve()) == ["[fe80::1%2]:8080"]
