"""Tiers that spill, zones that are preferred: balancers in groups."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import resilience
from resilience.balancing.peak_ewma import PeakEwma
from resilience.balancing.priorities import Tiered, loads
from resilience.balancing.round_robin import RoundRobin
from resilience.balancing.zones import Zones, far_shares, local_share
from resilience.core.endpoint import Address, Endpoint
from resilience.core.outcome import BAD
from resilience.policies.deep_circuit import DeepCircuit
from resilience.policies.permits import CircuitOptions
from tests.balancing.support import Trying, endpoints, fit

if TYPE_CHECKING:
    from collections.abc import Callable

part = st.tuples(st.floats(0, 100), st.floats(0.01, 100)).map(lambda pair: (min(pair), max(pair)))


def shares(balancer: Any, times: int = 4000, **call: Any) -> Counter[Endpoint]:
    return Counter(balancer.pick(Trying(at=call.get("at", 0.0), key=call.get("key")), fit) for _ in range(times))


def in_tier(seen: Counter[Endpoint], tier: int) -> float:
    return sum(count for endpoint, count in seen.items() if endpoint.tier == tier) / seen.total()


# Tiers: the decision.


@pytest.mark.parametrize(
    ("tiers", "expected"),
    [
        ([(10, 10), (5, 5)], [1.0, 0.0]),
        ([(8, 10), (5, 5)], [1.0, 0.0]),
        ([(72, 100), (5, 5)], [1.0, 0.0]),
        ([(7, 10), (5, 5)], [0.98, 0.02]),
        ([(5, 10), (5, 5)], [0.7, 0.3]),
        ([(0, 10), (5, 5)], [0.0, 1.0]),
        ([(2, 10), (2, 10)], [0.5, 0.5]),
        ([(2, 10), (1, 10), (0, 3)], [2 / 3, 1 / 3, 0.0]),
        ([(0, 10), (0, 5)], [1.0, 0.0]),
        ([(0, 0), (0, 5)], [1.0, 0.0]),
        ([(5, 10), (2, 10), (10, 10)], [0.7, 0.28, 0.02]),
    ],
)
def test_envoys_figures(tiers: list[tuple[float, float]], expected: list[float]) -> None:
    assert loads(tiers, 1.4) == pytest.approx(expected)


@given(st.lists(part, min_size=1, max_size=6), st.floats(1, 3))
def test_loads_add_up_and_no_tier_without_anybody_gets_any(tiers: list[tuple[float, float]], factor: float) -> None:
    found = loads(tiers, factor)
    assert sum(found) == pytest.approx(1.0)
    assert all(load >= 0 for load in found)
    if any(ready > 1e-6 for ready, _ in tiers):
        assert all(load <= 1e-6 for load, (ready, _) in zip(found, tiers, strict=True) if ready == 0)


@given(st.lists(part, min_size=2, max_size=4), st.floats(1, 3))
def test_while_all_can_take_everything_each_gets_no_more_than_it_can(
    tiers: list[tuple[float, float]], factor: float
) -> None:
    can = [min(1.0, factor * ready / total) for ready, total in tiers]
    if sum(can) >= 1:
        found = loads(tiers, factor)
        assert all(load <= able + 1e-9 for load, able in zip(found, can, strict=True))
        for above, load in zip(range(len(found)), found[1:], strict=False):
            assert load == 0 or found[above] == pytest.approx(can[above]), "spilled before it was full"


# Tiers: the balancer.


def tiered(first: int, second: int, make: Callable[[], Any] = RoundRobin) -> tuple[Tiered, list[Endpoint]]:
    known = [*endpoints(*[1] * first), *endpoints(*[1] * second, tier=1)]
    balancer = Tiered(make(), 1.4, draw=random.Random(3).random)
    balancer.update(known)
    return balancer, known


@pytest.mark.parametrize(("down", "expected"), [(0, 0.0), (2, 0.0), (5, 0.3), (8, 0.72), (10, 1.0)])
def test_calls_spill_into_the_next_tier(down: int, expected: float) -> None:
    balancer, known = tiered(10, 3)
    for endpoint in known[:down]:
        endpoint.mark(healthy=False)
    assert in_tier(shares(balancer), 1) == pytest.approx(expected, abs=0.03)


def test_the_look_at_who_is_ready_is_renewed() -> None:
    balancer, known = tiered(10, 3)
    assert in_tier(shares(balancer, at=0.0), 1) == 0.0
    for endpoint in known[:5]:
        endpoint.mark(healthy=False)
    assert in_tier(shares(balancer, at=0.05), 1) == 0.0
    assert in_tier(shares(balancer, at=1.0), 1) == pytest.approx(0.3, abs=0.03)


def test_a_call_that_has_tried_all_of_a_tier_goes_on_to_the_next() -> None:
    balancer, known = tiered(2, 2)
    picked = {balancer.pick(Trying(known[:2]), fit) for _ in range(20)}
    assert picked == set(known[2:])
    assert balancer.pick(Trying(known), fit) in known


def test_the_other_address_family_gets_nothing_while_the_preferred_one_has_any() -> None:
    preferred = [Endpoint(Address(f"10.0.0.{n}", 80)) for n in range(4)]
    other = [Endpoint(Address(f"fd00::{n}", 80), tier=1) for n in range(4)]
    balancer = Tiered(RoundRobin(), 1.4)
    balancer.update([*preferred, *other])
    for endpoint in preferred[:3]:
        endpoint.mark(healthy=False)
    assert set(shares(balancer, 200)) == {preferred[3]}
    preferred[3].mark(healthy=False)
    assert set(shares(balancer, 200)) == set(other)


def test_with_one_tier_the_balancer_inside_is_asked_at_once() -> None:
    inner = RoundRobin()
    balancer = Tiered(inner, 1.4)
    known = endpoints(1, 1)
    balancer.update(known)
    assert balancer.pick == inner.pick
    balancer.update([*known, *endpoints(1, tier=1)])
    assert balancer.pick != inner.pick
    balancer.update(known)
    assert balancer.pick == inner.pick
    assert set(shares(balancer, 10)) == set(known)


def test_each_tiers_balancer_hears_of_its_own_and_keeps_what_it_knows() -> None:
    balancer, known = tiered(3, 3, PeakEwma)
    for endpoint in known:
        for _ in range(2):
            balancer.observe(endpoint, 0.01, BAD if endpoint in (known[0], known[3]) else resilience.Verdict(
                resilience.Blame.GOOD, retry=False, sent=resilience.Sent.ANSWERED), 0.0)  # fmt: skip
    balancer.update(known)  # the same again
    assert known[0] not in shares(balancer, 200)
    for endpoint in known[:3]:
        endpoint.mark(healthy=False)
    seen = shares(balancer, 200, at=1.0)
    assert known[3] not in seen
    assert set(seen) == set(known[4:])


class Dull:
    """A balancer of somebody's that cannot be copied and hears nothing."""

    def __init__(self) -> None:
        self.known: list[Endpoint] = []

    def update(self, endpoints: Any, /) -> None:
        self.known = list(endpoints)

    def pick(self, call: Any, usable: Any, /) -> Endpoint | None:
        return next(filter(usable, self.known), None)


