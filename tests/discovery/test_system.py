import dns.name
import pytest

from resilience.core.endpoint import Address
from resilience.discovery.system import Configuration, listed_in_hosts, parse_hosts, read_configuration


def candidates(name, **options):
    suffixes = tuple(map(dns.name.from_text, options.pop("suffixes", ["a.internal", "b.internal"])))
    return [str(each) for each in Configuration((), suffixes, **options).candidates(name)]


def test_suffixes_come_first_for_names_with_few_dots():
    assert candidates("web") == ["web.a.internal.", "web.b.internal.", "web."]
    assert candidates("web.ns") == ["web.ns.", "web.ns.a.internal.", "web.ns.b.internal."]
    assert candidates("web.ns", ndots=5) == ["web.ns.a.internal.", "web.ns.b.internal.", "web.ns."]
    assert candidates("web.", ndots=5) == ["web."]
    assert candidates("web", suffixes=[]) == ["web."]


def test_a_suffix_that_makes_the_name_too_long_is_left_out():
    assert candidates(".".join(["x" * 60] * 4), ndots=9) == [".".join(["x" * 60] * 4) + "."]


def test_resolv_conf(tmp_path):
    path = tmp_path / "resolv.conf"
    path.write_text("# a comment\nnameserver 10.0.0.53\nnameserver fd00::53\nsearch a.b c.d\noptions ndots:5 rotate\n")
    assert read_configuration(str(path)) == Configuration(
        (Address("10.0.0.53", 53), Address("fd00::53", 53)),
        (dns.name.from_text("a.b"), dns.name.from_text("c.d")),
        5,
    )
    path.write_text("domain a.b\nnameserver 10.0.0.53\n")
    assert read_configuration(str(path)) == Configuration((Address("10.0.0.53", 53),), (dns.name.from_text("a.b"),), 1)


@pytest.mark.parametrize("content", [None, "", "nameserver\n", "nameserver not-an-address\n", "search .\n"])
def test_without_a_nameserver_this_machine_is_asked(tmp_path, content):
    path = tmp_path / "resolv.conf"
    if content is not None:
        path.write_text(content)
    assert read_configuration(str(path)).servers == (Address("127.0.0.1", 53),)


HOSTS = """
# 10.9.9.9 commented
127.0.0.1   localhost
::1         localhost ip6-localhost
10.0.0.1    web.internal web  # the first
10.0.0.2\tWEB.internal
10.0.0.1    web.internal
nonsense    web.internal
10.0.0.3
10.0.0.999  web.internal
"""


def test_the_hosts_file():
    names = parse_hosts(HOSTS.splitlines())
    assert names["localhost"] == ("127.0.0.1", "::1")
    assert names["web.internal"] == ("10.0.0.1", "10.0.0.2")
    assert names["web"] == ("10.0.0.1",)
    assert "commented" not in names


def test_the_hosts_file_is_read_again_when_it_has_changed(tmp_path):
    path = tmp_path / "hosts"
    assert listed_in_hosts("web.internal", str(path)) == ()
    path.write_text(HOSTS)
    assert listed_in_hosts("Web.Internal.", str(path)) == ("10.0.0.1", "10.0.0.2")
    path.write_text("10.0.0.7 web.internal\n")
    assert listed_in_hosts("web.internal", str(path)) == ("10.0.0.7",)
    path.write_bytes(b"\xff\xfe\x00 10.0.0.7 web.internal\n")
    assert listed_in_hosts("web.internal", str(path)) == ()
