"""Passive ejection: who stands out, for how long, and how many at most."""

from __future__ import annotations

import math

import pytest

from resilience.core.errors import ConfigurationError
from resilience.core.outcome import BAD, GOOD, UNKNOWN
from resilience.health.ejection import Ejected, Ejection, OutlierEjection, Returned


def still() -> float:
    return 0.0


def feed(ejection: Ejection[str], **rates: float) -> None:
    """Give each member a hundred verdicts at this rate of success."""
    for member, rate in rates.items():
        for number in range(100):
            ejection.settle(member, GOOD if number < rate * 100 else BAD)


def of(members: str, **options: float) -> Ejection[str]:
    ejection: Ejection[str] = Ejection(OutlierEjection(**options))  # type: ignore[arg-type]
    ejection.update(members)
    return ejection


def out(ejection: Ejection[str], now: float = 0.0) -> set[str]:
    return {change.member for change in ejection.sweep(now, still) if isinstance(change, Ejected)}


def test_one_of_two_stands_out() -> None:
    ejection = of("ab")
    feed(ejection, a=1.0, b=0.5)
    assert ejection.sweep(0.0, still) == [Ejected("b", 30.0, 0.5, 0.9)]


def test_one_alone_is_never_ejected() -> None:
    ejection = of("a", max_ejected=1.0)
    feed(ejection, a=0.0)
    assert ejection.sweep(0.0, still) == []


def test_two_sick_ones_do_not_hide_each_other() -> None:
    ejection = of("abcde")
    feed(ejection, a=1.0, b=0.99, c=0.98, d=0.2, e=0.0)
    assert out(ejection) == {"d", "e"}


def test_when_all_fail_alike_nobody_is_ejected() -> None:
    ejection = of("abcd")
    feed(ejection, a=0.30, b=0.35, c=0.28, d=0.25)
    assert out(ejection) == set()


def test_a_wide_spread_needs_a_wider_distance() -> None:
    ejection = of("abcdef", margin=0.01)
    feed(ejection, a=1.0, b=0.9, c=0.8, d=0.7, e=0.6, f=0.55)
    assert out(ejection) == set()


@pytest.mark.parametrize(("share", "count", "most"), [(0.5, 3, 1), (0.5, 4, 2), (0.3, 10, 3), (0.1, 9, 0), (1.0, 3, 2)])
def test_how_many_at_most(share: float, count: int, most: int) -> None:
    members = "abcdefghij"[:count]
    ejection = of(members, max_ejected=share, deviations=0.0)
    feed(ejection, **{member: 1.0 - number / 10 for number, member in enumerate(members)})
    # With one deviation of none and a tiny spread everybody below the median stands out; the worst go first.
    assert out(ejection) <= set(members[count - most :] if most else ())
    ejection = of(members, max_ejected=share)
    feed(ejection, **dict.fromkeys(members[1:], 0.0), **{members[0]: 1.0})
    assert len(out(ejection)) <= most


def test_the_worst_go_first_and_the_next_when_there_is_room() -> None:
    ejection = of("abcd", max_ejected=0.25, base=10.0)
    feed(ejection, a=1.0, b=1.0, c=0.6, d=0.3)
    assert out(ejection, 0.0) == {"d"}
    feed(ejection, a=1.0, b=1.0, c=0.6)
    assert ejection.sweep(10.0, still) == [Returned("d"), Ejected("c", 10.0, 0.6, 0.9)]


def test_ejections_grow_and_are_forgiven_one_by_one() -> None:
    ejection = of("ab", interval=1.0, base=10.0, longest=25.0)
    now, lengths = 0.0, []
    for _ in range(4):
        feed(ejection, a=1.0, b=0.0)
        (change,) = ejection.sweep(now, still)
        assert isinstance(change, Ejected)
        lengths.append(change.seconds)
        now += change.seconds
        assert ejection.sweep(now - 0.1, still) == []
        assert ejection.sweep(now, still) == [Returned("b")]
        now += 1.0
    assert lengths == [10.0, 20.0, 25.0, 25.0]
    for _ in range(3):
        feed(ejection, a=1.0, b=1.0)
        assert ejection.sweep(now, still) == []
        now += 1.0
    feed(ejection, a=1.0, b=0.0)
    assert ejection.sweep(now, still) == [Ejected("b", 20.0, 0.0, 0.9)]


def test_jitter_is_added() -> None:
    ejection = of("ab", jitter=0.5)
    feed(ejection, a=1.0, b=0.0)
    assert ejection.sweep(0.0, lambda: 0.5) == [Ejected("b", 37.5, 0.0, 0.9)]


def test_few_calls_are_added_up_and_forgotten_in_time() -> None:
    ejection = of("ab", minimum_calls=30)
    for sweep in range(3):
        for _ in range(9):
            ejection.settle("a", GOOD)
            ejection.settle("b", BAD)
        assert out(ejection, sweep * 10.0) == set(), "27 calls are too few"
    for _ in range(9):
        ejection.settle("a", GOOD)
        ejection.settle("b", BAD)
    assert out(ejection, 30.0) == {"b"}

    ejection = of("ab", minimum_calls=30)
    for _ in range(29):
        ejection.settle("a", GOOD)
        ejection.settle("b", BAD)
    for sweep in range(6):
        out(ejection, sweep * 10.0)
    ejection.settle("a", GOOD)
    ejection.settle("b", BAD)
    assert out(ejection, 60.0) == set(), "a minute old"


