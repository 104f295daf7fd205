"""The WSGI middleware: the same, for threads, bodies included."""

import io
from wsgiref.handlers import SimpleHandler

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


class Server:
    """A server as PEP 3333 describes it: headers go out with the first part, and until then may be begun anew."""

    def __init__(self, app):
        self.status = self.headers = None
        self.parts = []
        body = app({}, self.start_response)
        try:
            for part in body:
                assert self.status is not None
                self.parts.append(part)
        finally:
            if hasattr(body, "close"):
                body.close()

    def start_response(self, status, headers, exc_info=None):
        if exc_info and self.parts:
            raise exc_info[1].with_traceback(exc_info[2])
        assert exc_info or self.status is None
        self.status, self.headers = status, dict(headers)
        return self.parts.append


def refused():
    raise OverloadedError("full", retry_after=0.2)


def generator(_environ, start_response):
    refused()
    start_response("200 OK", [])
    yield b"never"


class WithIter:
    def __init__(self, _environ, start_response):
        self.start_response = start_response

    def __iter__(self):
        refused()
        self.start_response("200 OK", [])
        yield b"never"


class WithIterThatFails:
    def __init__(self, _environ, _start_response):
        pass

    def __iter__(self):
        raise ExceptionGroup("two calls", [OverloadedError("full", retry_after=0.2), OverloadedError("full")])


def begun(_environ, start_response):
    start_response("200 OK", [("content-length", "5")])
    refused()


def begun_generator(_environ, start_response):
    start_response("200 OK", [("content-length", "5")])
    refused()
    yield b"never"


@pytest.mark.parametrize("app", [generator, WithIter, WithIterThatFails, begun, begun_generator])
def test_what_fails_before_the_first_part_has_an_answer(app):
    answered = Server(WsgiDeadlineMiddleware(app))
    assert (answered.status, answered.parts) == ("503 Service Unavailable", [b"Service Unavailable"])
    assert answered.headers == {
        "content-type": "text/plain; charset=utf-8",
        "content-length": "19",
        "retry-after": "1",
        "x-no-retry": "1",
    }


def test_a_deadline_that_passes_in_a_generator():
    time = BlockingOnFakeTime()

    def app(_environ, start_response):
        time.clock += 0.2
        Retry(2, wait=0.0).call(list)
        start_response("200 OK", [])
        yield b"never"

    with on(time):
        assert Server(WsgiDeadlineMiddleware(app, at_most=0.1)).status == "504 Gateway Timeout"


def test_what_is_no_error_of_ours_comes_out_of_a_body_as_it_is():
    def app(_environ, _start_response):
        yield from ()
        raise ExceptionGroup("two", [OverloadedError("full"), ValueError("no error of ours")])

    def plain(_environ, _start_response):
        raise ExceptionGroup("two", [OverloadedError("full"), ValueError("no error of ours")])

    for each in (app, plain):
        with pytest.raises(ExceptionGroup):
            Server(WsgiDeadlineMiddleware(each))


def test_what_the_application_has_written_itself_is_not_answered_again():
    def app(_environ, start_response):
        start_response("200 OK", [])(b"written")
        refused()

    with pytest.raises(OverloadedError):
        Server(WsgiDeadlineMiddleware(app))


def test_servers_still_learn_how_many_parts_there_are():
    def app(_environ, start_response):
        start_response("200 OK", [])
        return [b"one"]

    assert len(WsgiDeadlineMiddleware(app)({}, lambda *_: None)) == 1
    assert not hasattr(WsgiDeadlineMiddleware(tells)({}, lambda *_: None), "__len__")
    # What wsgiref makes of it: a length, for a body of one part.
    sent = io.BytesIO()
    environ = {"REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.1"}
    SimpleHandler(io.BytesIO(), sent, io.StringIO(), environ).run(WsgiDeadlineMiddleware(app))
    assert b"Content-Length: 3\r\n" in sent.getvalue()


def test_an_empty_body():
    assert (
        Server(WsgiDeadlineMiddleware(lambda _, start_response: start_response("204 No Content", []) and [])).parts
        == []
    )


def test_the_mark_is_there_once():
    def app(_environ, start_response):
        do_not_retry()
        start_response("503 Service Unavailable", [("X-No-Retry", "1")])
        return [b""]

    response = ask(WsgiDeadlineMiddleware(WsgiDeadlineMiddleware(app)))
    assert response.headers.get_list("x-no-retry") == ["1"]


def test_bad_arguments_are_named():
    with pytest.raises(ConfigurationError, match="at_most"):
        WsgiDeadlineMiddleware(None, at_most=-1)
