"""An answer that says that trying again is of no use: its verdict, and that it is passed on."""

import pytest

from resilience.core.outcome import Blame, Sent
from resilience.core.propagation import Inbound, inbound
from resilience.policies.verdicts import judge_status


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_it_is_final_and_blamed_as_ever(status):
    plain = judge_status(status, {})
    marked = judge_status(status, {"x-no-retry": "1", "retry-after": "5"})
    assert plain.retry
    assert not marked.retry
    assert (marked.blame, marked.sent, marked.retry_after) == (plain.blame, Sent.ANSWERED, None)
    assert judge_status(status, {"x-no-retry": "0"}).retry


def test_it_marks_our_own_answer():
    answering = Inbound()
    token = inbound.set(answering)
    judge_status(200, {"x-no-retry": "1"})
    assert not answering.exhausted
    assert judge_status(503, {"x-no-retry": "1"}).blame is Blame.BAD
    assert answering.exhausted
    inbound.reset(token)
