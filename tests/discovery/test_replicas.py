import math

from hypothesis import given
from hypothesis import strategies as st

from resilience.core.endpoint import Address
from resilience.core.resolution import Replica
from resilience.discovery.answers import Service
from resilience.discovery.replicas import fleet, services


def test_a_fleet_is_the_same_value_whatever_the_rotation():
    one = fleet(["10.0.0.10", "10.0.0.9", "10.0.0.9"], ["fd00::2", "fd00::1"], 80)
    assert one == fleet(["10.0.0.9", "10.0.0.10"], ["fd00::1", "fd00::2"], 80)
    assert [(replica.address.host, replica.tier) for replica in one] == [
        ("10.0.0.9", 0),
        ("10.0.0.10", 0),
        ("fd00::1", 1),
        ("fd00::2", 1),
    ]


def test_the_only_family_is_the_first_tier():
    assert fleet([], ["fd00::1"], 80) == (Replica(Address("fd00::1", 80)),)
    assert fleet([], [], 80) == ()


def test_priorities_are_tiers_and_ipv6_a_tier_below_its_own():
    found = services(
        [
            Service(20, 1, 82, "c", ("10.0.0.3",)),
            Service(10, 2, 80, "a", ("10.0.0.1", "fd00::1")),
            Service(10, 1, 81, "b", ("fd00::2",)),
        ]
    )
    assert [(str(replica.address), replica.weight, replica.tier) for replica in found] == [
        ("10.0.0.1:80", 2.0, 0),
        ("[fd00::2]:81", 1.0, 0),
        ("[fd00::1]:80", 2.0, 1),
        ("10.0.0.3:82", 1.0, 2),
    ]


def test_a_weight_of_nothing_is_seldom_beside_others_and_equal_among_its_like():
    found = services([Service(1, 10, 80, "a", ("10.0.0.1",)), Service(1, 0, 80, "b", ("10.0.0.2",))])
    assert [replica.weight for replica in found] == [10.0, 0.1]
    found = services([Service(1, 0, 80, "a", ("10.0.0.1",)), Service(1, 0, 80, "b", ("10.0.0.2",))])
    assert [replica.weight for replica in found] == [1.0, 1.0]


addresses = st.lists(st.ip_addresses().map(str), min_size=1, max_size=4).map(tuple)
records = st.builds(Service, st.integers(0, 3), st.integers(0, 65535), st.integers(1, 3), st.text("ab"), addresses)


@given(st.lists(records, min_size=1, max_size=8))
def test_services_are_replicas_each_once_in_tiers_without_gaps(found):
    replicas = services(found)
    places = {(address, service.port) for service in found for address in service.addresses}
    assert sorted((replica.address.host, replica.address.port) for replica in replicas) == sorted(places)
    assert all(0 < replica.weight < math.inf for replica in replicas)
    assert replicas[0].tier == 0
    tiers = [replica.tier for replica in replicas]
    assert tiers == sorted(tiers)
    assert services(list(reversed(found))) is not None


@given(st.lists(st.tuples(st.integers(1, 100), st.integers(1, 4)), min_size=1, max_size=6))
def test_a_targets_addresses_share_its_weight(targets):
    found = [
        Service(1, weight, 80, f"t{n}", tuple(f"10.0.{n}.{m}" for m in range(count)))
        for n, (weight, count) in enumerate(targets)
    ]
    for n, (weight, _) in enumerate(targets):
        own = [replica.weight for replica in services(found) if replica.address.host.startswith(f"10.0.{n}.")]
        assert math.isclose(sum(own), weight)


def test_an_address_that_several_records_name_has_the_sum_of_their_weights():
    found = services(
        [
            Service(1, 2, 80, "a", ("10.0.0.1",)),
            Service(1, 3, 80, "b", ("10.0.0.1", "10.0.0.2")),
            Service(1, 7, 81, "c", ("10.0.0.1",)),
        ]
    )
    assert {str(replica.address): replica.weight for replica in found} == {
        "10.0.0.1:80": 3.5,
        "10.0.0.2:80": 1.5,
        "10.0.0.1:81": 7.0,
    }
