"""The verdict table, row by row."""

import email.utils
import itertools
import socket
import ssl
from types import SimpleNamespace

import httpcore
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.core.call import Call
from resilience.core.errors import BadAnswerError, CircuitOpenError, DeadlineExceededError, OverloadedError
from resilience.core.outcome import BAD, GOOD, UNKNOWN, Blame, Err, Ok, Sent
from resilience.core.propagation import NO_RETRY_HEADER
from resilience.policies import verdicts
from resilience.policies.verdicts import judge_bare, judge_cut, judge_error, judge_status, retry_after, roots
from tests.composition.fake_time import BlockingOnFakeTime

RUNTIME = BlockingOnFakeTime()


@pytest.mark.parametrize(
    ("status", "blame", "retry", "consecutive"),
    [
        *((status, Blame.GOOD, False, True) for status in (200, 204, 301, 304, 400, 401, 404, 409, 422, 501, 505, 599)),
        *((status, Blame.GOOD, True, True) for status in (408, 425, 429)),
        (500, Blame.BAD, False, False),
        *((status, Blame.BAD, True, True) for status in (502, 503, 504)),
    ],
)
def test_statuses(status, blame, retry, consecutive):
    verdict = judge_status(status, {"retry-after": "7"})
    assert (verdict.blame, verdict.retry, verdict.consecutive) == (blame, retry, consecutive)
    assert verdict.sent is Sent.ANSWERED
    assert verdict.retry_after == (7.0 if retry else None)
    assert verdict.binds_service is (status == 429)
    assert judge_status(status, {}).retry_after is None
    assert judge_status(status, {"retry-after": "soon"}).retry_after is None


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": " 120 "}, 120.0),
        ({"retry-after": email.utils.formatdate(NOW + 90, usegmt=True)}, 90.0),
        ({"retry-after": email.utils.formatdate(NOW - 90, usegmt=True)}, 0.0),
        # The server's clock is an hour ahead: its own Date says so.
        (
            {
                "retry-after": email.utils.formatdate(NOW + 3630, usegmt=True),
                "date": email.utils.formatdate(NOW + 3600, usegmt=True),
            },
            30.0,
        ),
        ({"retry-after": email.utils.formatdate(NOW + 90, usegmt=True), "date": "yesterday"}, 90.0),
        ({}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "1.5"}, None),
        ({"retry-after": "\u0665"}, None),  # a digit elsewhere
        ({"retry-after": "99999999999"}, None),
        ({"retry-after": "Mon, 99 Foo 2024 99:99:99 GMT"}, None),
    ],
)
def test_retry_after(headers, seconds, monkeypatch):
    monkeypatch.setattr(verdicts, "wall_clock", lambda: NOW)
    assert retry_after(headers) == seconds


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_a_server_sends_as_retry_after_is_survived(value, date):
    seconds = retry_after({"retry-after": value, "date": date})
    assert seconds is None or seconds >= 0.0


REQUEST = httpx.Request("GET", "http://service.test/")


@pytest.mark.parametrize(
    ("error", "blame", "retry"),
    [
        *(
            (kind("x", request=REQUEST), Blame.BAD, True)
            for kind in (
                httpx.ConnectError,
                httpx.ConnectTimeout,
                httpx.ReadTimeout,
                httpx.WriteTimeout,
                httpx.ReadError,
                httpx.WriteError,
                httpx.CloseError,
                httpx.RemoteProtocolError,
                httpx.DecodingError,
            )
        ),
        (httpcore.ReadError("x"), Blame.BAD, True),
        *(
            (kind("x", request=REQUEST), Blame.UNKNOWN, False)
            for kind in (
                httpx.PoolTimeout,
                httpx.ProxyError,
                httpx.LocalProtocolError,
                httpx.UnsupportedProtocol,
                httpx.TooManyRedirects,
            )
        ),
        (httpx.InvalidURL("x"), Blame.UNKNOWN, False),
        (httpx.StreamConsumed(), Blame.UNKNOWN, False),
        (CircuitOpenError("x"), Blame.UNKNOWN, False),
        (BadAnswerError("x", why="json"), Blame.BAD, True),
    ],
    ids=repr,
)
def test_exceptions(error, blame, retry):
    verdict = judge_error(error)
    assert (verdict.blame, verdict.retry) == (blame, retry)


def test_exceptions_of_others_are_not_in_the_table():
    assert judge_error(KeyError()) is None
    assert judge_error(httpx.CookieConflict("x")) is None
    assert judge_error(OSError()) is None


def test_subclasses_of_the_users_are_judged_as_what_they_are():
    class OwnError(httpx.ReadTimeout):
        pass

    assert judge_error(OwnError("x")) is BAD


def test_a_certificate_that_is_not_valid_means_another_endpoint_only():
    refused = httpx.ConnectError("x", request=REQUEST)
    refused.__cause__ = httpcore.ConnectError(ssl.SSLCertVerificationError("not valid for the name"))
    verdict = judge_error(refused)
    assert (verdict.blame, verdict.elsewhere) == (Blame.BAD, True)
    assert not judge_error(httpx.ConnectError("x")).elsewhere


def test_circles_of_causes_end():
    first, second = KeyError(), ValueError()
    first.__cause__, second.__context__ = second, first
    assert set(map(type, roots(first))) == {KeyError, ValueError}


