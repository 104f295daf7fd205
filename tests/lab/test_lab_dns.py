"""The DNS server: records and faults without sockets, then over UDP and TCP as dnspython meets them."""

from collections.abc import Iterator

import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.lab import DnsFault, DnsServer, Responder


def ask(responder: Responder, name: str, type_: str = "A", *, edns: int | None = None) -> dns.message.Message:
    query = dns.message.make_query(name, type_, use_edns=False if edns is None else 0, payload=edns)
    wire, _ = responder.respond(query.to_wire(), "udp")
    assert wire is not None
    answer = dns.message.from_wire(wire)
    assert query.is_response(answer)
    return answer


def values(answer: dns.message.Message) -> list[str]:
    return [str(record) for rrset in answer.answer for record in rrset]


@pytest.fixture
def zone() -> Responder:
    responder = Responder(negative_ttl=7)
    responder.set("web.internal", "A", ["127.0.1.1", "127.0.1.2"], ttl=3)
    return responder


def test_records_are_set_replaced_and_removed(zone: Responder) -> None:
    answer = ask(zone, "WEB.internal")
    assert (values(answer), answer.answer[0].ttl) == (["127.0.1.1", "127.0.1.2"], 3)
    zone.set("web.internal.", "A", ["127.0.1.3"])
    zone.set("web.internal", "AAAA", ["::1"])
    assert (values(ask(zone, "web.internal")), values(ask(zone, "web.internal", "AAAA"))) == (["127.0.1.3"], ["::1"])
    zone.remove("web.internal", "A")
    assert (values(ask(zone, "web.internal")), values(ask(zone, "web.internal", "AAAA"))) == ([], ["::1"])
    zone.remove("web.internal")
    assert ask(zone, "web.internal").rcode() == dns.rcode.NXDOMAIN
    zone.remove("never.was")
    zone.set("web.internal", "A", ["127.0.1.1"])
    zone.set("web.internal", "A", [])
    assert ask(zone, "web.internal").rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize(
    ("name", "type_", "rcode"),
    [
        ("gone.internal", "A", dns.rcode.NXDOMAIN),
        ("web.internal", "AAAA", dns.rcode.NOERROR),
        ("internal", "A", dns.rcode.NOERROR),
    ],
)
def test_absence_carries_an_soa(zone: Responder, name: str, type_: str, rcode: dns.rcode.Rcode) -> None:
    answer = ask(zone, name, type_)
    assert (answer.rcode(), answer.answer) == (rcode, [])
    assert (answer.authority[0].ttl, answer.authority[0][0].minimum) == (7, 7)


def test_absence_without_an_soa() -> None:
    assert ask(Responder(negative_soa=False), "gone.internal").authority == []


def test_srv_with_the_addresses_of_its_targets(zone: Responder) -> None:
    zone.set("_http._tcp.web", "SRV", [(1, 10, 80, "a.web."), "2 20 81 b.web."])
    zone.set("a.web", "A", ["127.0.1.1"])
    zone.set("a.web", "AAAA", ["::1"])
    answer = ask(zone, "_http._tcp.web", "SRV")
    assert values(answer) == ["1 10 80 a.web.", "2 20 81 b.web."]
    assert [str(record) for rrset in answer.additional for record in rrset] == ["127.0.1.1", "::1"]


def test_aliases_are_followed_to_their_end_or_in_a_circle(zone: Responder) -> None:
    zone.set("one", "CNAME", ["two"], ttl=1)
    zone.set("two", "CNAME", ["web.internal."], ttl=2)
    answer = ask(zone, "one")
    assert values(answer) == ["two.", "web.internal.", "127.0.1.1", "127.0.1.2"]
    assert [rrset.ttl for rrset in answer.answer] == [1, 2, 3]
    assert values(ask(zone, "one", "CNAME")) == ["two."]
    zone.set("two", "CNAME", ["gone."])
    assert (ask(zone, "one").rcode(), values(ask(zone, "one"))) == (dns.rcode.NXDOMAIN, ["two.", "gone."])
    zone.set("two", "CNAME", ["one."])
    assert (ask(zone, "one").rcode(), values(ask(zone, "one"))) == (dns.rcode.NOERROR, ["two.", "one."])


def test_what_is_too_long_for_udp_is_truncated(zone: Responder) -> None:
    zone.set("big", "A", [f"10.0.0.{i}" for i in range(1, 61)])
    assert values(ask(zone, "big", edns=1232)) == [f"10.0.0.{i}" for i in range(1, 61)]
    for edns in (None, 512):
        answer = ask(zone, "big", edns=edns)
        assert (answer.flags & dns.flags.TC, answer.answer) == (dns.flags.TC, [])


