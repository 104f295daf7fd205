"""Ports that stay free while their server is down."""

import socket

import pytest

from resilience.lab.ports import common_port, listen


def test_a_port_lies_below_the_ephemeral_range() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert 20_000 <= listener.getsockname()[1] < 32_768


def test_a_common_port_is_free_on_all_hosts_for_both_protocols() -> None:
    hosts = ["127.0.1.1", "127.0.1.2"]
    port = common_port(hosts, udp=True)
    for host in hosts:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as free:
                free.bind((host, port))


def test_a_taken_port_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        offers = iter([port, port + 1, port + 2, port + 3])
        monkeypatch.setattr("random.SystemRandom.randrange", lambda *_: next(offers))
        assert common_port(["127.0.0.1"]) > port
        monkeypatch.setattr("random.SystemRandom.randrange", lambda *_: port)
        with pytest.raises(OSError, match="no common free port"):
            common_port(["127.0.0.1"])


def test_a_foreign_address_is_refused() -> None:
    with pytest.raises(OSError, match="assign"):
        common_port(["192.0.2.1"])
