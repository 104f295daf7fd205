"""The course of a lookup on virtual time, over a network made of functions."""

import dns.name
import dns.rdatatype
import pytest
from dns.rdatatype import AAAA, SRV, A

from resilience.core.endpoint import Address
from resilience.discovery.failures import ResolutionError
from resilience.discovery.lookup import Found, Lookup, all_of
from resilience.discovery.trials import MOST_TRIALS
from resilience.runtimes.virtual import VirtualRuntime

WEB = dns.name.from_text("web.internal")
SERVERS = [Address("10.0.0.53", 53), Address("10.0.1.53", 53)]


@pytest.fixture
def network():
    return Network()


class Network:
    """Answers by (name, type) after a delay: a message, a trouble, or a function of the trial."""

    def __init__(self):
        self.runtime = VirtualRuntime(start=0.0)
        self.answers = {}
        self.asked = []

    def set(self, name, rdtype, answer, delay=0.001):
        self.answers[dns.name.from_text(name), rdtype] = (answer, delay)

    async def exchange(self, name, rdtype, trial):
        self.asked.append((name.to_text(omit_final_dot=True), dns.rdatatype.to_text(rdtype), trial))
        answer, delay = self.answers[name, rdtype]
        await self.runtime.sleep(delay)
        return answer(trial) if callable(answer) else answer

    def run(self, look, *, within=5.0):
        """Return what `look(lookup)` gives or raises, and the seconds it took."""
        start = self.runtime.now()
        lookup = Lookup(self.runtime, self.exchange, SERVERS, start + within)

        async def main():
            try:
                return await look(lookup)
            except ResolutionError as error:
                return error

        result = self.runtime.run(main)
        return result, round(self.runtime.now() - start, 6)

    def addresses(self, **options):
        return self.run(lambda lookup: lookup.addresses(WEB), **options)


def v4(message, *addresses, ttl=30):
    return message("web.internal", "A", ("web.internal.", ttl, "A", *(addresses or ("10.0.0.1",))))


def v6(message, ttl=60):
    return message("web.internal", "AAAA", ("web.internal.", ttl, "AAAA", "fd00::1"))


FOUND = Found(("10.0.0.1",), ("fd00::1",), 30.0)


def test_both_families_are_asked_at_once(network, message):
    network.set("web.internal", A, v4(message), delay=0.2)
    network.set("web.internal", AAAA, v6(message), delay=0.15)
    assert network.addresses() == (FOUND, 0.2)


def test_ipv4_waits_fifty_milliseconds_for_ipv6(network, message):
    network.set("web.internal", A, v4(message), delay=0.01)
    network.set("web.internal", AAAA, v6(message), delay=0.055)
    assert network.addresses() == (FOUND, 0.055)
    network.set("web.internal", AAAA, v6(message), delay=0.3)
    assert network.addresses() == (Found(("10.0.0.1",), (), 30.0), 0.06)


def test_ipv6_waits_for_what_becomes_of_ipv4(network, message):
    network.set("web.internal", A, v4(message), delay=0.4)
    network.set("web.internal", AAAA, v6(message), delay=0.01)
    assert network.addresses() == (FOUND, 0.4)


@pytest.mark.parametrize("nothing", ["empty", "servfail", "silent", "malformed"])
def test_no_ipv6_takes_nothing_from_ipv4(network, message, nothing):
    network.set("web.internal", A, v4(message))
    answers = {
        "empty": message("web.internal", "AAAA"),
        "servfail": message("web.internal", "AAAA", rcode="SERVFAIL"),
        "malformed": message("b.internal", "AAAA"),
        "silent": "timeout",
    }
    network.set("web.internal", AAAA, answers[nothing], delay=100.0 if nothing == "silent" else 0.001)
    result, took = network.addresses()
    assert result == Found(("10.0.0.1",), (), 30.0)
    assert took <= 0.051


def test_ipv6_alone_is_good_but_not_for_long_when_ipv4_failed(network, message):
    network.set("web.internal", AAAA, v6(message))
    network.set("web.internal", A, message("web.internal", "A"))
    assert network.addresses()[0] == Found((), ("fd00::1",), 60.0)
    network.set("web.internal", A, message("web.internal", "A", rcode="SERVFAIL"))
    assert network.addresses()[0] == Found((), ("fd00::1",), 0.0)


def test_a_name_is_absent_only_when_nobody_failed_to_say(network, message):
    network.set("web.internal", A, message("web.internal", "A"))
    network.set("web.internal", AAAA, message("web.internal", "AAAA"))
    assert network.addresses()[0].kind == "empty"
    network.set("web.internal", AAAA, message("web.internal", "AAAA", rcode="SERVFAIL"))
    assert network.addresses()[0].kind == "servfail"


def test_a_name_that_does_not_exist_has_no_other_records_to_wait_for(network, message):
    network.set("web.internal", A, message("web.internal", "A", rcode="NXDOMAIN"))
    network.set("web.internal", AAAA, "timeout", delay=100.0)
    error, took = network.addresses()
    assert (error.kind, took) == ("nxdomain", 0.051)


def test_the_next_server_answers_when_the_first_is_silent_or_fails(network, message):
    for trouble, took in (("silent", 0.501), ("servfail", 0.002), ("unreachable", 0.002)):
        silent = trouble == "silent"

        async def exchange(name, rdtype, trial, *, silent=silent, trouble=trouble):
            await network.runtime.sleep(100.0 if silent and trial.server == SERVERS[0] else 0.001)
            if trial.server == SERVERS[0]:
                return message("web.internal", "A", rcode="SERVFAIL") if trouble == "servfail" else trouble
            return v4(message) if rdtype == A else v6(message)

        network.exchange = exchange
        assert network.addresses() == (FOUND, took)


