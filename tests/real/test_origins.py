"""Ordinary hosts are left as httpx would treat them: one origin, its connections kept, whichever way leads to it."""

from collections.abc import Iterator
from contextlib import ExitStack

import anyio
import pytest

from resilience.lab import Fleet, Server
from tests.http.support import Face, attempts
from tests.real.nameservers import Dnsmasq
from tests.real.place import Place

CALLS = 20


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


async def behave_as_under_httpx(mode: str, host: str, *servers: Server) -> str:
    """Call it in a row and side by side, with and without us: as many connections, nothing failed. Return why."""
    url = f"http://{host}:{servers[0].port}/slow/0.05"
    opened: list[int] = []
    for plain in (True, False):
        for server in servers:
            server.reset_counts()
        async with Face(mode, plain=plain) as face:
            for _ in range(CALLS):
                response = await face.get(url.replace("0.05", "0"))
                assert response.status_code == 200
                assert plain or len(attempts(response)) == 1
            if mode != "threads":
                async with anyio.create_task_group() as group:
                    for _ in range(3):
                        group.start_soon(face.get, url)
            opened.append(sum(server.accepted for server in servers))
            if not plain:
                (service,) = face.client.status().services.values()
                (endpoint,) = service.endpoints
                assert (endpoint.circuit, endpoint.in_flight) == ("closed", 0)
                assert service.counts["attempts"] == service.counts["calls"]
                assert not service.resolution.fleet
                why: str = service.resolution.why
    assert opened[1] <= opened[0]
    return why


async def test_localhost_with_a_server_on_ipv4_only(mode: str, place: Place, stack: ExitStack) -> None:
    server = stack.enter_context(Server("127.0.0.1"))
    assert "loopback" in await behave_as_under_httpx(mode, "localhost", server)


@pytest.mark.parametrize("family", ["10.77.0.1", "fd77::1"])
async def test_a_name_of_both_families_with_a_server_on_one(
    mode: str, family: str, dnsmasq: Dnsmasq, place: Place, stack: ExitStack
) -> None:
    stack.enter_context(place.addresses("10.77.0.1", "fd77::1"))
    dnsmasq.set("both.internal", ["10.77.0.1", "fd77::1"])
    server = stack.enter_context(Server(family))
    assert "one address of each family" in await behave_as_under_httpx(mode, "both.internal", server)


async def test_a_name_in_the_hosts_file(mode: str, place: Place, stack: ExitStack) -> None:
    stack.enter_context(place.addresses("10.77.0.1", "10.77.0.2"))
    place.known_hosts(listed_internal=["10.77.0.1", "10.77.0.2"])
    server = stack.enter_context(Server("10.77.0.2"))
    assert "hosts file" in await behave_as_under_httpx(mode, "listed.internal", server)


async def test_a_name_of_the_local_link(mode: str, dnsmasq: Dnsmasq, place: Place, stack: ExitStack) -> None:
    stack.enter_context(place.addresses("10.77.0.1", "10.77.0.2"))
    dnsmasq.set("printer.local", ["10.77.0.1", "10.77.0.2"])
    server = stack.enter_context(Server("10.77.0.1"))
    assert ".local" in await behave_as_under_httpx(mode, "printer.local", server)


@pytest.mark.parametrize("host", ["10.77.0.1", "fd77::1"])
async def test_an_address_itself(mode: str, host: str, place: Place, stack: ExitStack) -> None:
    stack.enter_context(place.addresses(host))
    server = stack.enter_context(Server(host))
    why = await behave_as_under_httpx(mode, f"[{host}]" if ":" in host else host, server)
    assert "names its address" in why


@pytest.mark.parametrize("up", [8, 3])
async def test_a_public_name_with_eight_rotating_addresses(
    mode: str, up: int, dnsmasq: Dnsmasq, place: Place, stack: ExitStack
) -> None:
    hosts = [f"93.184.216.{i}" for i in range(1, 9)]
    stack.enter_context(place.addresses(*hosts))
    dnsmasq.set("www.example.com", hosts)
    fleet = Fleet(8, "93.184.216.{i}")
    stack.callback(fleet.stop)
    running = [server.start() for server in fleet.servers[:up]]
    assert "globally routable" in await behave_as_under_httpx(mode, "www.example.com", *running)
