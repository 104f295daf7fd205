"""What the lab's DNS server answers to a packet: its records, bent by the fault of the moment; no sockets."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from resilience.lab.zone import Record, Zone, records_of

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["DnsFault", "Query", "Responder"]

DnsFault = Literal[
    "servfail",
    "refused",
    "notimp",
    "nxdomain",
    "silent",
    "truncate",
    "garbage",
    "wrong-id",
    "wrong-name",
    "wrong-owner",
]
"""``truncate``: TC over UDP, whole over TCP; ``wrong-name``: answers another question; ``wrong-owner``: the right
question, records of another name."""

_RCODES = {
    "servfail": dns.rcode.SERVFAIL,
    "refused": dns.rcode.REFUSED,
    "notimp": dns.rcode.NOTIMP,
    "nxdomain": dns.rcode.NXDOMAIN,
}
_GARBAGE = b"\xff\x00 no DNS at all \x00\xff"
_CLASSIC_SIZE = 512
"""Most octets over UDP without EDNS (RFC 1035)."""
_LARGEST_UDP = 1232
"""Most octets over UDP with EDNS (DNS Flag Day 2020)."""
_LARGEST = 65_535
_IMPOSTOR = dns.name.from_text("impostor.invalid")


class Query(NamedTuple):
    """One question that arrived; ``time`` is monotonic seconds."""

    name: str
    type: str
    transport: Literal["udp", "tcp"]
    time: float


@dataclass(frozen=True, slots=True)
class _Fault:
    kind: DnsFault | None = None
    delay: float = 0.0


class Responder:
    """Answers packets from its own records.

    All methods may be called from any thread and are in force when they return.
    """

    def __init__(self, *, negative_soa: bool = True, negative_ttl: int = 1, rotate: bool = False) -> None:
        """Start empty and healthy.

        Args:
            negative_soa: NXDOMAIN and NODATA carry an SOA record, as most servers' do (dnsmasq's do not).
            negative_ttl: seconds for which that SOA lets resolvers remember the absence.
            rotate: start each answer with the next record.

        """
        self._zone = Zone(negative_soa=negative_soa, negative_ttl=negative_ttl, rotate=rotate)
        self._lock = threading.Lock()
        self._fault = _Fault()
        self._faults: dict[dns.name.Name, _Fault] = {}
        self._queries: list[Query] = []

    # -- records

    def set(self, name: str, type: str, values: Iterable[Record], ttl: int = 1) -> None:  # noqa: A002 - DNS's word
        """Replace the records of this name and type.

        Args:
            name: absolute, with or without the last dot.
            type: ``"A"``, ``"AAAA"``, ``"CNAME"``, ``"SRV"`` …
            values: as in a zone file; SRV also as (priority, weight, port, target). None at all: NODATA or NXDOMAIN.
            ttl: seconds.

        """
        with self._lock:
            self._zone.set(name, type, values, ttl)

    def remove(self, name: str, type: str | None = None) -> None:  # noqa: A002 - DNS's word
        """Remove the records of this name, of one type or all."""
        with self._lock:
            self._zone.remove(name, type)

    # -- faults and facts

    def fault(self, kind: DnsFault | None = None, *, delay: float = 0.0, name: str | None = None) -> None:
        """Misbehave so from now on: for ``name`` only, or for all names without a fault of their own.

        Without arguments: healthy again, for every name. ``delay`` is in seconds.
        """
        if kind is not None and kind not in get_args(DnsFault):
            message = f"kind={kind!r}: must be None or one of {', '.join(get_args(DnsFault))}"
            raise ValueError(message)
        if not 0 <= delay < float("inf"):
            message = f"delay={delay!r}: must be a finite number of at least 0"
            raise ValueError(message)
        with self._lock:
            if name is not None:
                self._faults[dns.name.from_text(name)] = _Fault(kind, delay)
            else:
                self._fault = _Fault(kind, delay)
                if kind is None and not delay:
                    self._faults.clear()

    @property
    def queries(self) -> list[Query]:
        """The questions that arrived, oldest first."""
        return self._queries.copy()

    def reset_queries(self) -> None:
        """Forget them."""
        self._queries.clear()

    # -- answering (pure but for the log)

    def respond(self, wire: bytes, transport: Literal["udp", "tcp"]) -> tuple[bytes | None, float]:
        """Give the answer to a packet, None for silence, and the seconds to wait before it."""
        try:
            query = dns.message.from_wire(wire)
            question = query.question[0]
        except (dns.exception.DNSException, IndexError):
            return None, 0.0
        name = question.name
        record = Query(
            name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype), transport, time.monotonic()
        )
        self._queries.append(record)
        fault = self._faults.get(name, self._fault)
        if fault.kind == "silent":
            return None, fault.delay
        if fault.kind == "garbage":
            return _GARBAGE, fault.delay
        return self._encode(self._faulty(query, fault.kind), query, transport, fault.kind), fault.delay

    def _faulty(self, query: dns.message.Message, kind: DnsFault | None) -> dns.message.Message:
        if kind in _RCODES:
            response = self._zone.denial(query) if kind == "nxdomain" else dns.message.make_response(query)
            response.set_rcode(_RCODES[kind])
            return response
        response = self._zone.answer(query)
        if kind == "wrong-id":
            response.id = query.id ^ 0x5555
        elif kind in {"wrong-name", "wrong-owner"}:
            response.answer = [
                dns.rrset.from_rdata_list(_IMPOSTOR, rrset.ttl, records_of(rrset)) for rrset in response.answer
            ]
            if kind == "wrong-name":
                response.question = [dns.rrset.RRset(_IMPOSTOR, query.question[0].rdclass, query.question[0].rdtype)]
        return response

    def _encode(
        self, response: dns.message.Message, query: dns.message.Message, transport: str, kind: DnsFault | None
    ) -> bytes:
        limit = _LARGEST
        if transport == "udp":
            limit = _CLASSIC_SIZE if query.edns < 0 else min(max(query.payload, _CLASSIC_SIZE), _LARGEST_UDP)
        if transport != "udp" or kind != "truncate":
            try:
                return response.to_wire(max_size=limit, want_shuffle=False)
            except dns.exception.TooBig:
                pass
        response.flags |= dns.flags.TC
        response.answer, response.authority, response.additional = [], [], []
        return response.to_wire(max_size=limit)
