"""The verdict of one attempt, from the exception and from what the wire saw of it."""

import ssl
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

import resilience
from resilience.core.attempt import Attempt
from resilience.core.call import RoutedCall
from resilience.core.endpoint import Address, Endpoint
from resilience.core.outcome import Blame, Err, Ok, Sent, Verdict
from resilience.http.classify import HUNG_AFTER, classify, hung, unprocessed
from resilience.http.wire import RefusedStreamError
from resilience.runtimes.virtual import VirtualRuntime

GOOD, BAD, UNKNOWN = Blame.GOOD, Blame.BAD, Blame.UNKNOWN


@dataclass
class Seen:
    """What a wire saw."""

    written: int = 0
    received: int = 0
    reused: bool = False
    cut: bool = False
    late: bool = False


def judge(
    outcome: Any, seen: Seen | None = None, *, took: float = 0.0, latency: float | None = None, **of_the_call: Any
) -> Verdict:
    runtime = VirtualRuntime(start=100.0)
    request = of_the_call.pop("request", httpx.Request("POST", "http://web/", content=b"x"))
    call = RoutedCall(runtime, request, 100.0, of_the_call.pop("deadline", 1000.0), "web:80", True, classify)
    for name, value in of_the_call.items():
        setattr(call, name, value)
    endpoint = Endpoint(Address("10.0.0.1", 80))
    endpoint.latency = endpoint.usual = latency
    attempt = Attempt(1, endpoint, 100.0, None, lambda *_: None, lambda _: None)
    attempt.wire = seen
    call.attempts = [attempt]
    runtime.advance(took)
    return classify(outcome, call)


def failed(kind: type[Exception], cause: BaseException | None = None) -> Err:
    error = kind("so")
    error.__cause__ = cause
    return Err(error)


def told(verdict: Verdict) -> tuple[Blame, bool, Sent]:
    return verdict.blame, verdict.retry, verdict.sent


@pytest.mark.parametrize(
    ("status", "blame", "retry"), [(200, GOOD, False), (404, GOOD, False), (503, BAD, True), (500, BAD, False)]
)
def test_an_answer_is_judged_by_its_status(status: int, blame: Blame, retry: bool) -> None:
    assert told(judge(Ok(httpx.Response(status)), Seen(1, 1))) == (blame, retry, Sent.ANSWERED)


@pytest.mark.parametrize("kind", [httpx.ConnectError, httpx.ConnectTimeout])
def test_a_failed_connect_that_wrote_nothing_is_proof(kind: type[Exception]) -> None:
    assert told(judge(failed(kind), Seen())) == (BAD, True, Sent.NO)


@pytest.mark.parametrize("kind", [httpx.ConnectError, httpx.ConnectTimeout])
def test_its_type_alone_is_not(kind: type[Exception]) -> None:
    assert told(judge(failed(kind), Seen(written=1))) == (BAD, True, Sent.MAYBE)
    assert told(judge(failed(kind), None)) == (BAD, True, Sent.MAYBE)


def test_a_dial_cut_by_the_deadline_blames_nobody() -> None:
    assert told(judge(failed(httpx.ConnectTimeout), Seen(cut=True))) == (UNKNOWN, False, Sent.NO)


def test_a_certificate_for_another_name_is_worth_another_endpoint_only() -> None:
    refused = failed(httpx.ConnectError, ssl.SSLCertVerificationError())
    for seen, sent in ((Seen(), Sent.NO), (None, Sent.MAYBE)):
        verdict = judge(refused, seen)
        assert told(verdict) == (BAD, True, sent)
        assert verdict.elsewhere


@pytest.mark.parametrize("kind", [httpx.ReadTimeout, httpx.WriteTimeout])
def test_a_timeout_of_its_own_is_the_endpoints_fault(kind: type[Exception]) -> None:
    assert told(judge(failed(kind), Seen(written=9))) == (BAD, True, Sent.MAYBE)


@pytest.mark.parametrize(
    ("took", "latency", "blame"),
    [
        (HUNG_AFTER * 1.1, None, BAD),
        (HUNG_AFTER * 0.9, None, UNKNOWN),
        (0.29, 0.1, UNKNOWN),
        (0.31, 0.1, BAD),
        (HUNG_AFTER * 0.9, 0.001, UNKNOWN),
    ],
)
def test_cut_by_the_deadline_it_is_blamed_if_it_had_its_time(took: float, latency: float | None, blame: Blame) -> None:
    verdict = judge(failed(httpx.ReadTimeout), Seen(written=9, cut=True), took=took, latency=latency)
    assert verdict.blame is blame
    assert verdict.sent is Sent.MAYBE
    # A foreign transport has no wire: there the clock tells.
    verdict = judge(failed(httpx.ReadTimeout), None, took=took, latency=latency, deadline=100.0 + took)
    assert verdict.blame is blame


@pytest.mark.parametrize("kind", [httpx.ReadTimeout, httpx.WriteTimeout, httpx.ConnectTimeout])
def test_a_limit_that_acts_late_is_our_own_standstill_and_blames_nobody(kind: type[Exception]) -> None:
    """A process that stood still for a second must not find every circuit open when it goes on."""
    assert told(judge(failed(kind), Seen(written=9, late=True), took=9)) == (UNKNOWN, True, Sent.MAYBE)
    assert told(judge(failed(kind), Seen(late=True), took=9)) == (UNKNOWN, True, Sent.NO)