def test_a_balancer_that_cannot_be_copied_gets_all_tiers() -> None:
    dull = Dull()
    balancer = Tiered(dull, 1.4)
    known = [*endpoints(1), *endpoints(1, tier=1)]
    balancer.update(known)
    assert dull.known == known
    assert shares(balancer, 5) == {known[0]: 5}
    balancer.observe(known[0], 1.0, BAD, 0.0)
    balancer.fresh()


def test_a_call_with_a_key_stays_in_its_tier_while_the_shares_stay() -> None:
    balancer, known = tiered(10, 3)
    for endpoint in known[:5]:
        endpoint.mark(healthy=False)
    for key in map(str, range(50)):
        tiers = {endpoint.tier for endpoint in shares(balancer, 20, key=key)}
        assert len(tiers) == 1


# Zones: the decision.


# A zone has no endpoint, or a weight that floats can add up: not one of 5e-324.
CAPACITIES = st.just(0.0) | st.floats(1e-6, 100)


@given(CAPACITIES, st.lists(CAPACITIES, min_size=1, max_size=5), st.floats(0.01, 1))
def test_zone_shares_add_up(near: float, far: list[float], callers: float) -> None:
    everywhere = near + sum(far)
    local = local_share(near, everywhere, callers)
    others = far_shares(far, everywhere, callers, 1.0 - local)
    assert 0.0 <= local <= 1.0
    assert all(share >= 0 for share in others)
    if sum(far) > 0:
        assert local + sum(others) == pytest.approx(1.0)
    elif near > 0:
        assert local == pytest.approx(min(1.0, 1.0 / callers))


