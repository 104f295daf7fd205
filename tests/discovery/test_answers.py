import math
import random
from collections import Counter
from itertools import pairwise

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import pytest
from dns.rdatatype import AAAA, SRV, A

from resilience.discovery.answers import MOST_ALIASES, Addresses, Alias, Service, Services, parse, read
from resilience.discovery.failures import ResolutionError

WEB = dns.name.from_text("web.internal")
SOA = ("internal.", 900, "SOA", "ns.internal. admin.internal. 1 3600 600 86400 7")


def failure(response, name=WEB, rdtype=A):
    with pytest.raises(ResolutionError) as caught:
        read(response, name, rdtype)
    return caught.value.kind, caught.value.ttl


def test_addresses_in_their_order_each_once_with_their_ttl(message):
    response = message("web.internal", "A", ("web.internal.", 60, "A", "10.0.0.2", "10.0.0.1", "10.0.0.2"))
    assert read(response, WEB, A) == Addresses(("10.0.0.2", "10.0.0.1"), 60.0)


def test_the_name_is_compared_without_case(message):
    response = message("web.internal", "A", ("WEB.Internal.", 60, "A", "10.0.0.1"))
    assert read(response, WEB, A).addresses == ("10.0.0.1",)


def test_the_smallest_ttl_on_the_way_counts(message):
    response = message(
        "web.internal",
        "AAAA",
        ("c.internal.", 60, "AAAA", "fd00::1"),
        ("web.internal.", 30, "CNAME", "b.internal."),
        ("b.internal.", 9, "CNAME", "c.internal."),
    )
    assert read(response, WEB, AAAA) == Addresses(("fd00::1",), 9.0)


def test_an_alias_that_leads_out_of_the_message_is_followed_elsewhere(message):
    response = message("web.internal", "A", ("web.internal.", 30, "CNAME", "b.example."))
    assert read(response, WEB, A) == Alias(dns.name.from_text("b.example"), 30.0)


def test_an_alias_to_nothing_is_an_absence_when_the_server_says_so(message):
    alias = ("web.internal.", 30, "CNAME", "b.internal.")
    assert failure(message("web.internal", "A", alias, authority=[SOA])) == ("empty", 7.0)
    assert failure(message("web.internal", "A", alias, rcode="NXDOMAIN", authority=[SOA])) == ("nxdomain", 7.0)
    assert failure(message("web.internal", "A", alias, rcode="NXDOMAIN")) == ("nxdomain", None)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_aliases_in_a_circle_are_nonsense(message, length):
    names = ["web.internal.", *(f"n{n}.internal." for n in range(1, length))]
    links = [(name, 5, "CNAME", names[(n + 1) % length]) for n, name in enumerate(names)]
    assert failure(message("web.internal", "A", *links))[0] == "malformed"


def test_too_many_aliases_are_nonsense(message):
    names = ["web.internal.", *(f"n{n}.internal." for n in range(MOST_ALIASES + 1))]
    links = [(one, 5, "CNAME", other) for one, other in pairwise(names)]
    assert failure(message("web.internal", "A", *links, (names[-1], 5, "A", "10.0.0.1")))[0] == "malformed"


def test_answers_for_other_names_are_no_answers(message):
    assert failure(message("web.internal", "A", ("evil.internal.", 60, "A", "10.6.6.6")))[0] == "malformed"
    mixed = message("web.internal", "A", ("web.internal.", 60, "A", "10.0.0.1"), ("evil.internal.", 1, "A", "10.6.6.6"))
    assert read(mixed, WEB, A) == Addresses(("10.0.0.1",), 60.0)


def test_an_answer_to_another_question_is_none(message):
    assert failure(message("b.internal", "A", ("web.internal.", 60, "A", "10.0.0.1")))[0] == "malformed"
    assert failure(message("web.internal", "AAAA", ("web.internal.", 60, "A", "10.0.0.1")))[0] == "malformed"
    response = message("web.internal", "A", ("web.internal.", 60, "A", "10.0.0.1"))
    response.question = []
    assert failure(response)[0] == "malformed"
    assert failure(dns.message.make_query("web.internal", "A"))[0] == "malformed"


@pytest.mark.parametrize("soa", [True, False])
def test_absence_with_and_without_a_word_on_how_long(message, soa):
    authority = [SOA] if soa else []
    ttl = 7.0 if soa else None
    assert failure(message("web.internal", "A", authority=authority)) == ("empty", ttl)
    assert failure(message("web.internal", "A", rcode="NXDOMAIN", authority=authority)) == ("nxdomain", ttl)


def test_the_word_of_somebody_elses_zone_does_not_count(message):
    other = ("example.", 900, "SOA", "ns.example. admin.example. 1 3600 600 86400 7")
    assert failure(message("web.internal", "A", authority=[other])) == ("empty", None)