def bare(error):
    return judge_bare(Err(error), Call(RUNTIME, None, 0.0))


def test_bare_functions():
    assert bare(KeyError()).blame is Blame.BAD
    assert not bare(KeyError()).retry
    assert bare(KeyError()).sent is Sent.MAYBE
    assert bare(httpx.ReadError("x", request=httpx.Request("POST", "http://service.test/"))).retry is False
    assert bare(socket.gaierror()).retry
    assert judge_bare(Ok("reply"), Call(RUNTIME, None, 0.0)) is GOOD
    late = bare(DeadlineExceededError("late"))
    assert (late.blame, late.retry, late.sent) == (Blame.BAD, True, Sent.MAYBE)
    unbegun = bare(DeadlineExceededError("late", sent=Sent.NO))
    assert (unbegun.blame, unbegun.retry, unbegun.sent) == (Blame.UNKNOWN, True, Sent.NO)


@pytest.mark.parametrize("value", [httpx.Response(503, headers={"Retry-After": "4"}), "503", None, 503])
def test_bare_replies(value):
    verdict = judge_bare(Ok(value), Call(RUNTIME, None, 0.0))
    assert verdict.retry_after == (4.0 if isinstance(value, httpx.Response) else None)


@pytest.mark.parametrize("headers", [{}, {"headers": None}, {"headers": [("retry-after", "4")]}])
def test_a_reply_is_no_response_without_a_mapping_of_headers(headers):
    assert judge_bare(Ok(SimpleNamespace(status_code=503, **headers)), Call(RUNTIME, None, 0.0)) is GOOD


class Cancelled(BaseException):
    pass


@pytest.mark.parametrize(
    ("error", "fields", "since", "verdict"),
    [
        (Cancelled(), {"deadline": 1000.0}, 999.0, BAD),
        (Cancelled(), {"deadline": 1000.0}, 999.96, UNKNOWN),  # begun too late
        (Cancelled(), {"deadline": 1001.0}, 999.0, UNKNOWN),  # by the caller
        (Cancelled(), {"deadline": 1001.0, "lost": True}, 999.0, BAD),  # by a hedge that won
        (Cancelled(), {"deadline": 1001.0, "lost": True, "usual": 0.34}, 999.0, UNKNOWN),  # it did not hang
        (Cancelled(), {"deadline": 1000.0, "queueing": True}, 999.0, UNKNOWN),
        (KeyboardInterrupt(), {"deadline": 1000.0}, 999.0, UNKNOWN),
        (GeneratorExit(), {"deadline": 1000.0}, 999.0, UNKNOWN),
        (Cancelled(), {"deadline": 1000.0, "usual": 0.5}, 998.5, BAD),  # exactly what counts as hanging
        (Cancelled(), {"deadline": 1000.0, "usual": 0.5}, 998.75, UNKNOWN),
    ],
)
def test_cuts(error, fields, since, verdict):
    call = Call(BlockingOnFakeTime(), None, 0.0)
    for name, value in fields.items():
        setattr(call, name, value)
    assert judge_cut(error, call, since) is verdict


def test_whoever_has_given_up_below_still_binds_the_service():
    verdict = judge_status(429, {NO_RETRY_HEADER: "1", "retry-after": "5"})
    assert (verdict.retry, verdict.binds_service, verdict.retry_after) == (False, True, None)
    verdict = judge_status(503, {NO_RETRY_HEADER: "1"})
    assert (verdict.blame, verdict.retry, verdict.binds_service) == (Blame.BAD, False, False)


def test_what_was_turned_away_was_not_sent_and_says_when_to_come_again():
    verdict = judge_error(OverloadedError("full", retry_after=2.5))
    assert (verdict.sent, verdict.retry_after) == (Sent.NO, 2.5)


def test_everything_that_an_exception_came_from_is_looked_at():
    cause, context, argument, deeper = (ValueError(name) for name in ("cause", "context", "argument", "deeper"))
    error = ConnectionError(argument)
    error.__cause__, error.__context__, argument.__cause__ = cause, context, deeper
    assert set(roots(error)) == {error, cause, context, argument, deeper}


def test_of_endless_causes_fifty_are_looked_at():
    errors = [ValueError(number) for number in range(60)]
    for error, cause in itertools.pairwise(errors):
        error.__cause__ = cause
    assert roots(errors[0]) == errors[:50]


def test_a_status_that_was_raised_is_judged_as_one_that_was_returned():
    response = httpx.Response(503, headers={"Retry-After": "4"}, request=REQUEST)
    verdict = judge_error(httpx.HTTPStatusError("x", request=REQUEST, response=response))
    assert (verdict.blame, verdict.sent, verdict.retry_after) == (Blame.BAD, Sent.ANSWERED, 4.0)


def test_an_error_that_merely_has_a_response_is_judged_by_its_kind():
    class HalfReadError(httpx.ReadError):
        response = httpx.Response(200)

    assert judge_error(HalfReadError("x")) is BAD


@pytest.mark.parametrize("module", ["httpx2", "httpx2._exceptions", "httpcore2._exceptions"])
def test_wherever_within_its_package_an_exception_is_at_home(module):
    assert judge_error(type("ReadTimeout", (Exception,), {"__module__": module})()) is BAD
