"""Least request: where the fewest calls are in flight."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from resilience.balancing.least_request import LeastRequest
from resilience.balancing.sampling import Sample
from tests.balancing.support import Trying, endpoints, fit, picks

if TYPE_CHECKING:
    from resilience.core.endpoint import Endpoint


def test_the_fewest_in_flight_of_all_when_they_are_few() -> None:
    a, b, c = known = endpoints(1, 1, 1)
    balancer = LeastRequest()
    balancer.update(known)
    a.slots.taken, b.slots.taken, c.slots.taken = 4, 2, 3
    assert set(picks(balancer, 20)) == {b}
    b.mark(healthy=False)
    assert set(picks(balancer, 20)) == {c}


def test_in_flight_counts_per_weight() -> None:
    a, b = known = endpoints(4, 1)
    balancer = LeastRequest()
    balancer.update(known)
    a.slots.taken, b.slots.taken = 3, 1
    assert set(picks(balancer, 20)) == {a}
    a.slots.taken = 5
    assert set(picks(balancer, 20)) == {b}


def test_equals_share_a_quiet_service() -> None:
    known = endpoints(1, 1, 1)
    balancer = LeastRequest(draw=random.Random(1).random)
    balancer.update(known)
    assert min(Counter(picks(balancer, 300)).values()) > 70


def test_of_many_the_fullest_is_never_taken() -> None:
    known = endpoints(*[1] * 30)
    balancer = LeastRequest(draw=random.Random(1).random)
    balancer.update(known)
    known[7].slots.taken = 1
    seen = Counter(picks(balancer, 3000))
    assert known[7] not in seen, "the two that are compared differ, so the other one wins"
    assert len(seen) == 29


@pytest.mark.parametrize("weights", [[1.0] * 30, [1.0, 5.0] * 15])
def test_calls_spread_by_what_is_in_flight(weights: list[float]) -> None:
    known = endpoints(*weights)
    balancer = LeastRequest(draw=random.Random(1).random)
    balancer.update(known)
    for _ in range(3000):
        picked = balancer.pick(Trying(), fit)
        assert picked is not None
        picked.slots.taken += 1
    loads = [endpoint.slots.taken / endpoint.weight for endpoint in known]
    assert max(loads) / min(loads) < 1.2


@pytest.mark.parametrize(
    "weights",
    [(1e300, *[1.0] * 20), (1e308, 1e308, *[1.0] * 20), (1e308, 1e308, 1.0)],
    ids=["rounded", "infinite", "few"],
)
def test_a_weight_so_large_that_rounding_hides_the_rest(weights: tuple[float, ...]) -> None:
    known = endpoints(*weights)
    for number in (0.0, 0.5, 1.0 - 2**-53):
        balancer = LeastRequest(draw=lambda number=number: number)
        balancer.update(known)
        assert balancer.pick(Trying(), fit) in known


@pytest.mark.parametrize("weights", [(1.0, 2.0, 3.0, 4.0), (4.0, 1.0, 1.0), (1.0, 5.0), (2.0, 2.0, 2.0)])
def test_a_pair_is_two_different_ones_each_in_its_share(weights: tuple[float, ...]) -> None:
    sample = Sample(endpoints(*weights), scan_up_to=1)
    total, grid = sum(weights), [(step + 0.5) / 240 for step in range(240)]
    firsts: Counter[int] = Counter()
    for first in grid:
        seconds: Counter[int] = Counter()
        for second in grid:
            numbers = iter((first, second))
            one, two = sample._pair(lambda numbers=numbers: next(numbers))  # type: ignore[misc]
            seconds[two] += 1
        firsts[one] += 1
        assert one not in seconds
        for at, weight in enumerate(weights):
            assert at == one or seconds[at] / 240 == pytest.approx(weight / (total - weights[one]), abs=0.005)
    for at, weight in enumerate(weights):
        assert firsts[at] / 240 == pytest.approx(weight / total, abs=0.005)


def test_all_of_eight_are_looked_at_and_of_more_a_pair() -> None:
    for count, place in ((8, 7), (9, 0)):
        known = endpoints(*[1] * count)
        balancer = LeastRequest(draw=lambda: 0.0)
        balancer.update(known)
        for endpoint in known[:-1]:
            endpoint.slots.taken = 1
        known[1].slots.taken = 2
        assert balancer.pick(Trying(), fit) is known[place]


def test_idle_ones_of_three_weights_share_by_weight() -> None:
    a, b, c = known = endpoints(1, 2, 5)
    numbers = iter([(step + 0.5) / 8 for step in range(8)])
    balancer = LeastRequest(draw=numbers.__next__)
    balancer.update(known)
    assert Counter(picks(balancer, 8)) == {a: 1, b: 2, c: 5}


def test_of_a_pair_of_equals_the_one_drawn_first_by_weight_is_taken() -> None:
    heavy, *_ = known = endpoints(8, 1, 1)
    assert Sample(known, scan_up_to=1).cheapest((), fit, lambda: 0.1, lambda *_: 1.0, 0.0) is heavy


@pytest.mark.parametrize(
    ("weights", "prices", "numbers", "place"),
    [
        ((1.0, 2.0, 1.0), (1, 2, 0), (0.5, 0.5), 2),  # the second is drawn at where the first one's range begins
        ((0.1, 3.0), (0, 1), (0.5, 1.0 - 2**-53), 0),  # rounding would have the second be the first again
    ],
)
def test_a_pair_is_two_different_ones_at_the_edges_too(
    weights: tuple[float, ...], prices: tuple[float, ...], numbers: tuple[float, ...], place: int
) -> None:
    known = endpoints(*weights)
    sample = Sample(known, scan_up_to=1)
    found = sample.cheapest((), fit, iter(numbers).__next__, lambda endpoint, _: prices[known.index(endpoint)], 0.0)
    assert found is known[place]


def test_chance_is_tried_eight_times_and_then_each_in_turn_from_a_random_one_on() -> None:
    known = endpoints(1, 1, 1, 1)
    sample = Sample(known)
    asked: list[int] = []

    def never(endpoint: Endpoint) -> bool:
        asked.append(known.index(endpoint))
        return False

    assert sample.any((), never, lambda: 0.5) is None
    assert asked == [2] * 8 + [2, 3, 0, 1]
