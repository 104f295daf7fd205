"""The WSGI middleware: the same, for threads, bodies included."""

import httpx
import pytest

from resilience.core.call import ambient
from resilience.core.errors import ConfigurationError, DeadlineExceededError, OverloadedError
from resilience.core.propagation import inbound
from resilience.policies.retry import Retry
from resilience.runtimes.blocking import BLOCKING
from resilience.runtimes.entry import deadline
from resilience.server import WsgiDeadlineMiddleware, do_not_retry
from tests.composition.fake_time import BlockingOnFakeTime, on


def ask(app, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://service.test") as client:
        return client.get("/", headers=headers)


def left():
    around = ambient.get()
    return "none" if around is None else f"{around.deadline - (around.runtime or BLOCKING).now():.3f}"


def tells(environ, start_response):
    """Answers with the time left when it is called, and when its body is produced."""
    start_response("200 OK", [("content-type", "text/plain")])

    def body():
        yield left().encode()
        yield b" "
        yield left().encode()

    return body()


def test_the_callers_deadline_is_adopted_for_the_body_too():
    with on(BlockingOnFakeTime()):
        assert ask(WsgiDeadlineMiddleware(tells), x_deadline_ms="1500").text == "1.500 1.500"
        assert ask(WsgiDeadlineMiddleware(tells, at_most=0.5), x_deadline_ms="1500").text == "0.500 0.500"
        assert ask(WsgiDeadlineMiddleware(tells, header="My-Time"), my_time="250").text == "0.250 0.250"
    assert ask(WsgiDeadlineMiddleware(tells)).text == "none none"
    assert ambient.get() is None
    assert inbound.get() is None


def test_an_outer_deadline_stays_the_earlier_one():
    with on(BlockingOnFakeTime()), deadline(1.0):
        assert ask(WsgiDeadlineMiddleware(tells), x_deadline_ms="1500").text == "1.000 1.000"


def test_who_arrives_too_late_is_told_so_at_once():
    response = ask(WsgiDeadlineMiddleware(tells), x_deadline_ms="0")
    assert (response.status_code, response.text, response.headers["x-no-retry"]) == (504, "Gateway Timeout", "1")


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [(DeadlineExceededError("late"), 504, None), (OverloadedError("full", retry_after=0.2), 503, "1")],
)
def test_errors_of_ours_that_nobody_handles_have_an_answer(error, status, retry_after):
    def app(_environ, _start_response):
        raise error

    response = ask(WsgiDeadlineMiddleware(app))
    assert (response.status_code, response.headers.get("retry-after")) == (status, retry_after)
    assert response.headers["x-no-retry"] == "1"


@pytest.mark.parametrize(("status", "marked"), [("502 Bad Gateway", True), ("200 OK", False), ("404 Not Found", False)])
def test_failures_after_our_own_attempts_are_marked(status, marked):
    def app(_environ, start_response):
        def fails():
            raise ConnectionError

        with pytest.raises(ConnectionError):
            Retry(2, wait=0.0).call(fails)
        start_response(status, [])
        return [b"body"]

    assert ("x-no-retry" in ask(WsgiDeadlineMiddleware(app)).headers) is marked


def test_a_handler_may_mark_its_answer():
    def app(_environ, start_response):
        do_not_retry()
        start_response("503 Service Unavailable", [])
        return [b""]

    assert ask(WsgiDeadlineMiddleware(app, no_retry_header="Stop")).headers["stop"] == "1"


def test_bodies_are_closed_and_errors_in_them_come_out():
    closed = []

    class Body:
        def __iter__(self):
            yield b"part"
            raise OverloadedError("in the middle")

        def close(self):
            closed.append(left())

    def app(_environ, start_response):
        start_response("200 OK", [])
        return Body()

    with on(BlockingOnFakeTime()):
        body = WsgiDeadlineMiddleware(app, at_most=1.0)({}, lambda *_: None)
        parts = iter(body)
        assert next(parts) == b"part"
        with pytest.raises(OverloadedError):
            next(parts)
        body.close()
    assert closed == ["1.000"]
    WsgiDeadlineMiddleware(lambda *_: [b""])({}, None).close()


def test_bad_arguments_are_named():
    with pytest.raises(ConfigurationError, match="at_most"):
        WsgiDeadlineMiddleware(None, at_most=-1)
