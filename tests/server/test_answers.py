"""The middlewares' own answers, byte for byte: an ASGI server wants its header names in lower case."""

import math

import pytest

from resilience.core.errors import CircuitOpenError, ConfigurationError, DeadlineExceededError, OverloadedError
from resilience.server.answers import Answer, Options, answer_for, marked

PLAIN = ("content-type", "text/plain; charset=utf-8")


def test_a_deadline_that_has_passed():
    body = b"Gateway Timeout"
    assert answer_for(DeadlineExceededError("late")) == Answer(
        504, "Gateway Timeout", (PLAIN, ("content-length", "15")), body
    )


@pytest.mark.parametrize(
    ("wait", "told"),
    [(0.2, "1"), (1.0, "1"), (1.2, "2"), (2.0, "2"), (0.0, None), (None, None), (math.inf, None), (-1.0, None)],
)
def test_what_was_turned_away(wait, told):
    headers = (PLAIN, ("content-length", "19"), *([("retry-after", told)] if told else []))
    for kind in (CircuitOpenError, OverloadedError):
        error = kind("no", retry_after=wait)
        assert answer_for(error) == Answer(503, "Service Unavailable", headers, b"Service Unavailable")


def group(*errors):
    return ExceptionGroup("several", errors)


LATE = DeadlineExceededError("late")
OPEN, FULL, FORCED = (CircuitOpenError("no", retry_after=wait) for wait in (1.2, None, math.inf))


@pytest.mark.parametrize(
    ("error", "status", "wait"),
    [
        (group(OPEN), 503, "2"),
        (group(FULL, OPEN, OverloadedError("no", retry_after=4.5), OPEN), 503, "5"),
        (group(FULL, FULL), 503, None),
        (group(OPEN, FORCED), 503, None),  # whoever comes back after 1.2 s is turned away by the other
        (group(OPEN, LATE), 504, None),
        (group(OPEN, group(FULL, group(LATE))), 504, None),
        (group(group(FULL), group(OPEN)), 503, "2"),
    ],
)
def test_of_a_group_the_worst_counts(error, status, wait):
    answer = answer_for(error)
    assert answer is not None
    assert (answer.status, dict(answer.headers).get("retry-after")) == (status, wait)


@pytest.mark.parametrize(
    "error",
    [ValueError(), ConfigurationError("a", 1, "b"), group(OPEN, ValueError()), group(LATE, group(OPEN, KeyError()))],
)
def test_what_is_not_ours_has_no_answer(error):
    assert answer_for(error) is None


def test_the_mark_is_set_once():
    assert marked([("a", "b")], ("stop", "1")) == [("a", "b"), ("stop", "1")]
    assert marked([("Stop", "0"), ("a", "b"), ("stop", "1")], ("stop", "1")) == [("a", "b"), ("stop", "1")]
    assert marked(((b"STOP", b"1"),), (b"stop", b"1")) == [(b"stop", b"1")]


def test_who_has_given_up_marks_failures_alone():
    assert [Options.marks(status, exhausted=True) for status in (200, 404, 499, 500, 503)] == [False] * 3 + [True] * 2
    assert not Options.marks(503, exhausted=False)
