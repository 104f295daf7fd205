"""Balancers against what must hold of any series of picks, updates and changes of health."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from resilience.balancing.least_request import LeastRequest
from resilience.balancing.peak_ewma import PeakEwma
from resilience.balancing.random import Random
from resilience.balancing.rendezvous import Rendezvous
from resilience.balancing.round_robin import RoundRobin
from resilience.core.outcome import BAD, GOOD, UNKNOWN
from tests.balancing.support import Trying, endpoints, fit, picks

if TYPE_CHECKING:
    from resilience.core.endpoint import Endpoint

offsets = st.floats(0, 1, exclude_max=True)
whole_weights = st.lists(st.integers(1, 9), min_size=1, max_size=8)


@given(st.integers(1, 40), offsets, st.integers(0, 200))
def test_equal_shares_over_any_stretch(count: int, offset: float, times: int) -> None:
    known = endpoints(*[1] * count)
    robin = RoundRobin(draw=lambda: offset)
    robin.update(known)
    seen = Counter(picks(robin, times))
    assert {seen[endpoint] for endpoint in known} <= {times // count, -(-times // count)}


@given(whole_weights, offsets, st.integers(0, 3))
@example([9, 7, 5, 3, 1], 1 - 2**-53, 30)
@example([7, 7, 3], 1 / 3, 300)
def test_weights_are_exact_over_a_cycle(weights: list[int], offset: float, cycles: int) -> None:
    known = endpoints(*weights)
    robin = RoundRobin(draw=lambda: offset)
    robin.update(known)
    for _ in range(cycles):
        assert Counter(picks(robin, sum(weights))) == dict(zip(known, weights, strict=True))


@given(whole_weights, offsets, st.integers(1, 300))
def test_weights_are_smooth(weights: list[int], offset: float, times: int) -> None:
    known = endpoints(*weights)
    robin = RoundRobin(draw=lambda: offset)
    robin.update(known)
    seen = Counter(picks(robin, times))
    for endpoint, weight in zip(known, weights, strict=True):
        assert abs(seen[endpoint] - times * weight / sum(weights)) < len(weights)


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=6), offsets, st.data())
def test_the_turns_of_the_unusable_go_to_the_others_by_weight(
    weights: list[float], offset: float, data: st.DataObject
) -> None:
    known = endpoints(*weights)
    robin = RoundRobin(draw=lambda: offset)
    robin.update(known)
    dead = data.draw(st.sets(st.sampled_from(known), max_size=len(known) - 1))
    for endpoint in dead:
        endpoint.mark(healthy=False)
    seen = Counter(picks(robin, 500))
    live = [endpoint for endpoint in known if endpoint not in dead]
    total = sum(endpoint.weight for endpoint in live)
    for endpoint in live:
        assert abs(seen[endpoint] - 500 * endpoint.weight / total) <= len(live)


class Turns(RuleBasedStateMachine):
    """Round robin with equal weights while the set changes: nobody is served twice while another waits.

    The model is a queue: between two turns of one endpoint, no other that was there all the time has more than one.
    """

    @initialize(count=st.integers(1, 6), offset=offsets)
    def start(self, count: int, offset: float) -> None:
        self.all = endpoints(*[1] * 10)
        self.there = self.all[:count]
        self.offset = offset
        self.robin = RoundRobin(draw=lambda: self.offset)
        self.robin.update(self.there)
        self.since: dict[Endpoint, Counter[Endpoint]] = {endpoint: Counter() for endpoint in self.there}

    @rule(times=st.integers(1, 12))
    def pick(self, times: int) -> None:
        for _ in range(times):
            picked = self.robin.pick(Trying(), fit)
            assert picked in self.there
            for other, seen in self.since.items():
                if other is not picked:
                    seen[picked] += 1
                    assert seen[picked] <= 1, "served twice while another that was there waited"
            self.since[picked] = Counter()

    @rule(chosen=st.sets(st.integers(0, 9), min_size=1), offset=offsets, order=st.randoms(use_true_random=False))
    def update(self, chosen: set[int], offset: float, order: random.Random) -> None:
        self.offset = offset
        there = [self.all[index] for index in chosen]
        order.shuffle(there)
        left = set(self.there) - set(there)
        self.there = there
        self.robin.update(there)
        self.since = {endpoint: self.since.get(endpoint, Counter()) for endpoint in there}
        for seen in self.since.values():
            for endpoint in left:
                seen.pop(endpoint, None)


class Choosing(RuleBasedStateMachine):
    """Any balancer, while endpoints come and go, fall ill and recover, in tiers and by weight."""

    @initialize(
        make=st.sampled_from([RoundRobin, LeastRequest, PeakEwma, Random, Rendezvous]),
        weights=st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=32, max_size=32),
        alike=st.booleans(),
        seed=st.integers(0, 99),
    )
    def start(self, make: Any, weights: list[float], alike: bool, seed: int) -> None:
        self.all = endpoints(*([1.0] * 32 if alike else weights))
        for endpoint in self.all[20:]:
            endpoint.tier = 1
        self.balancer = make(draw=random.Random(seed).random)
        self.there: list[Endpoint] = []
        self.now = 0.0

    @rule(chosen=st.sets(st.integers(0, 31)))
    def update(self, chosen: set[int]) -> None:
        self.there = [self.all[index] for index in chosen]
        self.balancer.update(self.there)

    @rule(index=st.integers(0, 31), healthy=st.booleans())
    def change(self, index: int, healthy: bool) -> None:
        self.all[index].mark(healthy=healthy)

    @rule(index=st.integers(0, 31), weight=st.sampled_from([0.0, 0.5, 1.0, 2.0]))
    def weigh(self, index: int, weight: float) -> None:
        self.all[index].weight = weight

    @rule(
        tried=st.sets(st.integers(0, 31)),
        key=st.sampled_from("abc"),
        answer=st.sampled_from([GOOD, BAD, UNKNOWN, None]),
    )
    def pick(self, tried: set[int], key: str, answer: Any) -> None:
        self.now += 0.01
        before = [self.all[index] for index in tried]
        picked = self.balancer.pick(Trying(before, at=self.now, key=key), fit)
        usable = [endpoint for endpoint in self.there if endpoint.fit]
        if not usable:
            assert picked is None
            return
        assert picked in usable
        fresh = [endpoint for endpoint in usable if endpoint not in before]
        assert picked in fresh or not fresh
        assert picked.tier == min(endpoint.tier for endpoint in fresh or usable)
        if answer is None:
            picked.slots.taken += 1
        elif isinstance(self.balancer, PeakEwma):
            self.balancer.observe(picked, 0.02, answer, self.now)

    @precondition(lambda self: any(endpoint.slots.taken for endpoint in self.all))
    @rule()
    def finish(self) -> None:
        next(endpoint for endpoint in self.all if endpoint.slots.taken).slots.taken -= 1

    @invariant()
    def asks_each_a_bounded_number_of_times(self) -> None:
        asked: Counter[Endpoint] = Counter()

        def none(endpoint: Endpoint) -> bool:
            asked[endpoint] += 1
            return False

        if hasattr(self, "balancer"):
            assert self.balancer.pick(Trying(at=self.now, key="a"), none) is None
            assert sum(asked.values()) <= 2 * len(self.there) + 16


TestTurns = Turns.TestCase
TestChoosing = Choosing.TestCase
TestTurns.settings = settings(
    max_examples=min(60, settings.default.max_examples), stateful_step_count=30, deadline=None
)
TestChoosing.settings = settings(
    max_examples=min(80, settings.default.max_examples), stateful_step_count=40, deadline=None
)
