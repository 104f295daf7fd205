"""Guard: what it refuses, and that a refusal is a failure like any other."""

import functools
import math
import pickle
from types import SimpleNamespace

import httpx
import msgspec
import pydantic
import pytest

from resilience.core.call import RoutedCall
from resilience.core.errors import BadAnswerError, ConfigurationError
from resilience.core.outcome import Blame, Err, Sent
from resilience.pipeline import Pipeline
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.guard import Guard
from resilience.policies.policy import Policy
from resilience.policies.retry import Retry
from resilience.policies.verdicts import judge_bare
from resilience.runtimes.blocking import BLOCKING, run_blocking


class Item(pydantic.BaseModel):
    name: str


class Thing(msgspec.Struct):
    name: str


def response(status=200, content=b'{"name": "a"}', **headers):
    headers = {"content-type": "application/json; charset=utf-8"} | {k.replace("_", "-"): v for k, v in headers.items()}
    return httpx.Response(status, content=content, headers=headers)


def refused(guard, answer):
    """Why an answer is refused; None when it is let through."""
    try:
        assert guard.call(lambda: answer) is answer
    except BadAnswerError as error:
        return error.why
    return None


@pytest.mark.parametrize(
    ("rules", "answer", "why"),
    [
        ({"status": 200}, response(), None),
        ({"status": 200}, response(404), "status"),
        ({"status": range(200, 300)}, response(204), None),
        ({"status": {200, 404}}, response(404), None),
        ({"content_type": "application/json"}, response(), None),
        ({"content_type": "Application/*JSON"}, response(), None),
        ({"content_type": ("text/*", "application/xml")}, response(), "content_type"),
        ({"content_type": "application/json"}, response(content_type=""), "content_type"),
        ({"content_type": "text/plain"}, response(500), None),
        ({"content_type": "text/plain"}, response(204, b""), None),
        ({"max_bytes": 13}, response(), None),
        ({"max_bytes": 12}, response(), "max_bytes"),
        ({"max_bytes": 12}, response(500), "max_bytes"),
        ({"max_bytes": 0}, response(204, b""), None),
        ({"max_bytes": 13}, response(content=b"<html>"), None),
        ({"max_bytes": 13, "json": True}, response(content=b"<html>"), "json"),
        ({"max_bytes": 13, "json": True}, response(503, b"<html>"), None),
        ({"json": True}, response(), None),
        ({"json": True}, response(content=b"<html>"), "json"),
        ({"json": True}, response(content=b"\xff"), "json"),
        ({"json": True}, response(content=b""), "json"),
        ({"json": True}, response(204, b""), None),
        ({"json": True}, response(503, b"<html>"), None),
        ({"model": Item}, response(), None),
        ({"model": Item}, response(content=b'{"nome": 1}'), "model"),
        ({"model": Thing}, response(), None),
        ({"model": Thing}, response(content=b'{"name": 1}'), "model"),
        ({"model": Item}, {"name": "a"}, None),
        ({"model": Item}, Item(name="a"), None),
        ({"model": Item}, {"name": []}, "model"),
        ({"model": Thing}, {"name": "a"}, None),
        ({"model": Thing}, Thing("a"), None),
        ({"model": Thing}, ["a"], "model"),
        ({"check": lambda value: value > 1}, 2, None),
        ({"check": lambda value: value > 1}, 1, "check"),
        ({"check": lambda value: value > 1}, "1", "check"),
        ({"check": lambda value: None}, 1, None),
        ({"status": 200, "json": True}, 5, None),
    ],
)
def test_rules(rules, answer, why):
    assert refused(Guard(**rules), answer) == why


def test_the_error_says_what_is_wrong_and_travels():
    with pytest.raises(BadAnswerError) as caught:
        Guard(model=Item).call(lambda: response(content=b"{}"))
    error = caught.value
    assert "the body is not Item" in str(error)
    assert isinstance(error.causes[0], pydantic.ValidationError)
    assert pickle.loads(pickle.dumps(error)).why == "model"
    with pytest.raises(BadAnswerError, match="status 503") as caught:
        Guard(status=200).call(lambda: response(503, retry_after="7"))
    assert caught.value.retry_after == 7.0
    assert caught.value.service == "test_the_error_says_what_is_wrong_and_travels.<locals>.<lambda>"
    with pytest.raises(BadAnswerError, match="larger than 3 bytes"):
        Guard(max_bytes=3).call(response)
    with pytest.raises(BadAnswerError, match="the check said no"):
        Guard(check=bool).call(lambda: "")
    with pytest.raises(BadAnswerError, match="content type missing"):
        Guard(content_type="text/plain").call(lambda: httpx.Response(200))