@given(st.lists(st.floats(0.1, 100), min_size=2, max_size=5), st.data())
def test_no_zone_carries_more_than_its_part_of_the_capacity(zones: list[float], data: st.DataObject) -> None:
    # Everybody decides by the same rule; as many callers in each zone.
    everywhere, count = sum(zones), len(zones)
    carried = [0.0] * count
    for home in range(count):
        far = [weight for at, weight in enumerate(zones) if at != home]
        local = local_share(zones[home], everywhere, 1 / count)
        carried[home] += local / count
        others = iter(far_shares(far, everywhere, 1 / count, 1 - local))
        for at in range(count):
            if at != home:
                carried[at] += next(others) / count
    assert carried == pytest.approx([max(c, 0) for c in carried])
    assert all(load <= weight / everywhere + 1e-6 for load, weight in zip(carried, zones, strict=True))


# Zones: the balancer.

NETWORKS = {"10.0.0.0/16": "far", "10.0.1.0/24": "near", "10.0.2.0/24": "other"}


def placed(near: int, other: int, **options: Any) -> tuple[Zones, list[Endpoint], list[Endpoint]]:
    here = [Endpoint(Address(f"10.0.1.{n}", 80)) for n in range(near)]
    there = [Endpoint(Address(f"10.0.2.{n}", 80)) for n in range(other)]
    zones = Zones("near", NETWORKS, draw=random.Random(5).random, **options).fresh()
    zones.update([*there, *here])
    return zones, here, there


@pytest.mark.parametrize(
    ("near", "down", "other", "callers", "expected"),
    [
        (5, 0, 5, None, 1.0),
        (5, 1, 5, None, 8 / 9),
        (3, 0, 7, None, 0.6),
        (3, 0, 7, 0.25, 1.0),
        (5, 5, 5, None, 0.0),
        (0, 0, 7, None, 0.0),
    ],
)
def test_near_before_far(near: int, down: int, other: int, callers: float | None, expected: float) -> None:
    zones, here, _ = placed(near, other, callers=callers)
    for endpoint in here[:down]:
        endpoint.mark(healthy=False)
    seen = shares(zones)
    assert sum(seen[endpoint] for endpoint in here) / seen.total() == pytest.approx(expected, abs=0.03)


def test_few_endpoints_are_one_zone() -> None:
    zones, here, there = placed(2, 3)
    assert set(shares(zones, 100)) == {*here, *there}


def test_the_narrowest_network_counts_and_what_is_in_none_is_a_zone_of_its_own() -> None:
    zones = Zones("near", NETWORKS)
    found = [zones.zone_of(Address(host, 80)) for host in ("10.0.1.9", "10.0.9.9", "192.168.0.1", "web.internal")]
    assert found == ["near", "far", "", ""]
    assert Zones("a", lambda address: address.host[-1]).zone_of(Address("10.0.0.7", 80)) == "7"
    assert repr(zones) == "Zones('near', RoundRobin())"


@pytest.mark.parametrize(
    ("argument", "given"),
    [
        ("local", {"local": ""}),
        ("local", {"local": 3}),
        ("networks", {"networks": {}}),
        ("networks", {"networks": "10.0.0.0/8"}),
        ("networks", {"networks": {"10.0.0.1/8": "a"}}),
        ("networks", {"networks": {"10.0.0.0/8": 1}}),
        ("callers", {"callers": 0}),
        ("callers", {"callers": math.nan}),
        ("minimum", {"minimum": 0}),
    ],
)
def test_bad_arguments_of_zones(argument: str, given: dict[str, Any]) -> None:
    with pytest.raises(resilience.ConfigurationError, match=argument):
        Zones(**{"local": "a", "networks": {"10.0.0.0/8": "a"}, **given})


def test_zones_within_tiers() -> None:
    near = [Endpoint(Address(f"10.0.1.{n}", 80)) for n in range(4)]
    other = [Endpoint(Address(f"10.0.2.{n}", 80)) for n in range(4)]
    spare = [Endpoint(Address(f"10.0.1.{n}", 80), tier=1) for n in range(10, 18)]
    balancer = Tiered(Zones("near", NETWORKS), 1.4, draw=random.Random(1).random)
    balancer.update([*near, *other, *spare])
    assert set(shares(balancer, 100)) == set(near)
    for endpoint in itertools.chain(near, other[:2]):
        endpoint.mark(healthy=False)
    seen = shares(balancer, at=5.0)
    assert sum(seen[endpoint] for endpoint in other) / seen.total() == pytest.approx(0.35, abs=0.03)


# What is left as it was, and the ends of ranges.


def by_third_part(address: Address) -> str:
    return address.host.split(".")[2]


