"""Origins that nobody calls for five minutes are dropped, and at most a thousand are kept."""

from typing import Any

import httpx
import pytest

import resilience
from resilience.core.endpoint import Address
from resilience.core.resolution import Replica, Resolution
from resilience.http.origins import IDLE, MOST
from resilience.lab import Server
from resilience.runtimes.virtual import VirtualRuntime
from tests.http.support import CONTEXT, MODES, Face, static


class Clock(VirtualRuntime):
    """The blocking runtime's face on a clock that only a test moves."""


def on_virtual_time(client: Any) -> Clock:
    clock = Clock()
    upstreams = client._main._upstreams
    upstreams.runtime = clock
    upstreams._swept = clock.now()
    return clock


def touch(client: Any, clock: Clock, host: str) -> None:
    """Meet an origin without calling it, as of now."""
    transport = client._main
    upstream, dropped = transport._upstreams.of(httpx.URL(f"http://{host}/"), transport._make)
    upstream.used_at = clock.now()
    for old in dropped:
        transport._close(old)


@pytest.fixture
def client() -> Any:
    app = httpx.MockTransport(lambda _request: httpx.Response(200))
    with resilience.Client(transport=app, verify=CONTEXT) as client:
        yield client


def test_an_origin_idle_for_five_minutes_is_dropped(client: Any) -> None:
    clock = on_virtual_time(client)
    touch(client, clock, "one.test")
    touch(client, clock, "two.test")
    clock.advance(IDLE - 1)
    touch(client, clock, "two.test")
    assert set(client.status().services) == {"one.test:80", "two.test:80"}
    clock.advance(2)
    assert set(client.status().services) == {"two.test:80"}  # not told any more …
    clock.advance(40)
    touch(client, clock, "two.test")
    assert {key[1] for key in client._main._upstreams.by_origin} == {"two.test"}  # … and gone at the next look


def test_at_most_a_thousand_are_kept_the_latest(client: Any) -> None:
    clock = on_virtual_time(client)
    for number in range(MOST + 50):
        touch(client, clock, f"h{number}.test")
        clock.advance(0.001)
    kept = {key[1] for key in client._main._upstreams.by_origin}
    assert len(kept) == MOST
    assert "h0.test" not in kept
    assert f"h{MOST + 49}.test" in kept


def test_whoever_is_busy_stays(client: Any) -> None:
    clock = on_virtual_time(client)
    touch(client, clock, "busy.test")
    (busy,) = client._main._upstreams.by_origin.values()
    busy.endpoints[0].slots.take()
    clock.advance(IDLE * 3)
    touch(client, clock, "other.test")
    assert {key[1] for key in client._main._upstreams.by_origin} == {"busy.test", "other.test"}
    assert set(client.status().services) == {"busy.test:80", "other.test:80"}
    busy.endpoints[0].slots.give_back()


def test_one_that_comes_back_just_in_time_keeps_its_state(client: Any) -> None:
    clock = on_virtual_time(client)
    touch(client, clock, "web.test")
    before = client._main._upstreams.by_origin
    (upstream,) = before.values()
    clock.advance(IDLE * 3)
    touch(client, clock, "web.test")
    assert list(client._main._upstreams.by_origin.values()) == [upstream]


def test_same_host_other_port_or_scheme_is_another_origin(client: Any) -> None:
    for url in ("http://web.test/", "http://web.test:81/", "https://web.test/"):
        client.get(url)
    assert set(client.status().services) == {"web.test:80", "web.test:81", "web.test:443"}


@pytest.mark.parametrize("mode", MODES)
async def test_what_is_dropped_closes_its_connections(mode: str, server: Server) -> None:
    async with Face(mode) as face:
        await face.get(server.url)
        assert server.connections == 1
        clock = on_virtual_time(face.client)
        (upstream,) = face.client._main._upstreams.by_origin.values()
        upstream.used_at = clock.now()
        clock.advance(IDLE * 2)
        with pytest.raises(httpx.ConnectError):
            await face.get("http://127.0.0.1:1/")
        assert {key[2] for key in face.client._main._upstreams.by_origin} == {1}
        while server.connections:
            pass


@pytest.mark.parametrize("mode", MODES)
async def test_so_does_who_left_before_without_another_call(mode: str, server: Server) -> None:
    services = {"web.test": static(server)}
    async with Face(mode, services=services) as face:
        await face.get("http://web.test/")
        assert server.connections == 1
        clock = on_virtual_time(face.client)
        (upstream,) = face.client._main._upstreams.by_origin.values()
        upstream.roster.adopt(Resolution((Replica(Address("127.0.0.1", 1)),), 10.0, "dns"))
        upstream.used_at = clock.now()
        clock.advance(IDLE * 2)
        with pytest.raises(httpx.ConnectError):
            await face.get("http://127.0.0.1:1/")
        while server.connections:
            pass
        assert len(face.client._main._exchange._transports.all()) <= 1