def test_a_refusal_is_blamed_and_repeated():
    verdict = judge_bare(Err(BadAnswerError("refused", why="json", retry_after=2.0)), None)
    assert (verdict.blame, verdict.retry, verdict.sent, verdict.retry_after) == (Blame.BAD, True, Sent.ANSWERED, 2.0)
    answers = iter([b"<html>", b"<html>", b"{}"])
    breaker = CircuitBreaker()
    pipeline = Pipeline(Retry(3, wait=0.0), breaker, Guard(json=True))
    assert pipeline.call(lambda: response(content=next(answers))).content == b"{}"
    assert breaker._circuit.counts(breaker._place.runtime.now()) == (1, 2)


class Unread(Policy):
    """Gives the call what a client gives it: a way to read bodies, and one to drop replies."""

    def __init__(self):
        self.dropped, self.asked, self.must_read = [], [], []

    async def around(self, call, proceed):
        async def read(reply, most):
            assert call.must_read >= most
            self.asked.append(most)
            return reply.body if len(reply.body) <= most else None

        async def discard(reply):
            self.dropped.append(reply)
            return True

        call.read, call.discard = read, discard
        try:
            return await proceed(call)
        finally:
            self.must_read.append(call.must_read)


class Reply:
    status_code = 200

    def __init__(self, body):
        self.body = body
        self.headers = {}


async def asleep(_answer, seconds=0):
    """Never asked."""


def test_bodies_are_read_up_to_the_ceiling_and_bad_replies_dropped():
    client = Unread()
    good, large = Reply(b"{}"), Reply(b"x" * 5000)
    assert Pipeline(client, Guard(json=True)).call(lambda: good) is good
    assert Pipeline(client, Guard(max_bytes=10, json=True)).call(lambda: good) is good
    assert client.dropped == []
    with pytest.raises(BadAnswerError, match="larger than 10 bytes"):
        Pipeline(client, Guard(max_bytes=10)).call(lambda: large)
    assert client.dropped == [large]
    streamed = Reply(b"never looked at")
    assert Pipeline(client, Guard(status=200)).call(lambda: streamed) is streamed
    broken = Reply(b"<html>")
    with pytest.raises(BadAnswerError, match="not JSON"):
        Pipeline(client, Guard(json=True)).call(lambda: broken)


@pytest.mark.parametrize(
    ("rules", "argument"),
    [
        ({}, "status"),
        ({"status": ()}, "status"),
        ({"status": 42}, "status"),
        ({"status": "200"}, "status"),
        ({"status": [200, "404"]}, "status"),
        ({"status": 2.0}, "status"),
        ({"status": [[200]]}, "status"),
        ({"content_type": ""}, "content_type"),
        ({"content_type": ["json"]}, "content_type"),
        ({"content_type": 5}, "content_type"),
        ({"content_type": "application/json; charset=utf-8"}, "content_type"),
        ({"content_type": ("text/html", " text/plain")}, "content_type"),
        ({"content_type": "/"}, "content_type"),
        ({"max_bytes": -1}, "max_bytes"),
        ({"max_bytes": 1.5}, "max_bytes"),
        ({"json": 1}, "json"),
        ({"model": dict}, "model"),
        ({"model": Item(name="a")}, "model"),
        ({"check": "name"}, "check"),
        ({"check": asleep}, "check"),
        ({"check": functools.partial(asleep, seconds=1)}, "check"),
    ],
)
def test_bad_arguments_are_named(rules, argument):
    with pytest.raises(ConfigurationError) as caught:
        Guard(**rules)
    assert caught.value.argument == argument


def test_why_it_was_refused_is_the_cause():
    error = KeyError("worse")

    def check(_):
        raise error

    for guard, answer, kind in (
        (Guard(check=check), 1, KeyError),
        (Guard(model=Item), {"name": 1}, pydantic.ValidationError),
        (Guard(model=Item), response(content=b"{}"), pydantic.ValidationError),
        (Guard(json=True), response(content=b"<"), ValueError),
    ):
        with pytest.raises(BadAnswerError) as caught:
            guard.call(lambda answer=answer: answer)
        assert [isinstance(cause, kind) for cause in caught.value.causes] == [True]
    with pytest.raises(BadAnswerError) as caught:
        Guard(check=check).call(int)
    assert caught.value.causes == (error,)


