"""A name server on loopback, and messages made by hand."""

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest

from resilience.lab import DnsServer


@pytest.fixture
def server():
    with DnsServer() as running:
        yield running


@pytest.fixture
def message():
    """Make a response from zone-file text."""

    def make(name, rdtype, *answer, rcode="NOERROR", authority=(), additional=(), flags=dns.flags.RA):
        response = dns.message.make_response(dns.message.make_query(name, rdtype))
        response.flags |= flags
        response.set_rcode(dns.rcode.from_text(rcode))
        for section, lines in (
            (response.answer, answer),
            (response.authority, authority),
            (response.additional, additional),
        ):
            for line in lines:
                owner, ttl, kind, *values = line
                section.append(dns.rrset.from_text(dns.name.from_text(owner), ttl, "IN", kind, *values))
        return response

    return make
