"""A real client's calls in the log: the events they make, and none of what only the two ends may know."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import structlog

import resilience
from resilience.lab import Server
from resilience.observe.log import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "hunter2"
SILENT = """
import sys, httpx, resilience
with resilience.Client() as client:
    for url in sys.argv[1:] * 20:
        try:
            client.get(url)
        except httpx.HTTPError:
            pass
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def healthy(server: Server) -> Server:
    server.fault()
    return server


@pytest.fixture
def records() -> list[logging.LogRecord]:
    kept: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = kept.append  # type: ignore[method-assign]
    logger = logging.getLogger(NAME)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    return kept


def named(records: list[logging.LogRecord], event: str) -> list[Any]:
    return [record for record in records if getattr(record, "event", None) == event]


def test_one_call_event_per_call(healthy: Server, records: list[logging.LogRecord]) -> None:
    with resilience.Client() as client:
        client.get(healthy.url, extensions={"resilience": {"operation": "get_root"}})
    (record,) = named(records, "call")
    assert record.levelno == logging.DEBUG
    assert (record.service, record.method, record.operation) == (healthy.address, "GET", "get_root")
    assert (record.attempts, record.endpoints, record.outcome, record.status) == (1, [healthy.address], "ok", 200)
    (attempt,) = named(records, "attempt")
    assert (attempt.number, attempt.endpoint, attempt.blame, attempt.status) == (1, healthy.address, "good", 200)


def test_a_call_that_failed_is_a_warning_and_says_why(healthy: Server, records: list[logging.LogRecord]) -> None:
    healthy.fault(status=503)
    with resilience.Client(defaults=resilience.Service(retry=resilience.Retry(wait=0.001))) as client:
        client.get(healthy.url)
    (record,) = named(records, "call")
    assert record.levelno == logging.WARNING
    assert (record.attempts, record.outcome, record.status, record.stopped) == (3, "status", 503, "attempts")
    assert [r.number for r in named(records, "attempt")] == [1, 2, 3]
    assert [r.attempt for r in named(records, "retry")] == [1, 2]


async def test_the_caller_s_context_rides_along(healthy: Server, records: list[logging.LogRecord]) -> None:
    async with resilience.AsyncClient() as client:
        with structlog.contextvars.bound_contextvars(request_id="r-7"):
            await client.get(healthy.url)
        await client.get(healthy.url)
    assert [getattr(r, "request_id", None) for r in named(records, "call")] == ["r-7", None]


@pytest.mark.parametrize("fault", [{}, {"status": 503}, {"reset": "after"}, {"truncate": True}, {"garbage": True}])
def test_no_secret_reaches_the_log(healthy: Server, records: list[logging.LogRecord], fault: dict[str, Any]) -> None:
    healthy.fault(**fault)
    with resilience.Client(defaults=resilience.Service(retry=resilience.Retry(wait=0.001))) as client:
        try:
            client.post(
                f"http://user:{SECRET}@{healthy.address}/{'a'}?token={SECRET}#{SECRET}",
                headers={"Authorization": SECRET, "Idempotency-Key": SECRET, "Cookie": SECRET},
                content=SECRET,
            )
        except httpx.HTTPError:
            assert fault
    assert named(records, "call")
    for record in records:
        assert SECRET not in record.getMessage()
        assert SECRET not in repr(vars(record))


def test_a_listener_that_raises_costs_no_call_and_is_reported_once(
    healthy: Server, records: list[logging.LogRecord]
) -> None:
    def broken(_event: object) -> None:
        message = "the listener's own fault"
        raise ValueError(message)

    heard: list[str] = []
    with resilience.Client(listeners=[broken, lambda event: heard.append(event.name)]) as client:
        for _ in range(3):
            assert client.get(healthy.url).status_code == 200
    assert heard.count("call") == 3
    assert len([record for record in records if record.exc_info]) == 1


def test_what_structlog_writes_tells_of_a_listener_that_raises(healthy: Server) -> None:
    def broken(_event: object) -> None:
        message = "the listener's own fault"
        raise ValueError(message)

    structlog.configure()
    with structlog.testing.capture_logs() as lines, resilience.Client(listeners=[broken]) as client:
        client.get(healthy.url)
        client.get(healthy.url)
    (line,) = [line for line in lines if line["log_level"] == "error"]
    assert line["event"] == "a listener raised; it will not be reported again"
    assert "broken" in line["listener"]
    assert isinstance(line["exc_info"], ValueError)


def test_logging_that_raises_costs_no_call_and_is_reported_once(
    healthy: Server, records: list[logging.LogRecord]
) -> None:
    def processor(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        return {"tenant": event["tenant"]}

    structlog.configure(processors=[processor])
    healthy.fault(status=503)
    alone = resilience.Service(retry=resilience.Retry(wait=0.001), max_in_flight=1)
    with resilience.Client(defaults=alone) as client:
        assert [client.get(healthy.url).status_code for _ in range(4)] == [503] * 4
        (endpoint,) = client.status().services[healthy.address].endpoints
    assert (endpoint.in_flight, endpoint.circuit) == (0, "open")
    (record,) = records
    assert record.getMessage() == "the application's logging raised; it will not be reported again"
    assert record.exc_info is not None
    assert record.exc_info[0] is KeyError


def test_a_logger_that_cannot_be_made_costs_no_call(healthy: Server, records: list[logging.LogRecord]) -> None:
    def factory(*_: object) -> object:
        raise OSError

    structlog.configure(logger_factory=factory)
    with resilience.Client() as client:
        assert client.get(healthy.url).status_code == 200
    assert len(records) == 1


def test_logging_that_cannot_even_say_so_costs_no_call(healthy: Server) -> None:
    def refusing(_record: logging.LogRecord) -> bool:
        raise KeyError

    logger = logging.getLogger(NAME)
    logger.addFilter(refusing)
    logger.setLevel(logging.DEBUG)
    try:
        with resilience.Client() as client:
            assert client.get(healthy.url).status_code == 200
    finally:
        logger.removeFilter(refusing)


def test_an_unconfigured_application_sees_nothing_of_failing_calls(healthy: Server) -> None:
    healthy.fault(status=503, path="/bad")
    closed = Server()
    with closed:
        pass
    done = subprocess.run(
        [sys.executable, "-c", SILENT, closed.url, f"{healthy.url}/bad"],
        capture_output=True,
        check=True,
        timeout=50,
    )
    assert (done.stdout, done.stderr) == (b"", b"")