@pytest.mark.parametrize(
    ("make", "inner"),
    [
        (lambda draw: Zones("a", by_third_part, PeakEwma(), callers=0.25, minimum=9, draw=draw), PeakEwma),
        (lambda draw: Zones("a", {"10.0.0.0/8": "a"}, draw=draw), RoundRobin),
        (lambda draw: Tiered(PeakEwma(), 1.7, draw=draw), PeakEwma),
    ],
)
def test_a_fresh_one_is_of_the_same_options(make: Any, inner: type) -> None:
    def draw() -> float:
        return 0.5

    made = make(draw)
    again = made.fresh()
    assert again is not made
    assert type(again.inner) is type(made.inner) is inner
    assert again.inner is not made.inner
    for name in ("local", "networks", "callers", "minimum", "factor", "draw"):
        assert getattr(again, name, None) == getattr(made, name, None), name


def test_the_local_zone_comes_first_and_few_endpoints_are_one_zone() -> None:
    known = [*endpoints(*[1] * 3, tier=2), *endpoints(*[1] * 3, tier=1)]
    zones = Zones("1", by_third_part)
    assert list(zones.grouped(known)) == ["1", "2"]
    assert [len(members) for members in zones.grouped(known).values()] == [3, 3]
    assert list(zones.grouped(known[1:])) == ["1"], "five are too few"
    assert list(Zones("2", by_third_part).grouped(known)) == ["2", "1"]


@pytest.mark.parametrize(
    ("near", "everywhere", "callers", "share"),
    [(0, 10, 0.5, 0.0), (0, 0, 0.5, 0.0), (0.1, 10, 0.5, 0.02), (5, 10, 0.5, 1.0), (8, 10, 0.5, 1.0), (2, 8, 0.5, 0.5)],
)
def test_the_local_share(near: float, everywhere: float, callers: float, share: float) -> None:
    assert local_share(near, everywhere, callers) == pytest.approx(share)


@pytest.mark.parametrize(
    ("far", "everywhere", "callers", "left", "expected"),
    [
        ([4, 4], 10, 0.2, 0.5, [0.25, 0.25]),
        ([6, 3], 10, 0.4, 0.5, [0.5, 0.0]),
        ([0.3, 0.1], 0.8, 0.5, 0.5, [0.5, 0.0]),
        ([1, 3], 16, 0.5, 0.8, [0.2, 0.6]),
        ([0.25, 0.25], 1, 0.5, 1.0, [0.5, 0.5]),
        ([0, 0], 10, 0.5, 0.5, [0, 0]),
        ([1, 1], 10, 0.5, 0.0, [0, 0]),
        ([0.2, 0.2], 100, 0.5, 0.4, [0.2, 0.2]),
    ],
)
def test_the_far_shares(
    far: list[float], everywhere: float, callers: float, left: float, expected: list[float]
) -> None:
    assert far_shares(far, everywhere, callers, left) == pytest.approx(expected)


class Weighing:
    """A group with so much ready weight, as of now."""

    def __init__(self, name: str, ready: float) -> None:
        self.name = name
        self._ready = ready

    def ready(self, now: float) -> float:
        assert now == 7.0
        return self._ready


@pytest.mark.parametrize(
    ("groups", "callers", "expected"),
    [
        ([("a", 6), ("b", 3)], None, [1.0, 0.0]),
        ([("a", 3), ("b", 6)], None, [2 / 3, 1 / 3]),
        ([("a", 0), ("b", 6), ("c", 6)], None, [0.0, 0.5, 0.5]),
        ([("a", 2), ("b", 8)], 0.8, [0.25, 0.75]),
        ([("b", 6), ("c", 2)], None, [1.0, 0.0]),
        ([("b", 4), ("c", 4)], None, [0.5, 0.5]),
        ([("b", 9), ("c", 6)], None, [4 / 5, 1 / 5]),
    ],
)
def test_how_many_calls_begin_in_each_zone(groups: Any, callers: float | None, expected: list[float]) -> None:
    zones = Zones("a", by_third_part, callers=callers)
    found = zones.shares([Weighing(*group) for group in groups], 7.0)  # type: ignore[misc]
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("tiers", "expected"),
    [([(0.5, 0.5), (5, 5)], [1.0, 0.0]), ([(0, 0), (5, 5)], [0.0, 1.0]), ([(0.25, 0.5), (5, 5)], [0.7, 0.3])],
)
def test_loads_of_light_and_of_empty_tiers(tiers: Any, expected: list[float]) -> None:
    assert loads(tiers, 1.4) == pytest.approx(expected)


