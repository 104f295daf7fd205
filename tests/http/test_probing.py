"""Active health checks of real servers: down, up again, an invitation to an open circuit, an end when they leave."""

import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import resilience
from resilience.core.endpoint import Address
from resilience.core.events import CircuitChanged, HealthChanged
from resilience.core.resolution import Replica, Resolution, Target
from resilience.lab import Authority, Fleet, Server
from tests.http.support import CONTEXT, static

NAME = "web.internal"
LONG = 20.0
"""Seconds after which a test has failed; none of them waits that long."""


class Heard:
    """A listener that can be waited for."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._news = threading.Condition()

    def __call__(self, event: Any) -> None:
        with self._news:
            self.events.append(event)
            self._news.notify_all()

    def wait(self, holds: Callable[[Any], bool]) -> Any:
        with self._news:
            assert self._news.wait_for(lambda: any(map(holds, self.events)), LONG), self.events
            found = next(event for event in self.events if holds(event))
            self.events.remove(found)
            return found

    def health(self, *, healthy: bool) -> HealthChanged:
        return self.wait(lambda it: isinstance(it, HealthChanged) and it.healthy is healthy)  # type: ignore[no-any-return]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def client_of(heard: Heard) -> Iterator[Callable[..., resilience.Client]]:
    made: list[resilience.Client] = []

    def make(service: resilience.Service, **arguments: Any) -> resilience.Client:
        arguments.setdefault("verify", CONTEXT)
        made.append(resilience.Client(services={NAME: service}, listeners=[heard], **arguments))
        return made[-1]

    yield make
    for client in made:
        client.close()


def check(**options: Any) -> resilience.HealthCheck:
    return resilience.HealthCheck("/ready", **{"interval": 0.05, "timeout": 5.0, **options})


def ready(server: Server) -> int:
    return sum(seen.path == "/ready" for seen in server.requests)


def until(holds: Callable[[], bool]) -> None:
    """Let others work until something holds."""
    moment = threading.Event()
    for _ in range(2000):
        if holds():
            return
        moment.wait(0.01)
    raise AssertionError(holds)


def test_down_is_not_ready_and_up_again_is(client_of: Any, heard: Heard, server: Server) -> None:
    client = client_of(static(server, health=check()))
    url = f"http://{NAME}:{server.port}/"
    assert client.get(url).status_code == 200
    server.fault(status=503, path="/ready")
    change = heard.health(healthy=False)
    assert (change.service, change.endpoint, change.reason) == (f"{NAME}:{server.port}", server.address, "answered 503")
    with pytest.raises(resilience.NoEndpointsError):
        client.get(url)
    (endpoint,) = client.status().services[f"{NAME}:{server.port}"].endpoints
    assert endpoint.not_ready_because == ("unhealthy",)
    server.fault()
    assert heard.health(healthy=True).reason == "/ready answers"
    assert client.get(url).status_code == 200


def test_the_query_of_a_check_is_asked_and_nowhere_told(client_of: Any, heard: Heard, server: Server) -> None:
    path = "/ready?token=hunter2"
    client = client_of(static(server, health=resilience.HealthCheck(path, interval=0.05, fall=1)))
    client.get(f"http://{NAME}:{server.port}/")
    server.fault(status=503, path="/ready")
    heard.health(healthy=False)
    server.fault()
    assert heard.health(healthy=True).reason == "/ready answers"
    assert "hunter2" not in str(client.describe())
    assert "path='/ready'" in str(client.describe())


@pytest.mark.parametrize("trouble", ["killed", "hung"])
def test_so_is_one_that_cannot_be_reached_or_says_nothing(
    client_of: Any, heard: Heard, fleet: Fleet, trouble: str
) -> None:
    client = client_of(static(*fleet, health=check(timeout=0.2)))
    client.get(f"http://{NAME}:{fleet.port}/")
    if trouble == "killed":
        fleet[1].kill()
    else:
        fleet[1].hang()
    change = heard.health(healthy=False)
    assert change.endpoint == fleet[1].address
    assert change.reason == ("ConnectError" if trouble == "killed" else "no answer within 0.2 s")
    names = {client.get(f"http://{NAME}:{fleet.port}/").headers["x-server"] for _ in range(12)}
    assert names == {"a", "c"}


def test_a_pass_invites_probes_into_an_open_circuit_and_never_closes_it(
    client_of: Any, heard: Heard, server: Server
) -> None:
    server.fault(status=503, path="/calls")
    circuit = resilience.CircuitBreaker(minimum_calls=2, open_for=60.0, max_open_for=60.0)
    client = client_of(static(server, health=check(), retry=None, circuit=circuit))
    for _ in range(2):
        assert client.get(f"http://{NAME}:{server.port}/calls").status_code == 503
    heard.wait(lambda it: isinstance(it, CircuitChanged) and it.state == "half-open")
    passed = ready(server)
    until(lambda: ready(server) > passed + 2)
    assert client.status().services[f"{NAME}:{server.port}"].endpoints[0].circuit == "half-open"
    assert client.get(f"http://{NAME}:{server.port}/").status_code == 200
    heard.wait(lambda it: isinstance(it, CircuitChanged) and it.state == "closed")


@pytest.mark.parametrize("names", [(NAME,), ("somebody.else",)])
def test_certificates_are_checked_by_the_services_name(
    client_of: Any, heard: Heard, tmp_path: Path, names: tuple[str, ...]
) -> None:
    authority = Authority.create(tmp_path)
    context = ssl.create_default_context(cafile=str(authority.file))
    with Server(ssl=authority.issue(*names)) as server:
        client = client_of(static(server, health=check(), retry=None), verify=context)
        url = f"https://{NAME}:{server.port}/"
        if names == (NAME,):
            assert client.get(url).status_code == 200
            until(lambda: ready(server) > 2)
            assert not any(isinstance(event, HealthChanged) for event in heard.events)
        else:
            with pytest.raises(Exception, match="certificate"):
                client.get(url)
            assert heard.health(healthy=False).reason == "ConnectError"
            assert ready(server) == 0


class Listed:
    """A resolver whose answer a test changes."""

    def __init__(self, *servers: Server) -> None:
        self.servers = servers
        self.min_ttl = self.max_ttl = 0.05

    async def resolve(self, target: Target, /, *, deadline: float) -> Resolution:
        del target, deadline
        return Resolution(tuple(Replica(Address(it.host, it.port)) for it in self.servers), 0.05, "test")


def test_one_that_leaves_is_probed_no_more_and_its_name_never_counts(
    client_of: Any, heard: Heard, fleet: Fleet
) -> None:
    resolver = Listed(*fleet)
    client = client_of(resilience.Service(discovery=resolver, health=check(fall=1)))
    url = f"http://{NAME}:{fleet.port}/"
    client.get(url)
    until(lambda: all(ready(server) for server in fleet))
    resolver.servers = (fleet[0],)
    until(lambda: len(client.status().services[f"{NAME}:{fleet.port}"].endpoints) == 1 or bool(client.get(url).close()))
    until(lambda: len(client._transport._held._work) == 2)  # one refresh, one probe
    counts = [ready(server) for server in fleet]
    until(lambda: ready(fleet[0]) > counts[0] + 3)
    assert [ready(server) for server in fleet][1:] == counts[1:]
    assert not any(isinstance(event, HealthChanged) for event in heard.events)


def test_one_that_left_unhealthy_and_comes_back_well_is_used_again(client_of: Any, heard: Heard, fleet: Fleet) -> None:
    # A container that drained, and another that was given its address.
    resolver = Listed(*fleet)
    client = client_of(resilience.Service(discovery=resolver, health=check(fall=1)))
    url, key = f"http://{NAME}:{fleet.port}/", f"{NAME}:{fleet.port}"
    client.get(url)
    fleet[1].fault(status=503, path="/ready")
    heard.health(healthy=False)
    resolver.servers = (fleet[0], fleet[2])
    until(lambda: len(client.status().services[key].endpoints) == 2 or bool(client.get(url).close()))
    fleet[1].fault()
    resolver.servers = tuple(fleet)
    until(lambda: len(client.status().services[key].endpoints) == 3 or bool(client.get(url).close()))
    assert heard.health(healthy=True).endpoint == fleet[1].address
    assert {client.get(url).headers["x-server"] for _ in range(12)} == {"a", "b", "c"}


def test_a_closed_client_probes_nobody(client_of: Any, fleet: Fleet) -> None:
    client = client_of(static(*fleet, health=check()))
    client.get(f"http://{NAME}:{fleet.port}/")
    until(lambda: all(ready(server) for server in fleet))
    lease = client._transport._held
    client.close()
    until(lambda: not lease._work)
    assert not lease._thread.running or lease not in lease._thread._leases
