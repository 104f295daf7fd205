import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.core.endpoint import Address
from resilience.core.errors import ConfigurationError
from resilience.core.hostport import split
from resilience.core.resolution import Target
from resilience.discovery.failures import ResolutionError
from resilience.discovery.static import Static
from resilience.runtimes.blocking import run_blocking

TARGET = Target("web.internal", 8080)


def resolve(static: Static, target: Target = TARGET):
    return run_blocking(static.resolve(target, deadline=math.inf))


def test_a_list_is_a_fleet_that_never_expires():
    resolution = resolve(Static(["10.0.0.1:80", "[fd00::1]:81", "web-1.internal", Address("10.0.0.2", 82), "::1"]))
    assert [str(replica.address) for replica in resolution.replicas] == [
        "10.0.0.1:80",
        "[fd00::1]:81",
        "web-1.internal:8080",
        "10.0.0.2:82",
        "[::1]:8080",
    ]
    assert (resolution.ttl, resolution.source, resolution.fleet, resolution.why) == (math.inf, "static", True, "listed")
    assert {(replica.weight, replica.tier) for replica in resolution.replicas} == {(1.0, 0)}


def test_weights_come_in_pairs():
    resolution = resolve(Static([("10.0.0.1:80", 3), "10.0.0.2:80", (Address("10.0.0.3", 80), 0.5)]))
    assert [replica.weight for replica in resolution.replicas] == [3.0, 1.0, 0.5]


def test_the_ports_default_may_make_two_of_a_list_one():
    assert len(resolve(Static(["10.0.0.1", "10.0.0.1:8080"])).replicas) == 1


def test_a_description_is_a_value():
    once = Static(address for address in ["10.0.0.1:80"])
    assert once == Static(["10.0.0.1:80"])
    assert hash(once) == hash(Static(["10.0.0.1:80"]))
    assert resolve(once) == resolve(once)


@pytest.mark.parametrize(
    "bad",
    [
        [],
        "10.0.0.1:8080",
        None,
        7,
        Address("10.0.0.1", 80),
        ["10.0.0.1:0"],
        ["10.0.0.1:65536"],
        ["10.0.0.1:http"],
        ["10.0.0.1:-1"],
        ["10.0.0.1:٣"],
        ["10.0.0.1:"],
        ["10.0.0.999:80"],
        ["10.0.1:80"],
        ["http://10.0.0.1:80"],
        ["web.internal/path"],
        ["web internal:80"],
        ["a..b:80"],
        [":80"],
        [""],
        ["[fd00::1"],
        ["[fd00::1]80"],
        ["[fe80::1%a]b]:80"],
        ["[fd00::1]:"],
        ["10.0.1.:80"],
        ["[10.0.0.1]:80"],
        ["fd00::1::80"],
        [b"10.0.0.1:80"],
        [None],
        ["10.0.0.1:80", "10.0.0.1:80"],
        ["WEB:80", "web:80"],
        [("10.0.0.1:80", 0)],
        [("10.0.0.1:80", -1)],
        [("10.0.0.1:80", math.inf)],
        [("10.0.0.1:80", math.nan)],
        [("10.0.0.1:80", 10**400)],
        [("10.0.0.1:80", True)],
        [("10.0.0.1:80", "3")],
        [("10.0.0.1:80",)],
        [("10.0.0.1:80", 1, 2)],
        [Address("10.0.0.1", 0)],
        ["x" * 300 + ":80"],
    ],
)
def test_anything_else_is_refused_by_name(bad):
    with pytest.raises(ConfigurationError) as caught:
        Static(bad)
    assert caught.value.argument == "addresses"
    assert "host:port" in caught.value.expected


@given(st.text())
def test_no_text_does_worse_than_be_refused(text):
    try:
        host, port = split("addresses", text, "host:port")
    except ConfigurationError:
        return
    assert host
    assert port is None or 0 < port < 65536


@given(st.ip_addresses(), st.integers(1, 65535))
def test_every_address_comes_back_as_written(address, port):
    text = str(Address(str(address), port))
    assert split("addresses", text, "") == (str(address), port)
    assert split("addresses", str(address), "") == (str(address), None)


def test_a_failure_travels_with_its_fields():
    error = pickle.loads(pickle.dumps(ResolutionError("web", "nxdomain", ttl=3.0)))
    assert (error.name, error.kind, error.ttl, error.absent, error.service) == ("web", "nxdomain", 3.0, True, "web")
    assert "web" in str(error)
    assert not ResolutionError("web", "timeout").absent
    assert ResolutionError("web", "timeout").detail == "no nameserver answered in time"
    assert ResolutionError("web", "timeout", "so").detail == "so"


def test_brackets_need_no_port():
    assert split("addresses", "[FD00::1]", "") == ("fd00::1", None)


def test_a_name_is_as_long_as_dns_allows():
    """253 characters are 255 octets on the wire (RFC 1035)."""
    longest = ".".join(["x" * 63] * 3 + ["x" * 61])
    assert len(longest) == 253
    assert split("addresses", f"{longest}:80", "") == (longest, 80)
    with pytest.raises(ConfigurationError):
        split("addresses", f"{longest}x:80", "")
