"""Round robin: turns, skips, tiers, weights, updates."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from resilience.balancing.rotation import Rotation
from resilience.balancing.round_robin import RoundRobin
from resilience.balancing.schedule import Schedule
from resilience.core.endpoint import Address, Endpoint
from tests.balancing.support import Trying, endpoints, fit, picks

if TYPE_CHECKING:
    from collections.abc import Sequence


def balancer(known: Sequence[Endpoint], offset: float = 0.0) -> RoundRobin:
    made = RoundRobin().fresh(draw=lambda: offset)
    made.update(known)
    return made


def test_each_has_its_turn_in_the_order_given() -> None:
    a, b, c = known = endpoints(1, 1, 1)
    assert picks(balancer(known), 6) == [a, b, c, a, b, c]


def test_starts_at_an_offset() -> None:
    a, b, c = known = endpoints(1, 1, 1)
    assert picks(balancer(known, 0.5), 3) == [c, a, b]
    assert {picks(balancer(known, offset / 10), 1)[0] for offset in range(10)} == {a, b, c}


def test_without_endpoints_there_is_none() -> None:
    assert RoundRobin().pick(Trying(), fit) is None
    robin = balancer(endpoints(1, 1))
    robin.update([])
    assert robin.pick(Trying(), fit) is None


def test_works_as_it_is_and_freshly_made_ones_share_nothing() -> None:
    robin = RoundRobin()
    robin.update(endpoints(1))
    assert robin.pick(Trying(), fit) is not None
    assert robin.fresh().pick(Trying(), fit) is None


def test_the_turns_of_a_dead_one_go_to_all_others_alike() -> None:
    a, b, c = known = endpoints(1, 1, 1)
    robin = balancer(known)
    b.mark(healthy=False)
    assert Counter(picks(robin, 30)) == {a: 15, c: 15}


def test_prefers_an_untried_one_and_falls_back_to_tried_ones() -> None:
    a, b, c = known = endpoints(1, 1, 1)
    robin = balancer(known)
    assert set(picks(robin, 10, [a, b])) == {c}
    c.mark(draining=True)
    assert Counter(picks(robin, 10, [a, b])) == {a: 5, b: 5}
    assert Counter(picks(robin, 30, [a, b, c])) == {a: 15, b: 15}


def test_a_repeated_call_goes_to_another_part_of_the_ring() -> None:
    known = endpoints(*[1] * 12)
    rack = set(known[4:8])
    robin = balancer(known)
    for _ in range(48):
        tried: list[Endpoint] = []
        for _ in range(2):
            picked = robin.pick(Trying(tried), fit)
            assert picked is not None
            tried.append(picked)
        assert not rack.issuperset(tried)


def test_none_when_none_is_usable() -> None:
    for weights in ((1, 1), (1, 2)):
        known = endpoints(*weights)
        robin = balancer(known)
        for endpoint in known:
            endpoint.mark(ejected=True)
        assert picks(robin, 3) == [None] * 3
        known[1].mark(ejected=False)
        assert picks(robin, 3) == [known[1]] * 3


def test_weights_are_spread_evenly() -> None:
    a, b, c = known = endpoints(5, 1, 1)
    assert picks(balancer(known), 7) == [a, a, b, a, a, c, a]


def test_the_next_tier_is_used_when_no_endpoint_of_the_lower_is_usable() -> None:
    for weight in (1, 3):
        a, b = near = endpoints(1, weight)
        c, d = far = endpoints(1, weight, tier=1)
        robin = balancer([*far, *near])
        assert set(picks(robin, 8)) == {a, b}
        a.mark(healthy=False)
        assert set(picks(robin, 8)) == {b}
        b.mark(healthy=False)
        assert Counter(picks(robin, 8)) == {c: 8 // (1 + weight), d: 8 // (1 + weight) * weight}


def test_another_tier_rather_than_the_same_endpoint_again() -> None:
    for weight in (1, 3):
        a, b = near = endpoints(1, weight)
        (c,) = far = endpoints(1, tier=1)
        robin = balancer([*near, *far])
        assert set(picks(robin, 4, [a])) == {b}
        assert set(picks(robin, 4, [a, b])) == {c}
        assert set(picks(robin, 8, [a, b, c])) == {a, b}, "and back to the lowest tier when all are tried"


def test_an_update_keeps_the_order_of_turns() -> None:
    a, b, c, d = known = endpoints(1, 1, 1, 1)
    robin = balancer(known)
    assert picks(robin, 2) == [a, b]
    robin.update([d, c, b, a])
    assert picks(robin, 2) == [c, d]
    robin.update([d, b, a])
    assert picks(robin, 3) == [a, b, d]


def test_updates_between_picks_do_not_favour_anybody() -> None:
    known = endpoints(*[1] * 5)
    robin = balancer(known)
    extra = endpoints(1, 1, first=9)
    seen: Counter[Endpoint | None] = Counter()
    for round_ in range(500):
        robin.update(known + extra[: round_ % 3])
        seen.update(picks(robin, 1))
    shares = [seen[endpoint] for endpoint in known]
    assert max(shares) - min(shares) <= 1


def test_weights_may_change() -> None:
    a, b = known = endpoints(1, 1)
    robin = balancer(known)
    assert picks(robin, 1) == [a]
    a.weight = 3
    robin.update(known)
    assert Counter(picks(robin, 40)) == {a: 30, b: 10}
    a.weight = 1
    robin.update(known)
    assert Counter(picks(robin, 40)) == {a: 20, b: 20}


def test_a_weight_of_nothing_gets_next_to_nothing() -> None:
    a, b = known = endpoints(1, 0)
    assert Counter(picks(balancer(known, 0.9), 1000))[a] >= 999
    a.mark(healthy=False)
    assert picks(balancer(known), 1) == [b]


def test_no_burst_to_one_that_comes_back() -> None:
    a, b, c = known = endpoints(2, 1, 1)
    robin = balancer(known)
    a.mark(healthy=False)
    assert Counter(picks(robin, 100)) == {b: 50, c: 50}
    a.mark(healthy=True)
    assert Counter(picks(robin, 8)) == {a: 4, b: 2, c: 2}


def test_what_a_weighted_turn_costs_grows_with_the_weights_and_not_with_the_endpoints() -> None:
    known = endpoints(*[1.0, 2.0, 5.0] * 80)
    robin = balancer(known)
    (schedule,) = robin._tiers
    assert len(schedule._heap) == 3  # type: ignore[union-attr]
    seen = Counter(picks(robin, 640))
    assert all(seen[endpoint] == endpoint.weight for endpoint in known)


@pytest.mark.parametrize("weights", [(1, 2), (1, 1, 3), (2, 2, 5, 5), (1, 3, 3, 7)])
def test_a_turn_passed_over_because_the_call_had_been_there_is_kept_for_the_next_call(weights: tuple[int, ...]) -> None:
    known = endpoints(*weights)
    robin = balancer(known)
    cycle = sum(weights)
    seen = Counter(picks(robin, cycle))
    for tried in known:
        seen.update(picks(robin, 1, [tried]))
    seen.update(picks(robin, 3 * cycle - len(known)))
    assert all(abs(seen[endpoint] - 4 * endpoint.weight) <= 1 for endpoint in known)


def test_one_that_is_owed_a_turn_loses_it_when_it_cannot_take_it() -> None:
    a, b, c = known = endpoints(4, 1, 1)
    robin = balancer(known)
    assert picks(robin, 1, [a]) != [a]
    a.mark(healthy=False)
    assert Counter(picks(robin, 10)) == {b: 5, c: 5}
    robin.update([*known, *endpoints(4, first=9)])
    a.mark(healthy=True)
    assert picks(robin, 12).count(a) in {4, 5}


def test_one_that_is_owed_a_turn_keeps_it_over_an_update() -> None:
    a, b = known = endpoints(1, 3)
    robin = balancer(known)
    assert picks(robin, 1, [a]) == [b]
    robin.update([*known, *endpoints(3, first=9)])
    assert picks(robin, 1) == [a]


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (1, 2, 1, 2)])
def test_updates_between_weighted_picks_do_not_starve_anybody(weights: tuple[int, ...]) -> None:
    known = endpoints(*weights)
    robin = balancer(known)
    extra = endpoints(1, 2, first=9)
    seen: Counter[Endpoint | None] = Counter()
    for round_ in range(600):
        robin.update(known + extra[: round_ % 3])
        seen.update(picks(robin, 1))
    by_weight = [seen[endpoint] / endpoint.weight for endpoint in known]
    assert max(by_weight) <= 1.25 * min(by_weight)


def test_turns_that_others_draw_meanwhile_hide_nothing() -> None:
    a, b, c = known = endpoints(1, 1, 1)
    robin = balancer(known)

    def only_b_while_another_draws(endpoint: Endpoint) -> bool:
        robin.pick(Trying(), fit)
        return endpoint is b

    for _ in range(6):
        assert robin.pick(Trying(), only_b_while_another_draws) is b
        assert robin.pick(Trying([b]), only_b_while_another_draws) is b
        assert robin.pick(Trying([a, c]), only_b_while_another_draws) is b


def test_one_that_was_usable_a_moment_ago_is_good_enough() -> None:
    a, b = known = endpoints(1, 1)
    answers = iter([True, False, False, False, False, False])
    assert balancer(known).pick(Trying([a, b]), lambda _: next(answers)) is a


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 3)])
def test_shares_are_exact_with_many_threads(weights: tuple[int, ...]) -> None:
    known = endpoints(*weights)
    robin = balancer(known, 0.3)
    start = threading.Barrier(8)
    seen: list[list[Endpoint | None]] = [[] for _ in range(8)]

    def work(mine: list[Endpoint | None]) -> None:
        start.wait()
        mine.extend(picks(robin, 600))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(itertools.chain(*seen)) == {e: 4800 * w // sum(weights) for e, w in zip(known, weights, strict=True)}


def test_where_threads_draw_beside_each_other_every_endpoint_is_looked_at():
    """What a draw does when its turns are not its own: the untried first, else one that was tried, else none."""
    known = [Endpoint(Address(f"10.0.0.{number}", 80)) for number in range(3)]
    look = Rotation(known)._look_at_all
    assert look(1, (known[1],), lambda _: True) is known[2]
    assert look(0, tuple(known), lambda endpoint: endpoint is not known[0]) is known[1]
    assert look(0, (), lambda _: False) is None


# Rotations.


@pytest.mark.parametrize(("tried", "place"), [(0, 0), (1, 6), (2, 12), (3, 2)])
def test_each_repeat_begins_three_eighths_of_the_ring_further_on(tried: int, place: int) -> None:
    known = endpoints(*[1] * 16)
    others = endpoints(*[1] * tried, tier=1)
    assert Rotation(known).draw(tuple(others), fit) is known[place]


def test_a_repeat_begins_there_beside_other_threads_too() -> None:
    known = endpoints(*[1] * 16)
    rotation = Rotation(known)
    asked: list[Endpoint] = []

    def not_at_once(endpoint: Endpoint) -> bool:
        rotation.again()  # another thread's
        asked.append(endpoint)
        return len(asked) > 1

    assert rotation.draw((known[0],), not_at_once) is known[6]


def test_a_turn_that_has_been_drawn_is_taken() -> None:
    known = endpoints(*[1] * 3)
    assert Rotation(known).draw((), fit, 2) is known[2]


@pytest.mark.parametrize("offset", [0.0, 0.25, 1 / 3, 0.5, 0.8, 1.0 - 2**-53])
@pytest.mark.parametrize("stay", range(6))
@pytest.mark.parametrize("come", range(5))
def test_a_renewed_rotation_is_sorted_by_phases_stayers_first(stay: int, come: int, offset: float) -> None:
    stayers, newcomers = endpoints(*[1] * stay), endpoints(*[1] * come, first=50)
    phases = [(place / stay, endpoint) for place, endpoint in enumerate(stayers)]
    phases += [((place / come + offset) % 1.0, endpoint) for place, endpoint in enumerate(newcomers)]
    expected = [endpoint for _, endpoint in sorted(phases, key=lambda pair: pair[0])]
    assert list(Rotation(stayers).renewed([*newcomers, *stayers], offset).ring) == expected


# Lists and tiers.


def test_the_same_list_again_changes_nothing() -> None:
    known = endpoints(1, 1, 1)
    seen = []
    for updated in (False, True):
        robin = balancer(known)
        seen.append([])
        for turn in range(12):
            if updated:
                robin.update(list(known))
            seen[-1] += picks(robin, 1, known[: turn % 2])
    assert seen[0] == seen[1]


def test_every_tier_is_taken_over_with_each_update() -> None:
    near, far = endpoints(1, 1), endpoints(1, 1, tier=1)
    robin = balancer([*near, *far])
    robin.update([*far, *near[:1]])
    assert set(picks(robin, 4)) == set(near[:1])
    assert set(picks(robin, 4, near)) == set(far)


def test_beside_other_tiers_a_tier_starts_where_it_would_alone() -> None:
    near, far = endpoints(1, 1, 1, 1), endpoints(1, tier=1)
    assert picks(balancer([*near, *far], 0.25), 4) == picks(balancer(near, 0.25), 4)


# Turns by weight.


def test_phases_are_of_each_one_once() -> None:
    a, b, c = known = endpoints(1, 2, 2)
    schedule = Schedule(zip([0.0, 0.25, 0.5], known, strict=True))
    assert sorted(schedule.phases(), key=lambda pair: pair[0]) == [(0.0, a), (0.25, b), (0.5, c)]
    for _ in range(7):
        schedule.draw((), fit)
    assert Counter(endpoint for _, endpoint in schedule.phases()) == {a: 1, b: 1, c: 1}


@pytest.mark.parametrize("weights", [(1, 2), (2, 3), (2, 2, 3, 3)])
def test_a_turn_that_is_owed_comes_next_and_costs_no_other(weights: tuple[int, ...]) -> None:
    known = endpoints(*weights)
    robin = balancer(known)
    seen = picks(robin, 1, known[:1])
    seen += picks(robin, 1)
    assert seen[1] is known[0]
    seen += picks(robin, 2 * sum(weights) - 2)
    assert Counter(seen) == {endpoint: 2 * endpoint.weight for endpoint in known}


def test_one_that_comes_back_has_lost_no_turn_to_come() -> None:
    a, b = known = endpoints(2, 3)
    robin = balancer(known)
    assert picks(robin, 1) == [a]
    b.mark(healthy=False)
    assert picks(robin, 1) == [a]
    b.mark(healthy=True)
    assert picks(robin, 1) == [b]


@pytest.mark.parametrize("weights", [(0.5, 0.01), (1000, 0)])
def test_one_that_comes_back_is_where_it_would_be_however_long_that_was(weights: tuple[float, ...]) -> None:
    a, b = known = endpoints(*weights)
    robin = balancer(known)
    a.mark(healthy=False)
    assert picks(robin, 2) == [b, b]
    a.mark(healthy=True)
    assert picks(robin, 10) == [a] * 10


def test_when_none_is_usable_each_is_asked_once_and_whose_turn_it_is_twice() -> None:
    known = endpoints(1, 2, 2, 3)
    asked: Counter[Endpoint] = Counter()

    def never(endpoint: Endpoint) -> bool:
        asked[endpoint] += 1
        return False

    assert balancer(known).pick(Trying(), never) is None
    assert sorted(asked[endpoint] for endpoint in known) == [1, 1, 1, 2]


def test_a_turn_that_was_owed_is_followed_by_the_next_in_time() -> None:
    a, b = known = endpoints(2, 3)
    robin = balancer(known)
    assert picks(robin, 1, [a]) == [b]
    assert picks(robin, 2) == [a, a], "the one it was owed, and the one due by then"


@pytest.mark.parametrize("ratio", [1e9, 1e20, 1e25, 1e300])
@pytest.mark.parametrize("unit", [1.0, 1e-300])
def test_weights_far_apart_end_nobody_s_search(ratio: float, unit: float) -> None:
    # Else the search for the heavy one's next turn never ends: adding one turn does not move its due time.
    heavy, light = known = endpoints(ratio * unit, unit)
    robin = balancer(known)
    assert set(picks(robin, 20)) == {heavy}
    heavy.mark(healthy=False)
    assert set(picks(robin, 20)) == {light}
    heavy.mark(healthy=True)
    assert set(picks(robin, 20)) == {heavy}


@pytest.mark.parametrize("unit", [1e-320, 1e-9, 1e9, 1e300])
def test_shares_are_those_of_the_weights_in_any_unit(unit: float) -> None:
    a, b = known = endpoints(unit, 3 * unit)
    assert Counter(picks(balancer(known), 400)) == {a: 100, b: 300}
