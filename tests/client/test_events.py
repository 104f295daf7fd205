"""One ``call`` event per logical call, with the fields of the contract; no secret in any event, error or log line."""

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog

import resilience
from resilience.core.events import CircuitChanged, Event
from resilience.http.listening import Listeners
from resilience.lab import Fleet, Server
from tests.http.support import Face, static

SECRETS = ("hunter2", "s3cr3t", "t0ken", "b0dy", "c00kie", "answ3r")


class Ear:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def named(self, name: str) -> list[Any]:
        return [event for event in self.events if event.name == name]


@pytest.fixture
def ear() -> Ear:
    return Ear()


async def test_a_plain_call(mode: str, server: Server, ear: Ear) -> None:
    async with Face(mode, services={"web.internal": static(server)}, listeners=[ear]) as face:
        await face.get(f"http://web.internal:{server.port}/x?token=t0ken")
    (call,) = ear.named("call")
    name = f"web.internal:{server.port}"
    assert (call.service, call.method, call.operation) == (name, "GET", name)
    assert (call.attempts, call.endpoints, call.waited) == (1, (server.address,), 0)
    assert (call.outcome, call.status, call.error, call.stopped) == ("ok", 200, None, None)
    assert call.duration > 0
    assert call.level == logging.DEBUG
    (attempt,) = ear.named("attempt")
    assert (attempt.service, attempt.endpoint, attempt.number, attempt.blame, attempt.status) == (
        name,
        server.address,
        1,
        "good",
        200,
    )


async def test_a_call_that_needed_help(mode: str, fleet: Fleet, ear: Ear) -> None:
    fleet[0].fault(status=503)
    fleet[1].fault(status=503)
    extensions = {"resilience": {"operation": "get_item"}}
    async with Face(mode, services={"web.internal": static(*fleet)}, listeners=[ear]) as face:
        for _ in range(3):
            await face.get(f"http://web.internal:{fleet.port}/", extensions=extensions)
    calls = ear.named("call")
    assert len(calls) == 3
    helped = [call for call in calls if call.attempts > 1]
    assert helped
    for call in helped:
        assert (call.operation, call.service, call.outcome, call.level) == (
            "get_item",
            f"web.internal:{fleet.port}",
            "ok",
            logging.INFO,
        )
        assert len(call.endpoints) == call.attempts
        assert len(set(call.endpoints)) == call.attempts
    for retry in ear.named("retry"):
        assert (retry.service, retry.operation) == (f"web.internal:{fleet.port}", "get_item")
        assert (retry.reason, retry.wait) == ("503", 0)


@pytest.mark.parametrize(
    ("fault", "outcome", "status", "error"),
    [
        ({"status": 503}, "status", 503, None),
        ({"reset": "after"}, "failed", None, "ReadError"),
        ({"truncate": True}, "failed", None, "RemoteProtocolError"),
    ],
)
async def test_a_call_that_failed(
    mode: str, server: Server, ear: Ear, fault: dict[str, Any], outcome: str, status: int | None, error: str | None
) -> None:
    server.fault(**fault)
    services = {"web.internal": static(server, retry=None)}
    async with Face(mode, services=services, listeners=[ear]) as face:
        try:
            await face.post(f"http://web.internal:{server.port}/bytes/100")
        except httpx.TransportError:
            assert error is not None
    (call,) = ear.named("call")
    assert (call.outcome, call.status, call.error) == (outcome, status, error)
    assert call.level == logging.WARNING


async def test_a_call_that_was_refused(mode: str, server: Server, ear: Ear) -> None:
    server.kill()
    services = {"web.internal": static(server, retry=None)}
    async with Face(mode, services=services, listeners=[ear]) as face:
        for _ in range(6):
            with pytest.raises(httpx.ConnectError):
                await face.get(f"http://web.internal:{server.port}/")
    outcomes = [(call.outcome, call.attempts, call.error) for call in ear.named("call")]
    assert outcomes == [("failed", 1, "ConnectError")] * 5 + [("rejected", 0, "CircuitOpenError")]
    assert [event.endpoint for event in ear.named("circuit_opened")] == [server.address]


async def test_a_listener_that_raises_breaks_nothing(
    mode: str, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: Event) -> None:
        raise ZeroDivisionError

    async with Face(mode, listeners=[broken]) as face:
        for _ in range(3):
            assert (await face.get(server.url)).status_code == 200
    assert len([record for record in caplog.records if "a listener raised" in record.message]) == 1


