"""One of a kind per interval; the others are counted, and none is lost from the count."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from resilience.observe.repeats import KEYS, Repeats

STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30)), max_size=60)


def test_a_second_one_waits_until_the_interval_is_over() -> None:
    repeats = Repeats(1.0)
    assert repeats.admit("a", 10.0) == 0
    assert repeats.admit("a", 10.9) is None
    assert repeats.admit("a", 10.95) is None
    assert repeats.admit("b", 10.95) == 0
    assert repeats.admit("a", 11.0) == 2
    assert repeats.admit("a", 12.0) == 0


@given(STEPS)
def test_written_ones_are_an_interval_apart_and_held_ones_are_counted(steps: list[tuple[str, int]]) -> None:
    repeats, now = Repeats(10), 0
    written: dict[str, list[int]] = {}
    asked: dict[str, int] = {}
    told: dict[str, int] = {}
    held_since: dict[str, int] = {}
    for kind, pause in steps:
        now += pause
        asked[kind] = asked.get(kind, 0) + 1
        held = repeats.admit(kind, now)
        if held is None:
            assert now - written[kind][-1] < 10
            held_since[kind] = held_since.get(kind, 0) + 1
        else:
            assert kind not in written or now - written[kind][-1] >= 10
            assert held == held_since.pop(kind, 0)
            written.setdefault(kind, []).append(now)
            told[kind] = told.get(kind, 0) + held
    for kind, count in asked.items():
        assert count == len(written[kind]) + told[kind] + held_since.get(kind, 0)


def test_it_remembers_only_so_many_kinds_and_forgets_the_longest_silent() -> None:
    repeats = Repeats(1.0)
    for kind in range(KEYS + 1):
        assert repeats.admit(kind, 0.0) == 0
    assert repeats.admit(KEYS, 0.5) is None
    assert repeats.admit(1, 0.5) is None
    assert repeats.admit(0, 0.5) == 0


def test_one_that_is_let_through_again_takes_nobodys_place() -> None:
    repeats = Repeats(1.0)
    for kind in range(KEYS):
        assert repeats.admit(kind, 0.0) == 0
    assert repeats.admit(0, 0.5) is None
    assert repeats.admit(1, 1.0) == 0
    assert repeats.admit(0, 1.0) == 1, "still counted"
