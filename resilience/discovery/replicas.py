"""From what DNS knows to replicas: tiers, exact weights, one family at a time."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from resilience.core.endpoint import Address
from resilience.core.resolution import Replica

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from resilience.discovery.answers import Service

_SELDOM = 0.01
"""Share that a weight of 0 gets of the smallest other one: "a very small chance of being selected" (RFC 2782)."""


def by_family(addresses: Iterable[str], /) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return IPv4 and IPv6 addresses, each in the order given."""
    listed = tuple(addresses)
    return tuple(each for each in listed if ":" not in each), tuple(each for each in listed if ":" in each)


def fleet(preferred: Iterable[str], fallback: Iterable[str], port: int, /) -> tuple[Replica, ...]:
    """Return a replica for each address of the `preferred` family, and those of the other in the tier below.

    In numerical order, whatever rotation the answer came in: so equal sets are equal values. Two families are not two
    replicas each: they are two ways to the same machines, and one of them may lead nowhere.
    """
    families = [family for family in (ordered(preferred), ordered(fallback)) if family]
    return tuple(
        Replica(Address(address, port), tier=tier) for tier, family in enumerate(families) for address in family
    )


def services(found: Sequence[Service], /) -> tuple[Replica, ...]:
    """Return the replicas behind SRV records (RFC 2782).

    A tier for each priority, and one below it for the same targets' IPv6; weights as given, a target's own shared by
    its addresses, an address named by several records with the sum of theirs.
    """
    least = {
        priority: min((each.weight for each in found if each.priority == priority and each.weight), default=0)
        for priority in {each.priority for each in found}
    }
    weights: dict[tuple[int, bool, Address], float] = {}
    for each in found:
        weight = float(each.weight) or least[each.priority] * _SELDOM or 1.0
        ipv4, ipv6 = by_family(each.addresses)
        first = ipv4 or ipv6
        for family in (ipv4, ipv6):
            for address in family:
                place = (each.priority, family is not first, Address(address, each.port))
                weights[place] = weights.get(place, 0.0) + weight / len(family)
    tiers = {place: rank for rank, place in enumerate(sorted({place[:2] for place in weights}))}
    best: dict[Address, Replica] = {}
    for place in sorted(weights, key=lambda place: (place[:2], _number(place[2].host), place[2].port)):
        best.setdefault(place[2], Replica(place[2], weights[place], tiers[place[:2]]))
    return tuple(best.values())


def ordered(addresses: Iterable[str], /) -> list[str]:
    """Return the addresses once each, in numerical order."""
    return sorted(dict.fromkeys(addresses), key=_number)


def _number(address: str) -> tuple[int, int, str]:
    parsed = ipaddress.ip_address(address)
    return parsed.version, int(parsed), address