def test_rotation() -> None:
    zone = Responder(rotate=True)
    zone.set("web", "A", ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
    zone.set("one", "A", ["10.0.0.1"])
    firsts = [values(ask(zone, "web"))[0] for _ in range(6)]
    assert sorted(firsts) == sorted(2 * ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
    assert values(ask(zone, "one")) == ["10.0.0.1"]


@pytest.mark.parametrize(
    ("kind", "rcode"),
    [("servfail", "SERVFAIL"), ("refused", "REFUSED"), ("notimp", "NOTIMP"), ("nxdomain", "NXDOMAIN")],
)
def test_faulty_codes(zone: Responder, kind: DnsFault, rcode: str) -> None:
    zone.fault(kind)
    answer = ask(zone, "web.internal")
    assert (answer.rcode(), answer.answer) == (dns.rcode.from_text(rcode), [])
    assert len(answer.authority) == (kind == "nxdomain")


def test_a_fault_of_one_name_and_of_all(zone: Responder) -> None:
    zone.set("other", "A", ["10.0.0.1"])
    zone.fault("servfail", name="web.internal")
    zone.fault("refused")
    assert [ask(zone, name).rcode() for name in ("web.internal", "other")] == [dns.rcode.SERVFAIL, dns.rcode.REFUSED]
    zone.fault(None, delay=0.5, name="other")
    query = dns.message.make_query("other", "A").to_wire()
    assert zone.respond(query, "udp")[1] == 0.5
    zone.fault()
    assert [ask(zone, name).rcode() for name in ("web.internal", "other")] == [0, 0]
    assert zone.respond(query, "udp")[1] == 0


def test_other_faults(zone: Responder) -> None:
    query = dns.message.make_query("web.internal", "A")

    def answer(kind: DnsFault, transport: str = "udp") -> dns.message.Message:
        zone.fault(kind)
        wire, _ = zone.respond(query.to_wire(), transport)  # type: ignore[arg-type]
        return dns.message.from_wire(wire or b"")

    with pytest.raises(dns.exception.DNSException):
        answer("garbage")
    zone.fault("silent")
    assert zone.respond(query.to_wire(), "udp") == (None, 0)
    assert answer("wrong-id").id != query.id
    assert not query.is_response(answer("wrong-name"))
    assert query.is_response(answer("wrong-owner"))
    assert answer("wrong-owner").answer[0].name.to_text() == "impostor.invalid."
    assert answer("truncate").flags & dns.flags.TC
    assert len(answer("truncate", "tcp").answer) == 1


def test_what_is_no_record_or_fault_is_refused(zone: Responder) -> None:
    with pytest.raises(ValueError, match="type='NONSENSE'"):
        zone.set("a", "NONSENSE", [])
    with pytest.raises(ValueError, match="kind='bored'"):
        zone.fault("bored")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="delay=-1"):
        zone.fault(delay=-1)
    with pytest.raises(dns.exception.DNSException):
        zone.set("a", "A", ["not an address"])


@given(wire=st.binary(max_size=60))
def test_no_packet_hurts(wire: bytes) -> None:
    Responder().respond(wire, "udp")
    Responder().respond(dns.message.make_query("a", "A").to_wire()[:12] + wire, "tcp")


@pytest.fixture
def server() -> Iterator[DnsServer]:
    with DnsServer() as running:
        running.set("web.internal", "A", ["127.0.1.1", "127.0.1.2"])
        yield running


def resolver_of(server: DnsServer) -> dns.resolver.Resolver:
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [server.host], server.port
    resolver.lifetime, resolver.timeout = 5.0, 5.0
    return resolver


def test_over_udp_and_tcp(server: DnsServer) -> None:
    resolver = resolver_of(server)
    assert sorted(map(str, resolver.resolve("web.internal", "A"))) == ["127.0.1.1", "127.0.1.2"]
    addresses = {f"10.0.{i // 250}.{i % 250 + 1}" for i in range(4000)}
    server.set("big.internal", "A", addresses)
    assert set(map(str, resolver.resolve("big.internal", "A"))) == addresses
    seen = [(query.name, query.type, query.transport) for query in server.queries]
    assert seen == [("web.internal", "A", "udp"), ("big.internal", "A", "udp"), ("big.internal", "A", "tcp")]
    server.reset_queries()
    assert server.queries == []


def test_silence_delay_and_an_end(server: DnsServer) -> None:
    query = dns.message.make_query("web.internal", "A")
    port = server.port
    server.fault("silent")
    with pytest.raises(dns.exception.Timeout):
        dns.query.udp(query, server.host, timeout=0.05, port=port)
    with pytest.raises(dns.exception.Timeout):
        dns.query.tcp(query, server.host, timeout=0.05, port=port)
    server.fault(delay=30)
    with pytest.raises(dns.exception.Timeout):
        dns.query.udp(query, server.host, timeout=0.05, port=port)
    server.fault(delay=0.001)
    assert len(dns.query.udp(query, server.host, timeout=5, port=port).answer) == 1
    server.stop()
    server.stop()
    with pytest.raises(OSError, match="refused"):
        dns.query.tcp(query, server.host, timeout=5, port=port)
    server.fault()
    assert server.start().start().address == f"127.0.0.1:{port}"
    assert len(dns.query.tcp(query, server.host, timeout=5, port=port).answer) == 1


def test_a_taken_port_is_refused(server: DnsServer) -> None:
    with pytest.raises(OSError, match="in use"):
        DnsServer(port=server.port).start()