def test_cut_before_anything_was_sent_blames_nobody() -> None:
    assert told(judge(failed(httpx.WriteTimeout), Seen(cut=True), took=9)) == (UNKNOWN, False, Sent.NO)


@pytest.mark.parametrize(("took", "blame"), [(9.0, BAD), (0.01, UNKNOWN)])
def test_ended_because_another_send_has_won(took: float, blame: Blame) -> None:
    assert judge(failed(httpx.ReadError), Seen(written=9), took=took, lost=True).blame is blame
    assert judge(failed(httpx.ReadError), None, took=took, lost=True).blame is blame
    assert told(judge(failed(httpx.ReadError), Seen(), took=took, lost=True)) == (UNKNOWN, False, Sent.NO)


@pytest.mark.parametrize("kind", [httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError, httpx.CloseError])
def test_found_closed_on_reuse(kind: type[Exception]) -> None:
    verdict = judge(failed(kind), Seen(written=9, reused=True))
    assert told(verdict) == (UNKNOWN, True, Sent.MAYBE)
    assert verdict.stale
    verdict = judge(failed(kind), Seen(reused=True))
    assert told(verdict) == (UNKNOWN, True, Sent.NO)
    for seen in (Seen(written=9), Seen(written=9, received=1, reused=True)):
        verdict = judge(failed(kind), seen)
        assert told(verdict) == (BAD, True, Sent.MAYBE)
        assert not verdict.stale


@pytest.mark.parametrize("kind", [httpx.ReadTimeout, httpx.WriteTimeout, httpx.ConnectError])
def test_a_connection_that_was_not_found_closed_is_not_stale(kind: type[Exception]) -> None:
    verdict = judge(failed(kind), Seen(written=9, reused=True))
    assert told(verdict) == (BAD, True, Sent.MAYBE)
    assert not verdict.stale


REFUSED_STREAM = SimpleNamespace(error_code=7)


def h2(**event: Any) -> Err:
    error = httpx.RemoteProtocolError("so")
    cause = Exception(_Event("event", event))
    error.__cause__ = cause
    return Err(error)


class _Event(Exception):  # noqa: N818 - stands for an event of h2
    def __init__(self, _name: str, fields: dict[str, Any]) -> None:
        super().__init__()
        vars(self).update(fields)


def test_http2_says_what_it_has_not_processed() -> None:
    for event in ({"error_code": 7}, {"error_code": 0, "last_stream_id": 0}):
        assert told(judge(h2(**event), Seen(written=9, received=9))) == (UNKNOWN, True, Sent.NO)
    for event in ({"error_code": 2}, {"error_code": 0, "last_stream_id": 5}, {}):
        assert told(judge(h2(**event), Seen(written=9, received=9))) == (BAD, True, Sent.MAYBE)


def test_a_farewell_costs_no_attempt_and_a_refused_stream_does() -> None:
    # A connection has come to its end, not a server to its limit.
    assert judge(h2(error_code=0, last_stream_id=0), Seen(written=9)).stale
    error = httpx.RemoteProtocolError("so")
    error.__cause__ = RefusedStreamError()
    assert judge(Err(error), Seen(written=9)).stale
    assert not judge(h2(error_code=7), Seen(written=9)).stale


def test_a_body_that_may_be_used_up_is_not_sent_again_all_the_same() -> None:
    request = httpx.Request("POST", "http://web/", content=iter([b"x"]))
    assert told(judge(h2(error_code=7), Seen(written=9), request=request)) == (UNKNOWN, False, Sent.MAYBE)


def test_unprocessed_needs_a_code() -> None:
    assert not unprocessed(ValueError())


@pytest.mark.parametrize(
    "error",
    [
        httpx.PoolTimeout("so"),
        httpx.LocalProtocolError("so"),
        httpx.ProxyError("so"),
        httpx.UnsupportedProtocol("so"),
        ZeroDivisionError(),
        resilience.OverloadedError("so"),
    ],
)
def test_what_is_never_the_endpoints_fault(error: Exception) -> None:
    for seen in (None, Seen(), Seen(written=9)):
        verdict = judge(Err(error), seen)
        assert (verdict.blame, verdict.retry) == (UNKNOWN, False)


def test_hung_compares_with_what_is_usual() -> None:
    attempt = Attempt(1, Endpoint(Address("10.0.0.1", 80)), 10.0, None, lambda *_: None, lambda _: None)
    assert not hung(attempt, 10.0 + HUNG_AFTER / 2)
    assert hung(attempt, 10.0 + HUNG_AFTER)
    attempt = Attempt(1, Endpoint(Address("10.0.0.1", 80)), 0.0, None, lambda *_: None, lambda _: None)
    assert hung(attempt, HUNG_AFTER), "at least so long"


@pytest.mark.parametrize(("stream", "processed"), [(5, True), (7, False), (None, True), ("7", True)])
def test_a_farewell_speaks_of_the_streams_after_the_last_it_names(stream: Any, processed: bool) -> None:
    seen = Seen(written=9, received=9)
    seen.stream = stream  # type: ignore[attr-defined]
    verdict = judge(h2(error_code=0, last_stream_id=5), seen)
    assert told(verdict) == ((BAD, True, Sent.MAYBE) if processed else (UNKNOWN, True, Sent.NO))