def test_records_of_a_name_that_does_not_exist_are_nonsense(message):
    response = message("web.internal", "A", ("web.internal.", 60, "A", "10.0.0.1"), rcode="NXDOMAIN")
    assert failure(response)[0] == "malformed"


@pytest.mark.parametrize(
    ("rcode", "kind"),
    [("SERVFAIL", "servfail"), ("REFUSED", "refused"), ("NOTIMP", "refused"), ("FORMERR", "malformed")],
)
def test_a_server_that_cannot_say_is_a_failure(message, rcode, kind):
    assert failure(message("web.internal", "A", rcode=rcode)) == (kind, None)


def test_services_come_with_the_addresses_in_the_same_message(message):
    name = dns.name.from_text("_http._tcp.web.internal")
    response = message(
        "_http._tcp.web.internal",
        "SRV",
        ("_http._tcp.web.internal.", 60, "SRV", "1 10 8080 A.internal.", "2 0 8081 b.internal."),
        additional=[
            ("a.internal.", 20, "A", "10.0.0.1", "10.0.0.2"),
            ("a.internal.", 30, "AAAA", "fd00::1"),
            ("other.internal.", 1, "A", "10.6.6.6"),
        ],
    )
    assert read(response, name, SRV) == Services(
        (
            Service(1, 10, 8080, "a.internal", ("10.0.0.1", "10.0.0.2", "fd00::1")),
            Service(2, 0, 8081, "b.internal"),
        ),
        20.0,
    )


def test_a_service_decidedly_not_available_is_an_absence(message):
    response = message("_a._tcp.b", "SRV", ("_a._tcp.b.", 60, "SRV", "0 0 0 ."))
    assert failure(response, dns.name.from_text("_a._tcp.b"), SRV) == ("empty", 60.0)
    with pytest.raises(ResolutionError, match="the service is decidedly not available here"):
        read(response, dns.name.from_text("_a._tcp.b"), SRV)


def test_services_without_a_port_are_nonsense(message):
    response = message("_a._tcp.b", "SRV", ("_a._tcp.b.", 60, "SRV", "0 0 0 c."))
    assert failure(response, dns.name.from_text("_a._tcp.b"), SRV)[0] == "malformed"


def test_four_thousand_addresses(message):
    addresses = [f"10.{n >> 8}.{n & 255}.1" for n in range(4_000)]
    wire = message("web.internal", "A", ("web.internal.", 60, "A", *addresses)).to_wire(max_size=65_535)
    assert sorted(read(parse(wire), WEB, A).addresses) == sorted(addresses)


def test_ten_thousand_mutated_packets_never_crash_and_never_empty_a_set_by_mistake(message):
    name = dns.name.from_text("_http._tcp.web.internal")
    originals = [
        (WEB, A, message("web.internal", "A", ("web.internal.", 60, "A", "10.0.0.1", "10.0.0.2", "10.0.0.3"))),
        (WEB, AAAA, message("web.internal", "AAAA", ("web.internal.", 60, "AAAA", "fd00::1", "fd00::2"))),
        (
            WEB,
            A,
            message(
                "web.internal",
                "A",
                ("web.internal.", 60, "CNAME", "b.internal."),
                ("b.internal.", 60, "A", "10.0.0.1"),
                authority=[SOA],
            ),
        ),
        (
            name,
            SRV,
            message(
                "_http._tcp.web.internal",
                "SRV",
                ("_http._tcp.web.internal.", 60, "SRV", "1 10 8080 a.internal.", "1 10 8080 b.internal."),
                additional=[("a.internal.", 20, "A", "10.0.0.1"), ("b.internal.", 20, "A", "10.0.0.2")],
            ),
        ),
    ]
    chance, seen = random.Random(4711), Counter()
    for n in range(10_000):
        asked, rdtype, original = originals[n % len(originals)]
        wire = bytearray(original.to_wire())
        match chance.randrange(4):
            case 0:
                wire[chance.randrange(len(wire))] = chance.randrange(256)
            case 1:
                for _ in range(chance.randrange(1, 12)):
                    wire[chance.randrange(len(wire))] ^= 1 << chance.randrange(8)
            case 2:
                del wire[chance.randrange(len(wire)) :]
            case 3:
                at, length = chance.randrange(len(wire)), chance.randrange(1, 20)
                wire[at:at] = chance.randbytes(length)
        try:
            answer = read(parse(bytes(wire)), asked, rdtype)
        except ResolutionError as error:
            seen[error.kind] += 1
        else:
            seen[type(answer).__name__] += 1
            assert 0 <= answer.ttl < math.inf
            match answer:
                case Addresses(addresses):
                    assert addresses
                case Services(services):
                    assert services
                    assert all(0 < service.port < 65_536 for service in services)
                case Alias(name=elsewhere):
                    assert elsewhere != asked
    assert not seen["nxdomain"]
    assert not seen["empty"]
    assert seen["malformed"] > 1_000  # it was put to the test


