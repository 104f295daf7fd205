"""A private network for this process and all it starts, and what in it takes real nameservers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.support import _fleet, _server, anyio_backend, fleet, mode, server
from tests.real.nameservers import Bind, Dnsmasq
from tests.real.place import Filter, Place, program

__all__ = ["_fleet", "_server", "anyio_backend", "fleet", "mode", "server"]


@pytest.fixture(scope="session", autouse=True)
def _place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    found = Place(tmp_path_factory.mktemp("place"))
    found.enter()
    return found


@pytest.fixture
def place(_place: Place) -> Place:
    """The private network, its resolver's files as they were at first."""
    if _place.missing:
        pytest.skip(_place.missing)  # namespaces need root: what is missing is said
    _place.name_servers("127.0.0.1")
    _place.known_hosts()
    return _place


def _needs(name: str, package: str) -> None:
    if not program(name):
        # `make test-real` installs it where it may; by hand, and as nobody, these are the tests one cannot run.
        pytest.skip(f"{name} is not installed (Debian: {package}; `make test-real` as root installs it)")


@pytest.fixture
def dnsmasq(place: Place, tmp_path: Path) -> Iterator[Dnsmasq]:
    """A dnsmasq that the system's resolver asks, TTL 1 s."""
    _needs("dnsmasq", "dnsmasq-base")
    with Dnsmasq(53, tmp_path) as running:
        yield running


@pytest.fixture
def bind(place: Place, tmp_path: Path) -> Iterator[Bind]:
    """A BIND that the system's resolver asks, for the zone ``internal``."""
    _needs("named", "bind9")
    folder = tmp_path / "bind"
    folder.mkdir()
    with Bind(53, folder) as running:
        yield running


@pytest.fixture
def filter_(place: Place) -> Iterator[Filter]:
    """The packet filter of the private network."""
    _needs("nft", "nftables")
    made = Filter()
    yield made
    made.clear()
