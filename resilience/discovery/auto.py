"""Resolve as httpx would, by the system's own resolver, and see what the name is: a fleet or one origin."""

from __future__ import annotations

import math
import socket
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from resilience.core.endpoint import Address
from resilience.core.hostport import ip
from resilience.core.resolution import Replica, Resolution
from resilience.discovery.failures import Kind, ResolutionError
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.offload import Offload

if TYPE_CHECKING:
    from resilience.core.ports import Runtime
    from resilience.core.resolution import Target

TTL = 30.0
"""Seconds that the system's answer is taken for, since it does not say."""
ASKING = 0.25
"""Seconds that DNS gets to tell a TTL; by then the addresses are known already."""
LOOKUPS = Offload(threads=16, linger=0.5)
"""Where ``getaddrinfo`` blocks, of this process: it cannot be interrupted, and takes 10 s when nameservers are dead."""

_KINDS: dict[int, Kind] = {
    socket.EAI_NONAME: "nxdomain",
    socket.EAI_AGAIN: "timeout",
    socket.EAI_FAIL: "servfail",
}
_NO_DATA = {getattr(socket, name, None) for name in ("EAI_NODATA", "EAI_ADDRFAMILY")}


@dataclass(frozen=True, slots=True)
class Auto:
    """Look the host up as any program here does, then treat it as what it is. The default; takes no options.

    An IP literal, loopback, a ``.local`` name, a name in the hosts file, or any globally routable address: one origin,
    whose addresses are ways to it, in the system's order. Only private addresses: a fleet, each address a replica (one
    family, the other as a fallback), followed by the TTL that DNS gives where it knows the same addresses.
    """

    def immediate(self, target: Target, /) -> Resolution | None:
        """Return what needs no lookup: an IP literal. None for a name."""
        literal = ip(target.host)
        if literal is None:
            return None
        return _origin([literal], target.port, math.inf, "literal", "one origin: the URL names its address")

    async def resolve(self, target: Target, /, *, deadline: float) -> Resolution:
        """Return what the host stands for; raise :class:`ResolutionError` before `deadline`."""
        return await resolve(target, deadline=deadline)


async def resolve(
    target: Target, /, *, deadline: float, runtime: Runtime = ANYIO, lookups: Offload = LOOKUPS
) -> Resolution:
    """Do the work of :class:`Auto`, with nothing taken for granted."""
    literal = ip(target.host)
    if literal is not None:
        return _origin([literal], target.port, math.inf, "literal", "one origin: the URL names its address")
    addresses = await system_addresses(target, deadline=deadline, runtime=runtime, lookups=lookups)

    from resilience.discovery.kinds import judge  # noqa: PLC0415 - an IP literal needs none of this
    from resilience.discovery.replicas import by_family, fleet  # noqa: PLC0415
    from resilience.discovery.system import listed_in_hosts  # noqa: PLC0415

    listed = bool(set(listed_in_hosts(target.host)) & set(addresses))
    nature = judge(target.host, addresses, listed=listed)
    source = "hosts" if listed else "system"
    if not nature.fleet:
        return _origin(addresses, target.port, TTL, source, nature.why)
    ttl = await _ttl(target.host, addresses, deadline=min(deadline, runtime.now() + ASKING))
    ipv4, ipv6 = by_family(addresses)
    preferred, fallback = (ipv6, ipv4) if ":" in addresses[0] else (ipv4, ipv6)
    replicas = fleet(preferred, fallback, target.port)
    if ttl is None:
        return Resolution(replicas, TTL, source, fleet=True, why=nature.why)
    return Resolution(replicas, ttl, "dns", fleet=True, why=nature.why)


def _origin(addresses: list[str], port: int, ttl: float, source: str, why: str) -> Resolution:
    replicas = tuple(Replica(Address(address, port)) for address in addresses)
    return Resolution(replicas, ttl, source, fleet=False, why=why)


async def system_addresses(target: Target, /, *, deadline: float, runtime: Runtime, lookups: Offload) -> list[str]:
    """Return the host's addresses in the order the system prefers; raise ResolutionError before `deadline`."""
    submission = lookups.submit(target.host, partial(_getaddrinfo, target.host))
    try:
        addresses = await submission.wait(runtime, deadline - runtime.now())
    except TimeoutError as error:
        if submission.done:  # the lookup's own
            raise ResolutionError(target.host, "timeout", causes=(error,)) from error
        detail = "the system's resolver did not answer in time"
        raise ResolutionError(target.host, "timeout", detail) from None
    except socket.gaierror as error:
        kind = "empty" if error.errno in _NO_DATA else _KINDS.get(error.errno or 0, "servfail")
        raise ResolutionError(target.host, kind, str(error), causes=(error,)) from error
    except (OSError, UnicodeError, RuntimeError) as error:
        raise ResolutionError(target.host, "servfail", str(error), causes=(error,)) from error
    if not addresses:
        raise ResolutionError(target.host, "empty")
    return addresses


def _getaddrinfo(host: str) -> list[str]:
    # As httpcore asks: both families, streams, no flags. By its attribute, so that whoever patches it is heard.
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    addresses: dict[str, None] = {}
    for family, _, _, _, place in found:
        if family in {socket.AF_INET, socket.AF_INET6}:
            host = str(place[0])
            scope = int(place[3]) if len(place) == 4 else 0  # noqa: PLR2004 - IPv6: address, port, flow, scope
            addresses[f"{host}%{scope}" if scope and "%" not in host else host] = None
    return list(addresses)


async def _ttl(host: str, addresses: list[str], *, deadline: float) -> float | None:
    """Return DNS's TTL for these very addresses; None when DNS knows others, or nothing."""
    from resilience.discovery import by_dns  # noqa: PLC0415
    from resilience.discovery.replicas import by_family  # noqa: PLC0415

    try:
        answer = await by_dns.resolve(by_dns.Question(host, 0, "addresses"), None, deadline=deadline)
    except ResolutionError:
        return None
    heard = by_family(replica.address.host for replica in answer.replicas)
    agree = all(not ours or set(ours) == set(theirs) for ours, theirs in zip(heard, by_family(addresses), strict=True))
    return answer.ttl if answer.source == "dns" and agree else None