@pytest.mark.parametrize("wire", [b"", b"\0", b"\xff" * 12, b"\xff" * 600, b"GET / HTTP/1.1\r\n\r\n"])
def test_what_is_no_message_says_so(wire):
    with pytest.raises(ResolutionError) as caught:
        parse(wire)
    assert caught.value.kind == "malformed"


def test_a_whole_domain_that_has_moved_is_followed():
    """DNAME (RFC 6672): the alias of one name is made from that of its domain, and both stand in the answer."""
    told = """id 1
opcode QUERY
rcode NOERROR
flags QR AA
;QUESTION
a.old.internal. IN A
;ANSWER
old.internal. 10 IN DNAME new.internal.
a.old.internal. 10 IN CNAME a.new.internal.
a.new.internal. 20 IN A 10.0.0.1
"""
    found = read(dns.message.from_text(told), dns.name.from_text("a.old.internal."), A)
    assert found.addresses == ("10.0.0.1",)
    assert found.ttl == 10


def test_a_domain_that_has_moved_to_where_nothing_is():
    told = """id 1
opcode QUERY
rcode NOERROR
flags QR AA
;QUESTION
a.old.internal. IN A
;ANSWER
old.internal. 10 IN DNAME new.internal.
a.old.internal. 10 IN CNAME a.new.internal.
;AUTHORITY
new.internal. 10 IN SOA ns.new.internal. root.new.internal. 1 2 3 4 5
"""
    with pytest.raises(ResolutionError) as caught:
        read(dns.message.from_text(told), dns.name.from_text("a.old.internal."), A)
    assert caught.value.kind == "empty"


@pytest.mark.parametrize(
    "answer",
    [
        ("other.", 5, "DNAME", "example."),
        ("web.internal.", 5, "DNAME", "example."),
        ("web.internal.", 5, "TXT", "hello"),
        ("evil.internal.", 5, "CNAME", "a.example."),
    ],
)
def test_records_that_lead_nowhere_from_the_name_are_nonsense(message, answer):
    assert failure(message("web.internal", "A", answer)) == ("malformed", None)


def test_the_redirection_of_a_whole_zone_belongs_to_the_chain(message):
    zone, alias = ("internal.", 5, "DNAME", "example."), ("web.internal.", 30, "CNAME", "web.example.")
    assert read(message("web.internal", "A", zone, alias), WEB, A) == Alias(dns.name.from_text("web.example"), 30.0)


def test_services_without_a_port_or_a_target_are_passed_over(message):
    name = dns.name.from_text("_http._tcp.web.internal")
    for useless in ("0 0 0 a.internal.", "0 0 80 ."):
        response = message(
            "_http._tcp.web.internal", "SRV", ("_http._tcp.web.internal.", 60, "SRV", useless, "1 0 80 b.internal.")
        )
        assert [service.target for service in read(response, name, SRV).services] == ["b.internal"]


def test_as_many_aliases_as_are_allowed_are_followed(message):
    names = ["web.internal.", *(f"n{n}.internal." for n in range(MOST_ALIASES))]
    links = [(one, 5, "CNAME", other) for one, other in pairwise(names)]
    assert read(message("web.internal", "A", *links, (names[-1], 5, "A", "10.0.0.1")), WEB, A).addresses == (
        "10.0.0.1",
    )


@pytest.mark.parametrize("kind", ["empty", "nxdomain"])
def test_a_failure_names_the_name_and_says_why(message, kind):
    with pytest.raises(ResolutionError) as caught:
        read(message("web.internal", "A", rcode="NXDOMAIN" if kind == "nxdomain" else "NOERROR"), WEB, A)
    error = caught.value
    assert (error.name, error.service, error.kind) == ("web.internal", "web.internal", kind)
    assert str(error) == f"cannot resolve web.internal: {error.detail} ({kind})"
    assert error.detail == {"empty": "the name has no address", "nxdomain": "the name does not exist"}[kind]
    with pytest.raises(ResolutionError) as caught:
        read(message("web.internal", "A", ("b.internal.", 5, "A", "10.0.0.1")), WEB, A)
    assert caught.value.detail == "the answer is about something else"


def test_what_is_no_message_is_malformed_and_why_is_kept():
    with pytest.raises(ResolutionError) as caught:
        parse(b"no message")
    assert caught.value.kind == "malformed"
    assert [isinstance(cause, dns.exception.DNSException) for cause in caught.value.causes] == [True]


def test_what_stands_beside_an_alias_is_nonsense(message):
    """RFC 1034, 3.6.2: what has a CNAME has no other record."""
    answer = [("web.internal.", 5, "CNAME", "a.example."), ("web.internal.", 5, "TXT", "hello")]
    assert failure(message("web.internal", "A", *answer)) == ("malformed", None)