async def secretive(mode: str, fleet: Fleet, listeners: list[Any]) -> list[BaseException]:
    """Make calls of every outcome, full of secrets; return what was raised."""
    raised: list[BaseException] = []
    url = f"http://user:hunter2@web.internal:{fleet.port}"
    service = static(*fleet, attempt_timeout=5, circuit=resilience.CircuitBreaker(open_for=60))
    async with Face(
        mode, services={"web.internal": service}, listeners=listeners, cookies={"c": "c00kie"}, follow_redirects=True
    ) as face:
        more: dict[str, Any] = {"params": {"q": "s3cr3t"}, "headers": {"Authorization": "Bearer t0ken"}}
        for number in range(40):
            if number == 2:
                fleet[0].fault(status=503)
                fleet[1].fault(reset="after")
            if number == 10:
                for server in fleet:
                    server.kill()
            for method, path in (("GET", "/redirect?to=/answ3r"), ("POST", "/b0dy"), ("PUT", "/echo")):
                try:
                    await face.request(method, f"{url}{path}", content=b"b0dy", **more)
                except httpx.HTTPError as error:
                    raised.append(error)
        try:
            await face.get("ftp://user:hunter2@web.internal/?q=s3cr3t", headers={"x": "t0ken"})
        except httpx.HTTPError as error:
            raised.append(error)
        shown = f"{face.client.status()} {face.client.describe()}"
        assert not any(secret in shown for secret in SECRETS)
    return raised


async def test_no_secret_reaches_an_event_an_error_or_a_log_line(
    mode: str, fleet: Fleet, ear: Ear, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="resilience")
    raised = await secretive(mode, fleet, [ear])
    assert {event.name for event in ear.events} >= {"call", "attempt", "retry", "circuit_opened"}
    lines = [record.getMessage() for record in caplog.records if record.name == "resilience"]
    assert len(lines) > 50
    assert raised
    told = [repr(event) for event in ear.events] + lines
    for error in raised:
        told += [str(error), repr(error), repr(getattr(error, "attempts", ()))]
        told += [*getattr(error, "__notes__", []), str(error.__cause__), str(error.__context__)]
    for secret in SECRETS:
        assert not [text for text in told if secret in text]


@pytest.fixture
def captured() -> Iterator[list[Any]]:
    lines: list[Any] = []

    def keep(_logger: Any, _name: str, fields: Any) -> Any:
        lines.append(dict(fields))
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.contextvars.merge_contextvars, keep])
    yield lines
    structlog.reset_defaults()


async def test_structlog_once_configured_gets_the_same_without_secrets(
    mode: str, fleet: Fleet, captured: list[Any]
) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r-7"):
        await secretive(mode, fleet, [])
    assert {line["event"] for line in captured} >= {"call", "attempt", "retry", "circuit_opened"}
    assert {line["request_id"] for line in captured if line["event"] == "call"} == {"r-7"}
    for secret in SECRETS:
        assert not [line for line in captured if secret in repr(line)]


PROGRAM = """
import sys, resilience, httpx
service = resilience.Service(discovery=resilience.Static([sys.argv[1]]))
with resilience.Client(services={"web.internal": service}) as client:
    for _ in range(20):
        try:
            client.get("http://web.internal/")
        except httpx.HTTPError:
            pass
"""


def test_an_unconfigured_application_sees_no_output_at_all(server: Server) -> None:
    for fault in (None, "status", "dead"):
        if fault == "status":
            server.fault(status=503)
        if fault == "dead":
            server.kill()
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-c", PROGRAM, server.address], capture_output=True, timeout=60, check=True
        )
        assert (done.stdout, done.stderr) == (b"", b"")


def test_a_listener_may_use_the_client_it_listens_to(fleet: Fleet) -> None:
    first, second = (server.url for server in (fleet[0], fleet[1]))
    heard: list[tuple[str, str]] = []

    def alarm(event: Event) -> None:
        heard.append((event.name, event.service))
        if event.name == "endpoints_changed" and event.service == fleet[0].address:
            assert client.get(second).status_code == 200
            client.update(defaults=resilience.Service(retry=None))

    client = resilience.Client(listeners=[alarm])
    with client:
        assert client.get(first).status_code == 200
        assert set(client.status().services) == {fleet[0].address, fleet[1].address}
    changed = [service for name, service in heard if name == "endpoints_changed"]
    assert changed == [fleet[0].address, fleet[1].address]
    assert [service for name, service in heard if name == "call"] == [fleet[1].address, fleet[0].address]


def test_a_thread_holds_back_its_own_events_alone(ear: Ear) -> None:
    listeners = Listeners([ear])
    event = CircuitChanged("web:80", "10.0.0.1:80", "open", "5 in a row", 1.0)
    with listeners.later():
        with listeners.later():
            listeners.emit(event)
            other = threading.Thread(target=listeners.emit, args=(event,))
            other.start()
            other.join()
            assert ear.events == [event]
        assert ear.events == [event]
    assert ear.events == [event, event]
