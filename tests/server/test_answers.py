"""The middlewares' own answers, byte for byte: an ASGI server wants its header names in lower case."""

import math

import pytest

from resilience.core.errors import CircuitOpenError, DeadlineExceededError, OverloadedError
from resilience.server.answers import Answer, Options, answer_for

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


def test_who_has_given_up_marks_failures_alone():
    assert [Options.marks(status, exhausted=True) for status in (200, 404, 499, 500, 503)] == [False] * 3 + [True] * 2
    assert not Options.marks(503, exhausted=False)
