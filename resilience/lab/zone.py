"""What an authoritative DNS server knows and answers: records and the answer to a question, no sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset
from dns.rdataclass import IN
from dns.rdatatype import AAAA, CNAME, SOA, SRV, A

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Record", "Zone", "records_of"]

TypeName = str | dns.rdatatype.RdataType
Record = str | tuple[int, int, int, str]
"""A value in zone-file text, or an SRV record as (priority, weight, port, target)."""
_CHAIN = 16


def _typed(type_: TypeName) -> dns.rdatatype.RdataType:
    """Give a record type by its name; :class:`ValueError` when there is none."""
    try:
        return dns.rdatatype.RdataType.make(type_)
    except (dns.rdatatype.UnknownRdatatype, ValueError):
        message = f'type={type_!r}: must be a DNS record type such as "A" or "SRV"'
        raise ValueError(message) from None


class Zone:
    """Authoritative for everything below the root: records by (name, type).

    Every change replaces the table, so a reader in another thread sees one or the other.
    """

    def __init__(self, *, negative_soa: bool = True, negative_ttl: int = 1, rotate: bool = False) -> None:
        """Start empty; see :class:`resilience.lab.DnsServer` for the options."""
        self._table: dict[tuple[dns.name.Name, dns.rdatatype.RdataType], dns.rrset.RRset] = {}
        self._names: frozenset[dns.name.Name] = frozenset()
        self._rotate = rotate
        self._turn = 0
        self._soa: dns.rrset.RRset | None = None
        if negative_soa:
            text = f"ns.lab. admin.lab. 1 3600 600 86400 {negative_ttl}"
            self._soa = dns.rrset.from_text(dns.name.root, negative_ttl, IN, SOA, text)

    def set(self, name: str, type_: TypeName, values: Iterable[Record], ttl: int) -> None:
        """Replace the records of this name and type; no values: as if removed."""
        owner, kind = dns.name.from_text(name), _typed(type_)
        texts = [value if isinstance(value, str) else " ".join(map(str, value)) for value in values]
        table = dict(self._table)
        table.pop((owner, kind), None)
        if texts:
            rdatas = [dns.rdata.from_text(IN, kind, text, origin=dns.name.root, relativize=False) for text in texts]
            table[owner, kind] = dns.rrset.from_rdata_list(owner, ttl, rdatas)
        self._replace(table)

    def remove(self, name: str, type_: TypeName | None) -> None:
        """Remove the records of this name, of one type or all; unknown ones are no error."""
        owner, kind = dns.name.from_text(name), None if type_ is None else _typed(type_)
        self._replace(
            {key: rrset for key, rrset in self._table.items() if key[0] != owner or kind not in {None, key[1]}}
        )

    def _replace(self, table: dict[tuple[dns.name.Name, dns.rdatatype.RdataType], dns.rrset.RRset]) -> None:
        names: set[dns.name.Name] = set()
        for owner, _ in table:  # with the empty names between: they exist too (RFC 8020)
            name = owner
            while name != dns.name.root and name not in names:
                names.add(name)
                name = name.parent()
        self._names = frozenset(names)
        self._table = table

    def denial(self, query: dns.message.Message) -> dns.message.Message:
        """Answer that there is nothing, with the SOA that says for how long; NODATA unless the code is set."""
        response = dns.message.make_response(query, recursion_available=True)
        response.flags |= dns.flags.AA
        if self._soa is not None:
            response.authority.append(self._soa)
        return response

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """Answer one question: aliases followed, SRV targets' addresses added, SOA when there is nothing."""
        response = self.denial(query)
        question = query.question[0]
        table, names = self._table, self._names
        name, seen = question.name, set[dns.name.Name]()
        while (alias := table.get((name, CNAME))) is not None and question.rdtype != CNAME:
            if name in seen or len(seen) == _CHAIN:
                response.authority.clear()
                return response  # a loop: what was found so far, and no error (as Knot does)
            seen.add(name)
            response.answer.append(alias)
            name = records_of(alias)[0].target
        found = table.get((name, question.rdtype))
        if found is not None:
            response.authority.clear()
            response.answer.append(self._turned(found))
            _add_addresses(response, found, table)
            return response
        if name not in names:
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response

    def _turned(self, rrset: dns.rrset.RRset) -> dns.rrset.RRset:
        if not self._rotate or len(rrset) < 2:  # noqa: PLR2004 - nothing to turn
            return rrset
        self._turn += 1
        by = self._turn % len(rrset)
        values = records_of(rrset)
        return dns.rrset.from_rdata_list(rrset.name, rrset.ttl, values[by:] + values[:by])


def records_of(rrset: dns.rrset.RRset) -> list[Any]:
    """Give the records of a set; dnspython leaves their class open."""
    return [*cast("Iterable[Any]", rrset)]


def _add_addresses(
    response: dns.message.Message,
    found: dns.rrset.RRset,
    table: dict[tuple[dns.name.Name, dns.rdatatype.RdataType], dns.rrset.RRset],
) -> None:
    if found.rdtype != SRV:
        return
    targets = dict.fromkeys(record.target for record in records_of(found))
    for target in targets:
        response.additional += [table[target, kind] for kind in (A, AAAA) if (target, kind) in table]
