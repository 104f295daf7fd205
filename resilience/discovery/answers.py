"""What one DNS message says to one question: addresses, services, an alias to follow, or a typed failure.

No network, no clock. Whatever is not exactly an answer to the question is ``malformed``, which keeps the last good set:
only a message that could not mean anything else says ``empty`` or ``nxdomain``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
from dns.rdatatype import AAAA, CNAME, DNAME, RRSIG, SOA, SRV, A

from resilience.discovery.failures import Kind, ResolutionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dns.rrset import RRset

MOST_ALIASES = 16
"""Links of a CNAME chain that are followed: BIND's own bound."""
_FAILURES: dict[dns.rcode.Rcode, Kind] = {
    dns.rcode.SERVFAIL: "servfail",
    dns.rcode.REFUSED: "refused",
    dns.rcode.NOTIMP: "refused",
    dns.rcode.NOTAUTH: "refused",
}


@dataclass(frozen=True, slots=True)
class Addresses:
    """IP addresses in the order of the answer, each once, and the smallest TTL on the way to them."""

    addresses: tuple[str, ...]
    ttl: float


@dataclass(frozen=True, slots=True)
class Service:
    """One SRV record: its target (absolute, lower case, without the last dot) and what came along about it."""

    priority: int
    weight: int
    port: int
    target: str
    addresses: tuple[str, ...] = ()
    """Addresses of the target found in the same message; none when they must be asked for."""


@dataclass(frozen=True, slots=True)
class Services:
    """SRV records, and the smallest TTL of theirs and of the addresses that came along."""

    services: tuple[Service, ...]
    ttl: float


@dataclass(frozen=True, slots=True)
class Alias:
    """A CNAME chain that ends outside of the message: ask for `name`."""

    name: dns.name.Name
    ttl: float


Answer: TypeAlias = Addresses | Services | Alias


def read(response: dns.message.Message, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, /) -> Answer:
    """Return what `response` says of `name`; raise :class:`ResolutionError` when that is nothing, or nonsense."""
    question = response.question
    rcode = response.rcode()
    answers = response.flags & dns.flags.QR and response.opcode() == dns.opcode.QUERY
    if not answers or (question and not _asks(question, name, rdtype)):
        raise _failure(name, "malformed", "this is no answer to the question")
    if rcode not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        raise _failure(name, _FAILURES.get(rcode, "malformed"), f"the nameserver said {dns.rcode.to_text(rcode)}")
    if not question:
        raise _failure(name, "malformed", "the answer does not repeat the question")
    owner, ttl, used = _follow(response, name)
    found = [rrset for rrset in response.answer if _is(rrset, owner, rdtype)]
    if found:
        if rcode != dns.rcode.NOERROR:
            raise _failure(name, "malformed", "records of a name that does not exist")
        ttl = min([ttl, *(float(rrset.ttl) for rrset in found)])
        return _services(response, name, found, ttl) if rdtype == SRV else Addresses(_addresses(found), ttl)
    if any(not used(rrset) for rrset in response.answer):
        raise _failure(name, "malformed", "the answer is about something else")
    negative = _negative_ttl(response, owner)
    if rcode == dns.rcode.NXDOMAIN:
        raise _failure(name, "nxdomain", ttl=negative)
    if owner != name and negative is None:  # not said to have nothing: the server does not know it
        return Alias(owner, ttl)
    raise _failure(name, "empty", ttl=negative)


def parse(wire: bytes, /) -> dns.message.Message:
    """Return the message in a packet; raise ResolutionError of kind ``malformed``, whatever is wrong with it."""
    try:
        return dns.message.from_wire(wire)
    except Exception as error:
        name = "the name"
        raise ResolutionError(name, "malformed", "the packet is no DNS message", causes=(error,)) from error


def _asks(question: list[RRset], name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> bool:
    return len(question) == 1 and _is(question[0], name, rdtype)


def _is(rrset: RRset, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> bool:
    return rrset.name == name and rrset.rdtype == rdtype and rrset.rdclass == dns.rdataclass.IN


def _records(rrset: RRset) -> Iterator[Any]:
    return iter(cast("Iterable[Any]", rrset))


def _follow(response: dns.message.Message, name: dns.name.Name) -> tuple[dns.name.Name, float, Any]:
    """Return the chain's last name, its smallest TTL, and a test for the records that belong to the chain."""
    aliases = {
        rrset.name: rrset
        for rrset in response.answer
        if rrset.rdtype == CNAME and rrset.rdclass == dns.rdataclass.IN and len(rrset) == 1
    }
    owner, ttl, seen = name, float("inf"), {name}
    while (rrset := aliases.get(owner)) is not None:
        (record,) = _records(rrset)
        owner, ttl = record.target, min(ttl, float(rrset.ttl))
        if owner in seen or len(seen) > MOST_ALIASES:
            raise _failure(name, "malformed", "its aliases lead in a circle")
        seen.add(owner)

    def used(rrset: RRset) -> bool:
        if rrset.rdtype == DNAME:
            return name.is_subdomain(rrset.name) and rrset.name != name
        return rrset.name in seen and (rrset.rdtype == RRSIG or (rrset.rdtype == CNAME and rrset.name in aliases))

    return owner, ttl, used


def _addresses(found: list[RRset]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(record.address for rrset in found for record in _records(rrset)))


def _services(response: dns.message.Message, name: dns.name.Name, found: list[RRset], ttl: float) -> Services:
    records = [record for rrset in found for record in _records(rrset)]
    if all(record.target == dns.name.root for record in records):
        raise _failure(name, "empty", 'the service is decidedly not available here (SRV target ".")', ttl=ttl)
    services: dict[Service, None] = {}
    for record in records:
        if record.target == dns.name.root or not record.port:
            continue
        extra = [rrset for kind in (A, AAAA) for rrset in response.additional if _is(rrset, record.target, kind)]
        ttl = min([ttl, *(float(rrset.ttl) for rrset in extra)])
        target = record.target.to_text(omit_final_dot=True).lower()
        services[Service(record.priority, record.weight, record.port, target, _addresses(extra))] = None
    if not services:
        raise _failure(name, "malformed", "no SRV record names a port")
    return Services(tuple(services), ttl)


def _negative_ttl(response: dns.message.Message, name: dns.name.Name) -> float | None:
    """Return for how long an absence may be remembered: the smaller of the SOA's TTL and its minimum (RFC 2308)."""
    said = [
        float(min(rrset.ttl, record.minimum))
        for rrset in response.authority
        if rrset.rdtype == SOA and name.is_subdomain(rrset.name)
        for record in _records(rrset)
    ]
    return said[0] if said else None


def _failure(name: dns.name.Name, kind: Kind, detail: str = "", *, ttl: float | None = None) -> ResolutionError:
    return ResolutionError(name.to_text(omit_final_dot=True), kind, detail, ttl=ttl)
