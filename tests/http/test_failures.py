"""What the caller is told of a failure: may the server have acted?"""

import httpx
import pytest

import resilience
from resilience.core.attempt import Attempt
from resilience.core.call import RoutedCall
from resilience.core.endpoint import Address, Endpoint
from resilience.core.outcome import BAD, Blame, Sent, Verdict
from resilience.http.classify import classify
from resilience.http.failures import failure, outcome_of, was_cut
from resilience.runtimes.virtual import VirtualRuntime

REFUSED = Verdict(Blame.BAD, retry=True, sent=Sent.NO)


def call_with(*verdicts: Verdict, deadline: float = 105.0) -> RoutedCall:
    runtime = VirtualRuntime(start=100.0)
    call = RoutedCall(runtime, httpx.Request("GET", "http://web/"), 100.0, deadline, "web:80", True, classify)
    call.service = "web:80"
    for number, verdict in enumerate(verdicts, 1):
        attempt = Attempt(number, Endpoint(Address("10.0.0.1", 80)), 100.0, None, lambda *_: None, lambda _: None)
        attempt.settle(verdict, 100.5)
        call.attempts.append(attempt)
    return call


@pytest.mark.parametrize(
    ("verdicts", "sent", "kind"),
    [
        ((), Sent.NO, httpx.ConnectTimeout),
        ((REFUSED,), Sent.NO, httpx.ConnectTimeout),
        ((REFUSED, BAD), Sent.MAYBE, httpx.ReadTimeout),
        ((BAD, REFUSED), Sent.MAYBE, httpx.ReadTimeout),
    ],
)
def test_a_deadline_tells_whether_the_server_may_have_acted(
    verdicts: tuple[Verdict, ...], sent: Sent, kind: type[Exception]
) -> None:
    timed_out = failure(httpx.ReadTimeout("so"), [call_with(*verdicts)], cut=True)
    waited = failure(resilience.DeadlineExceededError("so", sent=Sent.NO), [call_with(*verdicts)], cut=False)
    for error in (timed_out, waited):
        assert isinstance(error, resilience.DeadlineExceededError)
        assert isinstance(error, kind)
        assert (error.sent, len(error.attempts)) == (sent, len(verdicts))
    assert (timed_out.service, str(timed_out).partition(" passed")[0]) == (  # type: ignore[attr-defined]
        "web:80",
        "the deadline of 5 s for web:80",
    )


def test_a_timeout_that_is_not_the_deadlines_stays_what_it_was() -> None:
    original = httpx.ReadTimeout("so")
    assert failure(original, [call_with(BAD)], cut=False) is original
    assert len(original.attempts) == 1  # type: ignore[attr-defined]


def test_hops_are_told_together() -> None:
    error = failure(httpx.ReadError("so"), [call_with(BAD), call_with(BAD, BAD)], cut=False)
    assert len(error.attempts) == 3  # type: ignore[attr-defined]


def test_whether_the_deadline_cut_it() -> None:
    call = call_with(BAD)
    assert not was_cut(call)
    call.runtime.advance(5.0)  # type: ignore[attr-defined]
    assert was_cut(call)


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (resilience.DeadlineExceededError("so"), "deadline"),
        (resilience.OverloadedError("so"), "rejected"),
        (httpx.ReadError("so"), "failed"),
        (KeyboardInterrupt(), "cancelled"),
    ],
)
def test_the_word_for_the_end_of_a_call(error: BaseException, word: str) -> None:
    assert outcome_of(error) == word
