"""Keys across groups: a key stays in its tier and its zone, whoever tells it, and zones are drawn apart from tiers."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from resilience.balancing.priorities import Tiered
from resilience.balancing.rendezvous import Rendezvous
from resilience.balancing.round_robin import RoundRobin
from resilience.balancing.slow_start import Eased, SlowStart
from resilience.balancing.zones import Zones
from resilience.core.endpoint import Address, Endpoint
from tests.balancing.support import Trying, fit

if TYPE_CHECKING:
    from collections.abc import Callable

NETWORKS = {f"10.{tier}.{zone}.0/24": "ab"[zone] for tier in (0, 1) for zone in (0, 1)}
HEADER, COOKIE, FUNCTION = (
    {"header": "x-user"},
    {"cookie": "user"},
    {"key": lambda request: request.headers["x-user"]},
)


def draw() -> float:
    return CHANCE.random()


CHANCE = random.Random(8)


def of(user: str) -> Trying:
    headers = {"x-user": user, "cookie": f"user={user}"}
    return Trying(request=httpx.Request("GET", "http://web/", headers=headers))


def zoned(inner: Any) -> Zones:
    return Zones("a", NETWORKS, inner, draw=draw)


def two_groups(per_tier: int, tiers: int) -> list[Endpoint]:
    """Return endpoints of one tier in two zones (2 local and 6), or of two tiers of which the first is half down."""
    sizes = {(0, 0): 2, (0, 1): 6} if tiers == 1 else {(0, 0): per_tier, (1, 0): per_tier}
    found = [
        Endpoint(Address(f"10.{tier}.{zone}.{n}", 80), tier=tier)
        for (tier, zone), count in sizes.items()
        for n in range(count)
    ]
    if tiers > 1:
        for endpoint in found[: per_tier // 2]:
            endpoint.mark(healthy=False)
    return found


@pytest.mark.parametrize("source", [HEADER, COOKIE, FUNCTION], ids=["header", "cookie", "function"])
@pytest.mark.parametrize(
    ("tiers", "around"),
    [
        (1, zoned),
        (2, lambda inner: Tiered(inner, 1.4, draw=draw)),
        (1, lambda inner: Tiered(zoned(inner), 1.4, draw=draw)),
        (2, lambda inner: Tiered(Eased(inner, SlowStart(1.0, draw)), 1.4, draw=draw)),
    ],
    ids=["zones", "tiers", "zones in tiers", "slow start in tiers"],
)
def test_a_key_that_the_balancer_finds_stays_where_it_is(
    tiers: int, around: Callable[[Any], Any], source: dict[str, Any]
) -> None:
    known = two_groups(4, tiers)
    balancer = around(Rendezvous(**source, bounded_load=math.inf))
    balancer.update(known)
    homes: dict[str, set[Endpoint | None]] = {}
    for _ in range(15):
        for user in map(str, range(40)):
            homes.setdefault(user, set()).add(balancer.pick(of(user), fit))
    assert {len(found) for found in homes.values()} == {1}
    groups = {(endpoint.tier, endpoint.address.host[5]) for found in homes.values() for endpoint in found if endpoint}
    assert len(groups) == 2, "both groups have keys"


def local_share_of_the_second_tier(inner: Any, key: Callable[[int], str | None]) -> float:
    # In each tier three in the local zone and five in the other; half of the first tier is down.
    known = [
        Endpoint(Address(f"10.{tier}.{zone}.{n}", 80), tier=tier)
        for tier in (0, 1)
        for zone, count in ((0, 3), (1, 5))
        for n in range(count)
    ]
    for endpoint in (*known[:2], *known[3:5]):
        endpoint.mark(healthy=False)
    balancer = Tiered(zoned(inner), 1.4, draw=draw)
    balancer.update(known)
    picked = [balancer.pick(Trying(key=key(n)), fit) for n in range(3000)]
    second = [endpoint for endpoint in picked if endpoint is not None and endpoint.tier]
    assert len(second) / len(picked) == pytest.approx(0.3, abs=0.03)
    return sum(endpoint.address.host.startswith("10.1.0.") for endpoint in second) / len(second)


@pytest.mark.parametrize("make", [RoundRobin, lambda: Rendezvous(bounded_load=math.inf)])
def test_keys_that_spill_into_a_tier_are_divided_among_its_zones_like_all_others(make: Any) -> None:
    by_chance = local_share_of_the_second_tier(make(), lambda _: None)
    by_key = local_share_of_the_second_tier(make(), lambda n: f"user-{n}")
    assert by_chance == pytest.approx(0.75, abs=0.06), "3/8 of the capacity for half of the callers"
    assert by_key == pytest.approx(0.75, abs=0.06)


def test_where_keys_go_is_settled_for_good() -> None:
    known = two_groups(10, 2)
    balancer = Tiered(RoundRobin(), 1.4, draw=draw)
    balancer.update(known)
    tiers = [str(endpoint.tier) for n in range(12) if (endpoint := balancer.pick(Trying(key=str(n)), fit))]
    assert "".join(tiers) == "000001000011", "whatever the version or the machine"
    zones = zoned(RoundRobin())
    zones.update(two_groups(0, 1))
    found = [endpoint.address.host[5] for n in range(12) if (endpoint := zones.pick(Trying(key=str(n)), fit))]
    assert "".join(found) == "000000100000"


@pytest.mark.parametrize("inner", [RoundRobin(), Rendezvous(header="x-other")])
def test_an_empty_key_is_none_and_goes_by_chance(inner: Any) -> None:
    for around, tiers in ((zoned, 1), (lambda it: Tiered(it, 1.4, draw=draw), 2)):
        balancer = around(inner.fresh())
        balancer.update(two_groups(4, tiers))
        picked = [balancer.pick(Trying(key=""), fit) for _ in range(60)]
        assert len({(endpoint.tier, endpoint.address.host[5]) for endpoint in picked if endpoint}) == 2


class OfSomebody:
    """A balancer that knows its keys, and nothing of the house's."""

    def __init__(self) -> None:
        self.known: list[Endpoint] = []

    def fresh(self) -> OfSomebody:
        return OfSomebody()

    def update(self, endpoints: Any, /) -> None:
        self.known = list(endpoints)

    def pick(self, call: Any, usable: Any, /) -> Endpoint | None:
        return next(filter(usable, self.known), None)

    def key_of(self, call: Any, /) -> str | None:
        name: str | None = call.request
        return name


def test_a_balancer_of_ones_own_may_tell_its_keys() -> None:
    balancer = zoned(OfSomebody())
    balancer.update(two_groups(0, 1))
    homes = {name: {balancer.pick(Trying(request=name), fit) for _ in range(15)} for name in map(str, range(30))}
    assert {len(found) for found in homes.values()} == {1}
    assert len(set().union(*homes.values())) == 2
    assert len({balancer.pick(Trying(), fit) for _ in range(60)}) == 2, "it has none for these: by chance"
    assert len({balancer.pick(Trying(key="ann"), fit) for _ in range(60)}) == 1, "nor for these, but the caller has"


def test_who_has_no_keys_is_not_asked_for_any() -> None:
    assert zoned(RoundRobin()).key_of is None
    assert Tiered(Eased(zoned(RoundRobin()), SlowStart(1.0, draw)), 1.4).key_of is None
