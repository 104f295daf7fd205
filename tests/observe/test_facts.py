"""What of an event is written, and what never is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.core.events import AttemptEnded, CallEnded, EndpointsChanged, HealthChanged
from resilience.observe.facts import LONGEST, MOST, facts, logfmt, scrub

SECRET = "hunter2"


def call(**changes: Any) -> CallEnded:
    fields: dict[str, Any] = {
        "service": "web:80",
        "method": "GET",
        "operation": "get_item",
        "attempts": 2,
        "endpoints": ("10.0.0.1:80", "10.0.0.2:80"),
        "waited": 0.1,
        "duration": 0.123_456_789,
        "outcome": "ok",
    }
    return CallEnded(**(fields | changes))


def test_fields_come_by_name_without_those_that_do_not_apply() -> None:
    assert facts(call(status=200)) == {
        "service": "web:80",
        "method": "GET",
        "operation": "get_item",
        "attempts": 2,
        "endpoints": ["10.0.0.1:80", "10.0.0.2:80"],
        "waited": 0.1,
        "duration": 0.123457,
        "outcome": "ok",
        "status": 200,
    }


def test_what_is_false_or_zero_is_still_a_fact() -> None:
    assert facts(HealthChanged("web:80", "10.0.0.1:80", healthy=False, reason=""))["healthy"] is False
    assert facts(AttemptEnded("web:80", "10.0.0.1:80", 1, "GOOD", 0.0))["duration"] == 0.0


def test_a_thousand_addresses_are_one_short_line() -> None:
    added = tuple(f"10.0.{i // 250}.{i % 250}:80" for i in range(1000))
    shown = facts(EndpointsChanged("web:80", added, (), 1000, "dns"))
    assert shown["added"] == [*added[:MOST], f"… {1000 - MOST} more"]
    assert shown["removed"] == []
    assert shown["total"] == 1000


def test_a_long_error_is_cut() -> None:
    shown = facts(call(error="x" * 5000))["error"]
    assert len(shown) == LONGEST
    assert shown.endswith("x…")


def test_what_is_not_too_long_is_written_whole() -> None:
    shown = facts(call(error="x" * LONGEST, endpoints=("10.0.0.1:80",) * MOST))
    assert shown["error"] == "x" * LONGEST
    assert shown["endpoints"] == ["10.0.0.1:80"] * MOST


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://user:hunter2@web.internal:8080/a/b?token=hunter2#hunter2", "https://web.internal:8080/a/b"),
        ("Client error '401' for url 'http://u:hunter2@web/x?y=hunter2'", "Client error '401' for url 'http://web/x'"),
        ('for "http://web?hunter2" and http://v#hunter2 too', 'for "http://web" and http://v too'),
        ("amqp://hunter2@broker/", "amqp://broker/"),
        ("http://web/items", "http://web/items"),
        ("why? because", "why? because"),
        ("[Errno 111] Connection refused", "[Errno 111] Connection refused"),
    ],
)
def test_urls_in_texts_lose_userinfo_query_and_fragment(text: str, expected: str) -> None:
    assert scrub(text) == expected


@pytest.mark.parametrize("field", ["operation", "error", "stopped", "service", "method"])
def test_no_field_lets_a_secret_of_a_url_through(field: str) -> None:
    event = call(**{field: f"http://user:{SECRET}@web:80/x?token={SECRET}#{SECRET}"})
    assert SECRET not in str(facts(event))


def test_an_operation_that_was_a_target_loses_its_query() -> None:
    assert facts(call(operation=f"/login?password={SECRET}"))["operation"] == "/login"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "k=plain"),
        ("10.0.0.1:80", "k=10.0.0.1:80"),
        ("two words", "k='two words'"),
        ("", "k=''"),
        ("a=b", "k='a=b'"),
        ("it's", 'k="it\'s"'),
        (["a", "b"], "k=a,b"),
        ([], "k=''"),
        (0.25, "k=0.25"),
        (None, "k=None"),
        ("\x1b[31mred", "k='\\x1b[31mred'"),
    ],
)
def test_lines_quote_what_needs_it(value: object, written: str) -> None:
    assert logfmt({"k": value}) == written


@given(st.dictionaries(st.sampled_from(["service", "error", "reason"]), st.text() | st.lists(st.text())))
def test_whatever_the_far_side_says_it_is_one_printable_line(pairs: dict[str, object]) -> None:
    line = logfmt(pairs)
    assert line.isprintable()
    assert len(line.splitlines()) <= 1
