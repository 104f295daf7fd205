"""A subset of a large fleet: each client its own few, every replica its share of clients."""

from __future__ import annotations

import math
import socket
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import resilience
from resilience.core.endpoint import Address
from resilience.core.resolution import Replica, Resolution, Target
from resilience.discovery.subset import Subset, subset

TARGET = Target("web.internal", 80)


def replicas(count: int, tier: int = 0) -> list[Replica]:
    return [Replica(Address(f"10.{tier}.{n // 256}.{n % 256}", 80), tier=tier) for n in range(count)]


@given(st.integers(1, 60), st.integers(1, 30), st.text(min_size=1), st.data())
def test_one_more_replica_exchanges_at_most_one(count: int, size: int, client: str, data: st.DataObject) -> None:
    known = replicas(count + 1)
    lost = data.draw(st.sampled_from(known))
    before = subset([replica for replica in known if replica is not lost], size, client)
    after = subset(known, size, client)
    assert len(after) == min(size, count + 1)
    assert len(set(after) - set(before)) <= 1
    assert set(before) - set(after) == set() or lost in after
    assert list(after) == [replica for replica in known if replica in after], "in the order they came in"
    assert set(subset(list(reversed(known)), size, client)) == set(after), "whatever that order was"


def test_every_replica_gets_its_share_of_clients() -> None:
    known = replicas(50)
    clients = Counter(replica for n in range(1000) for replica in subset(known, 10, f"client-{n}"))
    assert min(clients.values()) > 140
    assert max(clients.values()) < 260  # 200 on average


def test_each_tier_has_a_subset_of_its_own() -> None:
    kept = subset([*replicas(30), *replicas(5, tier=1)], 10, "me")
    assert Counter(replica.tier for replica in kept) == {0: 10, 1: 5}


class Finding:
    """A resolver that knows."""

    min_ttl = 3.0

    def __init__(self, resolution: Resolution) -> None:
        self.resolution = resolution
        self.asked: Any = None

    async def resolve(self, target: Target, /, *, deadline: float) -> Resolution:
        self.asked = (target, deadline)
        return self.resolution


class Knowing(Finding):
    """One that need not ask, and says for how long its answers may be kept."""

    max_ttl, stale_for = 9.0, 60.0

    def immediate(self, target: Target, /) -> Resolution:
        self.asked = target
        return self.resolution


async def test_what_the_resolver_finds_is_cut_and_said_so() -> None:
    whole = Resolution(tuple(replicas(100)), 30.0, "dns", why="all private")
    resolver = Subset(Finding(whole), 20, "me")
    found = await resolver.resolve(TARGET, deadline=math.inf)
    assert found.replicas == subset(whole.replicas, 20, "me")
    assert (found.ttl, found.source) == (30.0, "dns")
    assert found.why == "all private; a subset of 20 of 100"
    assert resolver.min_ttl == 3.0
    assert not hasattr(resolver, "max_ttl")
    assert not hasattr(resolver, "anything")
    assert resolver.immediate(TARGET) is None


async def test_the_resolver_is_asked_as_it_would_be_without_it() -> None:
    whole = Resolution(tuple(replicas(100)), 30.0, "list")
    known = Knowing(whole)
    resolver = Subset(known, 20, "me")
    found = resolver.immediate(TARGET)
    assert found is not None
    assert (found.replicas, found.why) == (subset(whole.replicas, 20, "me"), "as told; a subset of 20 of 100")
    assert known.asked == TARGET
    assert await resolver.resolve(TARGET, deadline=7.0) == found
    assert known.asked == (TARGET, 7.0)
    assert (resolver.min_ttl, resolver.max_ttl, resolver.stale_for) == (3.0, 9.0, 60.0)


async def test_a_small_fleet_and_an_origin_stay_whole() -> None:
    for whole in (
        Resolution(tuple(replicas(20)), 30.0, "dns"),
        Resolution(tuple(replicas(30)), 30.0, "dns", fleet=False),
    ):
        assert await Subset(Finding(whole), 20, "me").resolve(TARGET, deadline=math.inf) is whole


def test_a_list_is_known_at_once_and_the_host_is_the_client() -> None:
    listed = resilience.Static([f"10.0.0.{n}:80" for n in range(30)])
    found = Subset(listed, 7).immediate(TARGET)
    assert found is not None
    assert len(found.replicas) == 7
    assert Subset(listed).client == socket.gethostname()


@pytest.mark.parametrize(
    ("argument", "given"),
    [
        ("size", {"size": 0}),
        ("resolver", {"resolver": resilience.Static}),
        ("resolver", {"resolver": "dns"}),
        ("client", {"client": ""}),
        ("client", {"client": 7}),
    ],
)
def test_bad_arguments(argument: str, given: dict[str, Any]) -> None:
    with pytest.raises(resilience.ConfigurationError) as caught:
        Subset(**{"resolver": resilience.Dns(), **given})
    assert caught.value.argument == argument
