"""Slow start: a newcomer gets its share little by little, whatever the balancer."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.balancing.least_request import LeastRequest
from resilience.balancing.peak_ewma import PeakEwma
from resilience.balancing.random import Random
from resilience.balancing.rendezvous import Rendezvous
from resilience.balancing.round_robin import RoundRobin
from resilience.balancing.slow_start import LEAST, Eased, SlowStart
from resilience.core.outcome import GOOD
from tests.balancing.support import Trying, endpoints, fit

if TYPE_CHECKING:
    from resilience.core.endpoint import Endpoint

MAKES: list[Any] = [RoundRobin, LeastRequest, PeakEwma, Random, Rendezvous]
SPREADING: list[Any] = [RoundRobin, LeastRequest, PeakEwma, Random]


def eased(make: Any, known: list[Endpoint], *, over: float = 10.0) -> tuple[Eased, SlowStart]:
    draw = random.Random(7).random
    slow_start = SlowStart(over, draw)
    balancer = Eased(make(draw=draw), slow_start)
    balancer.update(known)
    return balancer, slow_start


def served(balancer: Eased, now: float, times: int) -> Counter[Endpoint]:
    """Calls one after the other, a few of them in flight, 10 ms each wherever they go."""
    seen: Counter[Endpoint] = Counter()
    under_way: list[Endpoint] = []
    for number in range(times):
        picked = balancer.pick(Trying(at=now, key=str(number)), fit)
        assert picked is not None
        seen[picked] += 1
        picked.slots.taken += 1
        under_way.append(picked)
        if len(under_way) > 4:
            done = under_way.pop(0)
            done.slots.taken -= 1
            balancer.observe(done, 0.01, GOOD, now)
    for endpoint in under_way:
        endpoint.slots.taken -= 1
    return seen


@pytest.mark.parametrize("weights", [[1.0] * 4, [1.0, 2.0, 3.0, 2.0]], ids=["alike", "weighted"])
@pytest.mark.parametrize("make", MAKES, ids=lambda make: make.__name__)
def test_the_share_grows_with_time(make: Any, weights: list[float]) -> None:
    known = endpoints(*weights)
    balancer, slow_start = eased(make, known)
    slow_start.began(known[-1], 100.0)
    shares = [served(balancer, 100.0 + age, 2000)[known[-1]] / 2000 for age in (0.5, 3.0, 6.0, 10.0)]
    assert shares == sorted(shares)
    assert 0.0 < shares[0] < 0.5 * shares[3]


@pytest.mark.parametrize("age", [0.0, 2.5, 5.0])
@pytest.mark.parametrize("make", [RoundRobin, Random], ids=lambda make: make.__name__)
def test_where_weights_are_exact_so_is_the_ramp(make: Any, age: float) -> None:
    known = endpoints(1, 1, 1, 1)
    balancer, slow_start = eased(make, known)
    slow_start.began(known[2], 100.0)
    weight = max(LEAST, age / 10.0)
    seen = served(balancer, 100.0 + age, 6000)
    assert seen[known[2]] / 6000 == pytest.approx(weight / (3 + weight), abs=0.02)
    assert seen[known[0]] / 6000 == pytest.approx(1 / (3 + weight), abs=0.02)


@pytest.mark.parametrize("make", SPREADING, ids=lambda make: make.__name__)
def test_an_idle_newcomer_is_not_flooded_because_it_is_idle(make: Any) -> None:
    known = endpoints(1, 1, 1)
    balancer, slow_start = eased(make, known)
    served(balancer, 100.0, 50)
    slow_start.began(known[0], 100.0)
    for endpoint in known[1:]:
        endpoint.slots.taken = 5
    seen = Counter(balancer.pick(Trying(at=100.0), fit) for _ in range(1000))
    assert seen[known[0]] < 150


@pytest.mark.parametrize("make", MAKES, ids=lambda make: make.__name__)
def test_who_is_all_there_is_gets_every_call(make: Any) -> None:
    known = endpoints(1, 1, 1)
    balancer, slow_start = eased(make, known)
    slow_start.began(known[1], 100.0)
    for endpoint in (known[0], known[2]):
        endpoint.mark(healthy=False)
    assert served(balancer, 100.0, 50) == {known[1]: 50}


@pytest.mark.parametrize("make", MAKES, ids=lambda make: make.__name__)
def test_a_repeated_call_rather_goes_to_a_newcomer_than_back(make: Any) -> None:
    known = endpoints(1, 1)
    balancer, slow_start = eased(make, known)
    slow_start.began(known[1], 100.0)
    seen = {balancer.pick(Trying([known[0]], at=100.0, key="k"), fit) for _ in range(100)}
    assert seen == {known[1]}


def test_all_new_is_as_if_none_were() -> None:
    known = endpoints(1, 1, 1, 1)
    balancer, slow_start = eased(RoundRobin, known)
    for endpoint in known:
        slow_start.began(endpoint, 100.0)
    seen = served(balancer, 100.0, 4000)
    assert all(seen[endpoint] / 4000 == pytest.approx(0.25, abs=0.03) for endpoint in known)


def test_nobody_new_costs_nothing_and_changes_nothing() -> None:
    known = endpoints(1, 1, 1)
    balancer, slow_start = eased(RoundRobin, known)
    assert not slow_start
    seen = served(balancer, 0.0, 30)
    assert set(seen.values()) == {10}


def test_a_copy_shares_the_clocks_and_is_named_like_the_one_inside() -> None:
    balancer, slow_start = eased(RoundRobin, endpoints(1, 1))
    assert repr(balancer.fresh()) == "RoundRobin()"
    slow_start.began(endpoints(1)[0], 0.0)
    slow_start.keep([])
    assert not slow_start


@given(st.floats(0.01, 1000), st.floats(0, 1e6), st.lists(st.floats(0, 2000), min_size=1, max_size=20))
def test_the_ramp_rises_from_a_tenth_to_one_and_stays(over: float, start: float, ages: list[float]) -> None:
    (endpoint,) = endpoints(1)
    slow_start = SlowStart(over, lambda: 0.0)
    assert slow_start.share(endpoint, start) == 1.0
    slow_start.began(endpoint, start)
    shares = [slow_start.share(endpoint, start + age) for age in sorted(ages)]
    assert shares == sorted(shares)
    assert all(LEAST <= share <= 1.0 for share in shares)
    assert slow_start.share(endpoint, start + over * 1.0001 + 1e-3) == 1.0
    assert not slow_start


def test_who_has_left_is_forgotten_and_who_stays_is_not() -> None:
    slow_start = SlowStart(10.0, lambda: 0.0)
    stays, leaves = endpoints(1, 1)
    for endpoint in (stays, leaves):
        slow_start.began(endpoint, 100.0)
    slow_start.keep([stays])
    assert (slow_start.share(stays, 105.0), slow_start.share(leaves, 105.0)) == (0.5, 1.0)
    assert slow_start.share(stays, 110.0) == 1.0
    assert not slow_start, "nobody is warming up any more"
    slow_start.began(leaves, 110.0)
    assert slow_start.share(leaves, 111.0) == LEAST


def test_a_fresh_one_shares_the_clocks() -> None:
    balancer, slow_start = eased(RoundRobin, endpoints(1, 1))
    again = balancer.fresh()
    assert again is not balancer
    assert again._slow_start is slow_start
    assert again.inner is not balancer.inner


def test_a_newcomer_is_passed_over_by_the_number_drawn() -> None:
    known = old, new = endpoints(1, 1)
    for number, both in ((0.49, True), (0.5, False), (0.9, False)):
        slow_start = SlowStart(10.0, lambda number=number: number)  # type: ignore[misc]
        balancer = Eased(RoundRobin(draw=lambda: 0.0), slow_start)
        balancer.update(known)
        slow_start.began(new, 100.0)
        picked = {balancer.pick(Trying(at=105.0), fit) for _ in range(4)}
        assert picked == ({old, new} if both else {old})


def test_the_balancer_inside_hears_of_whom_it_chose() -> None:
    slow, quick = known = endpoints(1, 1)
    balancer, _ = eased(PeakEwma, known)
    balancer.observe(slow, 1.0, GOOD, 0.0)
    balancer.observe(quick, 0.01, GOOD, 0.0)
    assert {balancer.pick(Trying(), fit) for _ in range(10)} == {quick}
