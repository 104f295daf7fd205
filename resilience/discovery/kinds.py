"""A fleet of replicas, or one origin with several ways to it? What the addresses of a name tell."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resilience.discovery.replicas import by_family

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Nature:
    """What a name stands for, and why."""

    fleet: bool
    why: str


def judge(host: str, addresses: Sequence[str], *, listed: bool = False) -> Nature:
    """Say what `host` is, from all of its addresses; `listed`: they are in the hosts file.

    Only where every address is private are they taken for replicas: on the open internet several addresses belong to
    one host, or to a network that has chosen them for us, and alternating between them would lose its connections.
    """
    name = host.removesuffix(".").lower()
    parsed = [ipaddress.ip_address(address.partition("%")[0]) for address in addresses]
    loopback = [address for address in parsed if address.is_loopback]
    if loopback:
        return Nature(fleet=False, why=f"one origin: {loopback[0]} is loopback")
    if name.endswith(".local"):
        return Nature(fleet=False, why="one origin: .local names are single machines (mDNS)")
    if listed:
        return Nature(fleet=False, why="one origin: it is listed in the hosts file")
    public = [address for address in parsed if _is_public(address)]
    if public:
        return Nature(fleet=False, why=f"one origin: {public[0]} is globally routable")
    ipv4, ipv6 = by_family(addresses)
    if len(ipv4) == len(ipv6) == 1:
        return Nature(fleet=False, why="one origin: one address of each family is one host")
    count = len(ipv6 if ":" in addresses[0] else ipv4)
    return Nature(fleet=True, why=f"a fleet: all addresses are private, {count} of one family")


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_global