def test_parameters_are_no_part_of_a_content_type():
    answer = response(content_type="text/html; charset=utf-8; profile=a")
    assert refused(Guard(content_type="text/html"), answer) is None
    assert refused(Guard(content_type="text/plain"), answer) == "content_type"


def test_the_first_error_status_has_no_body_worth_reading():
    assert refused(Guard(json=True), response(399, b"<")) == "json"
    assert refused(Guard(json=True), response(400, b"<")) is None


def test_what_head_gets_has_no_body():
    rules = (Guard(json=True), Guard(model=Item), Guard(content_type="application/json"))
    for method, why in (("HEAD", [None] * 3), ("GET", ["json", "model", "content_type"])):
        answer = httpx.Response(200, request=httpx.Request(method, "http://service.test/"))
        assert [refused(guard, answer) for guard in rules] == why


@pytest.mark.parametrize("headers", [{}, {"headers": None}])
def test_an_answer_without_headers_is_judged_all_the_same(headers):
    answer = SimpleNamespace(status_code=503, content=b"{}", **headers)
    assert refused(Guard(status=200), answer) == "status"
    answer.status_code = 200
    assert refused(Guard(content_type="application/json"), answer) == "content_type"
    assert refused(Guard(status=200, json=True), answer) is None


@pytest.mark.parametrize(
    ("guards", "must_read", "asked"),
    [
        ([Guard(status=200)], 0, []),
        ([Guard(check=bool)], math.inf, []),
        ([Guard(check=bool, max_bytes=10)], 10, [10]),
        ([Guard(max_bytes=10)], 10, [10]),
        ([Guard(max_bytes=10, json=True)], 10, [10]),
        ([Guard(json=True)], math.inf, [math.inf]),
        ([Guard(model=Item)], math.inf, [math.inf]),
        ([Guard(max_bytes=100), Guard(max_bytes=20)], 100, [20, 100]),
        ([Guard(max_bytes=20), Guard(max_bytes=100)], 100, [100, 20]),
    ],
)
def test_as_much_of_the_body_belongs_to_the_attempt_as_the_rules_want_to_see(guards, must_read, asked):
    client, reply = Unread(), Reply(b'{"name":1}' if guards[0].model is None else b'{"name": "a"}')
    assert Pipeline(client, *guards).call(lambda: reply) is reply
    assert (client.must_read, client.asked) == ([must_read], asked)


def test_that_a_body_is_to_be_empty_can_be_seen_of_its_first_byte_only():
    client = Unread()
    with pytest.raises(BadAnswerError, match="larger than 0 bytes"):
        Pipeline(client, Guard(max_bytes=0)).call(lambda: Reply(b"x"))
    assert client.must_read[0] > 0


def refused_to_a_client(guard, reply, *, buffered):
    """Why a client's call refuses a reply; None when it is let through."""
    call = RoutedCall(BLOCKING, None, 0.0, math.inf, "GET", True, judge_bare)
    call.buffered = buffered

    async def proceed(_):
        return reply

    try:
        assert run_blocking(guard.around(call, proceed)) is reply
    except BadAnswerError as error:
        return error.why
    return None


class Streamed:
    """A reply whose body nobody may touch but the caller."""

    status_code = 200
    headers = {"content-type": "text/html"}  # noqa: RUF012

    @property
    def content(self):
        raise AssertionError


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ({"json": True}, None),
        ({"max_bytes": 0}, None),
        ({"model": Item}, None),
        ({"status": 201}, "status"),
        ({"content_type": "application/json"}, "content_type"),
        ({"json": True, "check": lambda reply: reply.status_code == 200}, None),
        ({"json": True, "check": lambda reply: reply.status_code == 201}, "check"),
    ],
)
def test_what_a_clients_caller_streams_is_judged_by_its_head_and_by_the_check_alone(rules, why):
    assert refused_to_a_client(Guard(**rules), Streamed(), buffered=False) == why


@pytest.mark.parametrize(("content", "why"), [(b"{}", None), (b"<", "json")])
def test_what_a_client_has_read_for_its_caller_is_looked_into(content, why):
    assert refused_to_a_client(Guard(json=True), response(content=content), buffered=True) == why


def test_a_rule_that_is_broken_without_an_exception_has_no_cause():
    with pytest.raises(BadAnswerError) as caught:
        Guard(status=200).call(httpx.Response, 404)
    assert caught.value.causes == ()
