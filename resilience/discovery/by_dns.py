"""From a name to a fleet by way of DNS: literal, hosts file, then the questions that its kind of record takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import dns.exception
from dns.rdatatype import AAAA, A

from resilience.core.hostport import ip
from resilience.core.resolution import Resolution
from resilience.discovery.failures import ResolutionError
from resilience.discovery.lookup import Lookup
from resilience.discovery.replicas import by_family, fleet, services
from resilience.discovery.system import Configuration, listed_in_hosts, read_configuration
from resilience.discovery.wire import exchange as over_network
from resilience.runtimes.anyio import ANYIO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dns.name import Name
    from dns.rdatatype import RdataType

    from resilience.core.endpoint import Address
    from resilience.core.ports import Runtime
    from resilience.discovery.lookup import Exchange, Found

HOSTS_TTL = 30.0
"""Seconds that an entry of the hosts file is taken for granted; the file is read again when it has changed."""
_SERVICE = re.compile(r"_[^.]+\._[^.]+\.")
_WHY = "Dns() makes each address a replica"
_LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask for: a name as people write it, the port of its addresses, and a kind of record.

    `record`: ``"auto"``, ``"A"``, ``"AAAA"``, ``"SRV"`` as in `Dns`; anything else: A and AAAA whatever the name.
    """

    name: str
    port: int
    record: str = "auto"

    @property
    def service(self) -> bool:
        """Is it SRV records that are asked for?"""
        return self.record == "SRV" or (self.record == "auto" and _SERVICE.match(self.name) is not None)

    def wants(self, addresses: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return those of the families asked for, IPv4 and IPv6."""
        ipv4, ipv6 = by_family(addresses)
        return () if self.record == "AAAA" else ipv4, () if self.record == "A" else ipv6


async def resolve(
    question: Question,
    servers: Sequence[Address] | None,
    *,
    deadline: float,
    runtime: Runtime = ANYIO,
    exchange: Exchange = over_network,
) -> Resolution:
    """Return the replicas behind a name; `servers` None: as this machine is configured."""
    known = _known(question, with_hosts=servers is None)
    if known is not None:
        return known
    configuration = read_configuration() if servers is None else Configuration(tuple(servers), ndots=0)
    lookup = Lookup(runtime, exchange, configuration.servers, deadline)
    try:
        names = configuration.candidates(question.name)
    except (dns.exception.DNSException, ValueError) as error:  # a label too long, or not to be encoded
        raise ResolutionError(question.name, "malformed", "this is no DNS name", causes=(error,)) from None
    if question.service:
        found = await lookup.search(names, lookup.services)
        return Resolution(services(found.services), found.ttl, "dns", why=_WHY)
    rdtypes = {"A": (A,), "AAAA": (AAAA,)}.get(question.record, (A, AAAA))
    answer = await lookup.search(names, partial(_addresses, lookup, rdtypes))
    return Resolution(fleet(answer.ipv4, answer.ipv6, question.port), answer.ttl, "dns", why=_WHY)


async def _addresses(lookup: Lookup, rdtypes: Sequence[RdataType], name: Name) -> Found:
    return await lookup.addresses(name, rdtypes)


def _known(question: Question, *, with_hosts: bool) -> Resolution | None:
    """Return what needs no nameserver: a literal, localhost (RFC 6761), a name in the hosts file."""
    if question.service:
        return None
    literal = ip(question.name)
    plain = question.name.removesuffix(".").lower()
    listed = listed_in_hosts(plain) if with_hosts and literal is None else ()
    local = plain == "localhost" or plain.endswith(".localhost")
    addresses = (literal,) if literal else listed or (_LOOPBACK if local else ())
    if not addresses:
        return None
    ipv4, ipv6 = question.wants(addresses)
    if not ipv4 and not ipv6:
        detail = f"it has no {question.record} address"
        raise ResolutionError(question.name, "empty", detail)
    source, ttl = ("literal", float("inf")) if literal else ("hosts", HOSTS_TTL)
    return Resolution(fleet(ipv4, ipv6, question.port), ttl, source, why=_WHY)
