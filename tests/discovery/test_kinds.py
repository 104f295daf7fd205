import pytest

from resilience.discovery.kinds import judge


@pytest.mark.parametrize(
    ("host", "addresses", "why"),
    [
        ("localhost", ["::1", "127.0.0.1"], "loopback"),
        ("web.test", ["127.0.0.5", "127.0.0.6"], "loopback"),
        ("printer.local", ["10.0.0.1", "10.0.0.2"], "mDNS"),
        ("PRINTER.Local.", ["10.0.0.1", "10.0.0.2"], "mDNS"),
        ("api.example.com", ["93.184.216.34"], "globally routable"),
        ("api.example.com", [f"142.250.1.{n}" for n in range(8)], "globally routable"),
        ("api.example.com", ["10.0.0.1", "2606:2800:220:1::1"], "globally routable"),
        ("api.example.com", ["::ffff:8.8.8.8", "10.0.0.1"], "globally routable"),
        ("web.internal", ["fd00::1", "10.0.0.1"], "one host"),
    ],
)
def test_one_origin(host, addresses, why):
    nature = judge(host, addresses)
    assert nature.fleet is False
    assert nature.why.startswith("one origin: ")
    assert why in nature.why


@pytest.mark.parametrize(
    ("addresses", "count"),
    [
        (["10.0.0.1"], 1),
        (["10.0.0.1", "10.0.0.2"], 2),
        (["fd00::1", "fd00::2", "10.0.0.1", "10.0.0.2", "10.0.0.3"], 2),
        (["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "fd00::2"], 3),
        (["172.16.0.1", "192.168.0.1"], 2),
        (["100.64.0.1", "100.64.0.2"], 2),
        (["169.254.1.1", "169.254.1.2"], 2),
        (["fe80::1%2", "fe80::2%2"], 2),
        (["::ffff:10.0.0.1", "::ffff:10.0.0.2"], 2),
        (["::ffff:100.64.0.1", "::ffff:100.64.0.2"], 2),
    ],
)
def test_a_fleet(addresses, count):
    nature = judge("web.internal", addresses)
    assert nature.fleet is True
    assert nature.why == f"a fleet: all addresses are private, {count} of one family"


def test_names_in_the_hosts_file_are_one_origin():
    assert judge("web.internal", ["10.0.0.1", "10.0.0.2"], listed=True).fleet is False