def test_dead_servers_cost_no_more_than_the_deadline(network):
    for rdtype in (A, AAAA):
        network.set("web.internal", rdtype, "timeout", delay=100.0)
    error, took = network.addresses(within=1.0)
    assert (error.kind, took) == ("timeout", 1.0)
    error, took = network.addresses(within=100.0)
    assert (error.kind, took) == ("timeout", 7.0)
    assert len(network.asked[-12:]) == 2 * len(SERVERS) * MOST_TRIALS
    error, took = network.addresses(within=0.0)
    assert (error.kind, took) == ("timeout", 0.0)


def test_servers_that_are_not_there_cost_nothing(network):
    for rdtype in (A, AAAA):
        network.set("web.internal", rdtype, "unreachable", delay=0.0)
    error, took = network.addresses()
    assert (error.kind, error.detail, took) == ("timeout", "no nameserver can be reached", 0.0)


def test_a_truncated_answer_is_asked_for_again_over_tcp(network, message):
    network.set("web.internal", A, lambda trial: v4(message) if trial.tcp else "truncated")
    network.set("web.internal", AAAA, v6(message))
    assert network.addresses()[0] == FOUND
    assert [trial.tcp for _, rdtype, trial in network.asked if rdtype == "A"] == [False, True]


def test_the_failure_says_what_the_answer_was(network, message):
    for kind in ("A", "AAAA"):
        response = message("web.internal", kind, ("web.internal.", 5, "CNAME", "web.internal."))
        network.set("web.internal", dns.rdatatype.from_text(kind), response)
    error, _ = network.addresses()
    assert (error.kind, error.detail) == ("malformed", "its aliases lead in a circle")
    assert error.causes


def test_aliases_are_followed_from_message_to_message(network, message):
    network.set("web.internal", A, message("web.internal", "A", ("web.internal.", 9, "CNAME", "b.example.")))
    network.set("b.example", A, message("b.example", "A", ("b.example.", 60, "A", "10.0.0.1")))
    network.set("web.internal", AAAA, message("web.internal", "AAAA"))
    assert network.addresses()[0] == Found(("10.0.0.1",), (), 9.0)
    network.set("b.example", A, message("b.example", "A", ("b.example.", 60, "CNAME", "web.internal.")))
    assert network.addresses()[0].kind == "malformed"


SERVICE = dns.name.from_text("_http._tcp.web.internal")


def srv(message, *records, additional=()):
    name = "_http._tcp.web.internal"
    return message(name, "SRV", (name + ".", 60, "SRV", *records), additional=additional)


def test_services_addresses_are_asked_for_where_they_did_not_come_along(network, message):
    response = srv(
        message, "1 1 80 a.internal.", "2 1 80 web.internal.", additional=[("a.internal.", 50, "A", "10.0.0.9")]
    )
    network.set("_http._tcp.web.internal", SRV, response)
    network.set("web.internal", A, v4(message))
    network.set("web.internal", AAAA, v6(message))
    result, took = network.run(lambda lookup: lookup.services(SERVICE))
    assert [service.addresses for service in result.services] == [("10.0.0.9",), ("10.0.0.1", "fd00::1")]
    assert result.ttl == 30.0
    assert took == 0.002
    assert len(network.asked) == 3


def test_a_target_that_cannot_be_asked_for_is_missed_but_not_for_long(network, message):
    network.set("_http._tcp.web.internal", SRV, srv(message, "1 1 80 a.internal.", "1 1 80 web.internal."))
    network.set("web.internal", A, v4(message))
    network.set("web.internal", AAAA, v6(message))
    for kind in ("A", "AAAA"):
        network.set("a.internal", dns.rdatatype.from_text(kind), message("a.internal", kind, rcode="SERVFAIL"))
    result, _ = network.run(lambda lookup: lookup.services(SERVICE))
    assert [service.target for service in result.services] == ["web.internal"]
    assert result.ttl == 0.0


def test_services_whose_targets_all_fail_are_a_failure(network, message):
    network.set("_http._tcp.web.internal", SRV, srv(message, "1 1 80 web.internal.", "1 1 80 a.internal."))
    for name, rcode in (("web.internal", "NXDOMAIN"), ("a.internal", "REFUSED")):
        for kind in ("A", "AAAA"):
            network.set(name, dns.rdatatype.from_text(kind), message(name, kind, rcode=rcode))
    error, _ = network.run(lambda lookup: lookup.services(SERVICE))
    assert error.kind == "refused"


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        ("good", "good", "first"),
        ("nxdomain", "good", "second"),
        ("empty", "good", "second"),
        ("servfail", "good", "second"),
        ("timeout", "good", "timeout"),
        ("nxdomain", "empty", "nxdomain"),
        ("nxdomain", "servfail", "servfail"),
        ("servfail", "nxdomain", "servfail"),
    ],
)
def test_suffixes_are_searched_as_the_system_would(network, first, second, result):
    outcomes = {WEB: (first, "first"), SERVICE: (second, "second")}

    async def look(name):
        outcome, value = outcomes[name]
        if outcome == "good":
            return value
        raise ResolutionError(str(name), outcome)

    found, _ = network.run(lambda lookup: lookup.search([WEB, SERVICE], look))
    assert (found.kind if isinstance(found, ResolutionError) else found) == result


def test_all_of_ends_with_the_last():
    runtime, ended = VirtualRuntime(start=0.0), []

    def work(seconds):
        async def sleep():
            await runtime.sleep(seconds)
            ended.append(seconds)

        return sleep

    runtime.run(lambda: all_of(runtime, [work(3.0), work(1.0), work(2.0)]))
    assert (ended, runtime.now()) == ([1.0, 2.0, 3.0], 3.0)
    runtime.run(lambda: all_of(runtime, []))
