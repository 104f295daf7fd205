"""Several servers on one port."""

import httpx
import pytest

from resilience.lab import Fleet


def test_a_fleet_shares_a_port_and_answers_by_name(client: httpx.Client) -> None:
    with Fleet(3) as fleet:
        assert [client.get(server.url).json()["server"] for server in fleet] == ["a", "b", "c"]
        assert fleet.hosts == ["127.0.1.1", "127.0.1.2", "127.0.1.3"]
        assert fleet.addresses == [f"{host}:{fleet.port}" for host in fleet.hosts]
        fleet[0].kill()
        assert client.get(fleet[1].url).is_success
        added = fleet.add()
        assert (len(fleet), added.address) == (4, f"127.0.1.4:{fleet.port}")
        assert client.get(added.url).headers["x-server"] == "d"
        assert fleet.start() is fleet
        assert fleet[0].alive
    assert not any(server.alive for server in fleet)


def test_a_fleet_that_cannot_start_leaves_nothing_behind() -> None:
    fleet = Fleet(2, host_pattern="127.0.2.{i}")
    fleet[1].host = "192.0.2.1"  # TEST-NET-1: not ours to listen on
    with pytest.raises(OSError, match="assign"):
        fleet.start()
    assert not fleet[0].alive


def test_many_names() -> None:
    names = [server.name for server in Fleet(28)]
    assert names[25:] == ["z", "s27", "s28"]


def test_an_empty_fleet_is_refused() -> None:
    with pytest.raises(ValueError, match="n=0"):
        Fleet(0)