def test_what_counts() -> None:
    ejection = of("ab")
    feed(ejection, a=1.0, b=1.0, c=0.0)
    for _ in range(500):
        ejection.settle("b", UNKNOWN)
    assert out(ejection) == set()
    feed(ejection, a=1.0, b=0.0)
    assert out(ejection, 10.0) == {"b"}
    feed(ejection, b=0.0)  # calls that were under way
    assert ejection.restore("b") == [Returned("b")]
    assert ejection.restore("b") == []
    assert ejection.restore("c") == []
    feed(ejection, a=1.0, b=1.0)
    assert out(ejection, 20.0) == set()


def test_a_smaller_set_gets_back_whom_it_needs() -> None:
    ejection = of("abcd")
    feed(ejection, a=1.0, b=1.0, c=0.2, d=0.1)
    ejection.sweep(0.0, iter([0.9, 0.1]).__next__)
    assert ejection.update("acd") == [Returned("c")], "the one that would return first"
    assert ejection.update("d") == [Returned("d")]
    assert ejection.update("abcd") == []


def test_when_to_sweep_next() -> None:
    ejection = of("ab", interval=10.0, base=4.0)
    assert ejection.wait(100.0) == 0.0
    feed(ejection, a=1.0, b=0.0)
    ejection.sweep(100.0, still)
    assert ejection.wait(101.0) == 3.0
    assert ejection.sweep(104.0, still) == [Returned("b")]
    feed(ejection, a=1.0, b=0.0)
    assert ejection.sweep(105.0, still) == [], "judged once per interval"
    assert ejection.wait(105.0) == 5.0
    assert ejection.wait(200.0) == 0.0


def test_few_calls_count_for_six_sweeps() -> None:
    for sweeps, expected in ((5, {"b"}), (6, set[str]())):
        ejection = of("ab", minimum_calls=30)
        for _ in range(29):
            ejection.settle("a", GOOD)
            ejection.settle("b", BAD)
        for sweep in range(sweeps):
            assert out(ejection, sweep * 10.0) == set()
        ejection.settle("a", GOOD)
        ejection.settle("b", BAD)
        assert out(ejection, sweeps * 10.0) == expected


@pytest.mark.parametrize(("calls", "expected"), [(19, set[str]()), (20, {"b"})])
def test_so_many_calls_are_enough_to_be_judged(calls: int, expected: set[str]) -> None:
    ejection = of("ab", minimum_calls=20)
    for _ in range(calls):
        ejection.settle("a", GOOD)
        ejection.settle("b", BAD)
    assert out(ejection) == expected


def test_those_who_are_out_already_take_up_the_room() -> None:
    ejection = of("abcd", max_ejected=0.5)
    feed(ejection, a=1.0, b=1.0, c=0.0, d=0.0)
    assert out(ejection) == {"c", "d"}
    feed(ejection, a=1.0, b=0.0)
    assert out(ejection, 10.0) == set()


def test_a_set_that_stays_needs_nobody_back() -> None:
    ejection = of("abcd")
    feed(ejection, a=1.0, b=1.0, c=1.0, d=0.0)
    assert out(ejection) == {"d"}
    assert ejection.update("abcd") == []
    assert ejection.update("ad") == []


def test_one_is_always_left_whatever_share_may_be_out() -> None:
    ejection = of("abcde", max_ejected=1.0)
    feed(ejection, a=1.0, b=1.0, c=1.0, d=0.1, e=0.0)
    assert out(ejection) == {"d", "e"}
    assert len(ejection.update("de")) == 1


def test_who_has_nobody_to_be_compared_with_does_not_stand_out() -> None:
    ejection = of("ab")
    feed(ejection, b=0.0)  # and too few calls to the other
    assert out(ejection) == set()


def test_at_the_very_limit_an_endpoint_is_well() -> None:
    ejection = of("ab", deviations=0.0, margin=0.5, interval=1.0, base=10.0)
    feed(ejection, a=1.0, b=0.0)
    assert ejection.sweep(0.0, still) == [Ejected("b", 10.0, 0.0, 0.5)]
    feed(ejection, a=1.0)
    assert ejection.sweep(10.0, still) == [Returned("b")]
    feed(ejection, a=1.0, b=0.5)
    assert ejection.sweep(11.0, still) == []
    feed(ejection, a=1.0, b=0.0)
    assert ejection.sweep(12.0, still) == [Ejected("b", 10.0, 0.0, 0.5)], "the first ejection was forgiven"


def test_who_was_well_so_far_is_ejected_for_the_first_time() -> None:
    ejection = of("ab", base=10.0)
    feed(ejection, a=1.0, b=1.0)
    assert ejection.sweep(0.0, still) == []
    feed(ejection, a=1.0, b=0.0)
    assert ejection.sweep(10.0, still) == [Ejected("b", 10.0, 0.0, 0.9)]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("interval", 0),
        ("base", -1),
        ("longest", math.nan),
        ("deviations", -0.1),
        ("margin", 0),
        ("jitter", 1.5),
        ("max_ejected", 2),
        ("minimum_calls", 0),
    ],
)
def test_bad_options_are_named(argument: str, value: float) -> None:
    with pytest.raises(ConfigurationError) as caught:
        OutlierEjection(**{argument: value})  # type: ignore[arg-type]
    assert caught.value.argument == argument
