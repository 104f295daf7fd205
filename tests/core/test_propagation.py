"""Headers between tiers: what is written can be read, and nothing else is."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.core.errors import ConfigurationError
from resilience.core.propagation import Inbound, do_not_retry, gave_up, header_name, inbound, milliseconds, seconds_left


@given(st.floats(0.001, 1e8))
def test_what_is_written_is_read_and_is_never_more(left):
    read = seconds_left(milliseconds(left))
    assert 0 < read <= max(left, 0.001)
    assert left - read < 0.0011


@given(st.floats(-1e6, 0.001))
def test_nobody_is_told_to_stop_before_it_begins(left):
    assert milliseconds(left) == "1"


def test_no_end_is_no_header():
    assert milliseconds(math.inf) is None
    assert seconds_left(None) is None


@given(st.text())
def test_anything_may_come_in(value):
    left = seconds_left(value)
    assert left is None or int(value) == left * 1000


def test_negative_and_padded_numbers_are_read():
    assert seconds_left(" 1500 ") == 1.5
    assert seconds_left("-20") == -0.02


@pytest.mark.parametrize("name", ["", "a b", "a:b", "ä", "a\n", 5, None, b"x"])
def test_what_is_no_header_name_is_refused(name):
    with pytest.raises(ConfigurationError, match="header=.*: expected the name of a header"):
        header_name("header", name)
    assert header_name("header", "X-Deadline-Ms") == "x-deadline-ms"


def test_giving_up_is_noted_where_a_request_is_being_answered():
    gave_up("budget")
    do_not_retry()
    for why, exhausted in (("final", False), ("not repeatable", False), ("budget", True), ("rejected", True)):
        answering = Inbound()
        token = inbound.set(answering)
        gave_up(why)
        assert answering.exhausted is exhausted
        do_not_retry()
        assert answering.exhausted
        inbound.reset(token)