def test_another_family_gets_nothing_while_one_of_the_preferred_is_ready() -> None:
    class Family(Weighing):
        def __init__(self, *hosts: str, ready: float, weight: float) -> None:
            super().__init__("", ready)
            self.members = [Endpoint(Address(host, 80)) for host in hosts]
            self.weight = weight

    v4, spill = Family("10.0.0.1", ready=1, weight=2), Family("10.0.1.1", ready=1, weight=1)
    v6 = Family("fd00::1", ready=5, weight=5)
    tiered: Any = Tiered(RoundRobin(), 1.4)
    assert tiered.shares([v4, v6], 7.0) == [1.0, 0.0]
    assert tiered.shares([v4, v6, spill], 7.0) == pytest.approx([0.7, 0.0, 0.3])
    assert tiered.shares([v6, v4], 7.0) == [1.0, 0.0]


# Where a call begins.


def anybody(_: Endpoint) -> bool:
    return True


def test_before_the_first_update_there_is_nobody() -> None:
    balancer = Tiered(PeakEwma(), 1.4)
    balancer.observe(endpoints(1)[0], 0.01, BAD, 0.0)
    assert balancer.pick(Trying(), fit) is None


def test_a_tier_is_ready_by_what_its_circuits_say_at_that_time() -> None:
    known = [*endpoints(1, 1), *endpoints(1, tier=1)]
    for endpoint in known[:2]:
        endpoint.circuit = circuit = DeepCircuit(CircuitOptions(consecutive_failures=1, open_for=10.0))
        circuit.settle(circuit.admit(5.0), BAD, now=5.0)
    balancer = Tiered(RoundRobin(), 1.4, draw=lambda: 0.5)
    balancer.update(known)
    tiers = [picked.tier for at in (5.0, 14.0, 15.5) if (picked := balancer.pick(Trying(at=at), anybody))]
    assert tiers == [1, 1, 0]


def test_a_tier_without_a_share_gets_no_call_whatever_is_drawn() -> None:
    known = [*endpoints(1, 1), *endpoints(1, tier=1)]
    balancer = Tiered(RoundRobin(), 1.4, draw=lambda: 0.0)
    balancer.update(known)
    for endpoint in known[:2]:
        endpoint.mark(healthy=False)
    assert balancer.pick(Trying(), anybody) is known[2]


def test_an_update_has_everybody_looked_at_anew() -> None:
    balancer, known = tiered(10, 3)
    assert in_tier(shares(balancer, 100), 1) == 0.0
    for endpoint in known[:5]:
        endpoint.mark(healthy=False)
    balancer.update(known)
    assert in_tier(shares(balancer), 1) == pytest.approx(0.3, abs=0.03)


def test_a_look_is_good_for_longer_the_more_there_are() -> None:
    balancer, known = tiered(100, 100)
    balancer.draw = lambda: 0.9
    assert in_tier(shares(balancer, 1, at=0.0), 1) == 0.0
    for endpoint in known[:50]:
        endpoint.mark(healthy=False)
    assert in_tier(shares(balancer, 1, at=0.115), 1) == 0.0
    assert in_tier(shares(balancer, 1, at=0.125), 1) == 1.0


def test_after_the_first_tier_comes_the_second() -> None:
    known = [endpoint for tier in range(3) for endpoint in endpoints(1, 1, tier=tier)]
    balancer = Tiered(RoundRobin(), 1.4, draw=lambda: 0.0)
    balancer.update(known)
    assert [balancer.pick(Trying(known[:tried]), fit) in known[tried : tried + 2] for tried in (0, 2, 4)] == [True] * 3


def test_where_nobody_is_ready_the_local_zone_is_asked_first() -> None:
    zones, here, there = placed(3, 3)
    for endpoint in (*here, *there):
        endpoint.mark(healthy=False)
    assert zones.pick(Trying(), fit) is None
    assert zones.pick(Trying(), anybody) in here


@pytest.mark.parametrize(
    "balancer", [Tiered(RoundRobin(), 1.4), Zones("a", {"10.0.0.0/24": "a", "10.0.1.0/24": "b"}, minimum=1)], ids=repr
)
def test_a_pick_that_has_begun_when_the_groups_become_one_finds_that_one(balancer: Any) -> None:
    near = endpoints(1, 1)
    balancer.update(near + endpoints(1, tier=1))
    under_way = balancer.pick  # what another thread is about to call
    balancer.update(near)
    assert under_way(Trying(), fit) in near
