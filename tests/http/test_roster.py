"""From answers to endpoints: a name becomes a fleet and one origin again, and who comes back is who left."""

import itertools
from typing import Any

import pytest

from resilience.core.endpoint import Address, Endpoint
from resilience.core.errors import NoEndpointsError, Rerouted
from resilience.core.events import INFO, EndpointsChanged
from resilience.core.outcome import BAD
from resilience.core.resolution import Replica, Resolution, Target
from resilience.discovery.failures import ResolutionError
from resilience.http.roster import LEAVING, MEMORY, NamedRoute, Roster
from resilience.policies.circuit import Circuit
from resilience.policies.permits import CircuitOptions
from resilience.runtimes.blocking import BLOCKING, run_blocking

TARGET = Target("web.internal", 80)


def fleet(*hosts: str) -> Resolution:
    return Resolution(tuple(Replica(Address(host, 80), weight=2.0, tier=1) for host in hosts), 10.0, "dns")


def origin(*hosts: str) -> Resolution:
    return Resolution(tuple(Replica(Address(host, 80)) for host in hosts), 30.0, "system", fleet=False)


class Directory:
    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome
        self.asked = 0

    async def first(self, runtime: Any, seconds: float, /) -> None:
        self.asked += 1
        if isinstance(self.outcome, Exception):
            raise self.outcome
        self.outcome()


class World:
    def __init__(self, outcome: Any = None) -> None:
        self.now = 0.0
        self.sets: list[list[str]] = []
        self.events: list[Any] = []
        self.heard: list[int] = []
        self.deaf = False
        self.roster = Roster(TARGET, self.make, self.updated, self.events.append, self.hears, lambda: self.now)
        self.directory = Directory(outcome)
        self.route = NamedRoute(self.roster, self.directory)  # type: ignore[arg-type]

    def hears(self, level: int) -> bool:
        self.heard.append(level)
        return not self.deaf

    def make(self, address: Address) -> Endpoint:
        made = Endpoint(address, circuit=Circuit(CircuitOptions()))
        if address.host == TARGET.host:
            made.route = self.route
        return made

    def updated(self, endpoints: Any) -> None:
        self.sets.append([endpoint.label for endpoint in endpoints])

    def addresses(self) -> list[str]:
        return [str(it) for it in run_blocking(self.route.addresses(BLOCKING, 1.0))]  # type: ignore[arg-type]


def test_a_name_is_one_endpoint_until_it_is_known_and_when_nothing_stands() -> None:
    world = World()
    for resolution in (None, fleet("10.0.0.1", "10.0.0.2"), None):
        world.roster.adopt(resolution)
    assert world.sets == [["web.internal:80"], ["10.0.0.1:80", "10.0.0.2:80"], ["web.internal:80"]]


def test_from_origin_to_fleet_and_back() -> None:
    world = World()
    world.roster.adopt(origin("1.1.1.1", "1.0.0.1"))
    first = world.roster.endpoints
    assert world.addresses() == ["1.1.1.1:80", "1.0.0.1:80"]
    world.roster.adopt(fleet("10.0.0.1"))
    with pytest.raises(Rerouted):
        world.addresses()
    assert (first[0].draining, first[0].fit) == (True, False)
    world.roster.adopt(origin("1.0.0.1"))
    assert world.roster.endpoints == first
    assert first[0].fit
    assert world.addresses() == ["1.0.0.1:80"]
    assert not world.directory.asked


def test_who_comes_back_finds_circuit_and_latency_as_they_were() -> None:
    world = World()
    world.roster.adopt(fleet("10.0.0.1", "10.0.0.2"))
    one, two = world.roster.endpoints
    one.observe(0.5)
    for _ in range(5):
        one.circuit.settle(one.circuit.admit(0.0), BAD, now=0.0)  # type: ignore[union-attr, arg-type]
    world.roster.adopt(fleet("10.0.0.2"))
    assert list(world.roster.departed) == [one]
    world.now = MEMORY - 1.0
    world.roster.adopt(fleet("10.0.0.1", "10.0.0.2"))
    assert world.roster.endpoints == (one, two)
    assert (one.latency, one.circuit.state, one.weight, one.tier) == (0.5, "open", 2.0, 1)  # type: ignore[union-attr]
    assert not one.draining


def test_who_was_gone_for_long_is_forgotten() -> None:
    world = World()
    world.roster.adopt(fleet("10.0.0.1", "10.0.0.2"))
    one, _ = world.roster.endpoints
    world.roster.adopt(fleet("10.0.0.2"))
    world.now = MEMORY + 1.0
    world.roster.adopt(fleet("10.0.0.1", "10.0.0.2"))
    assert world.roster.endpoints[0] is not one
    assert not world.roster._gone


def test_who_left_is_among_those_to_be_closed_in_the_end() -> None:
    world = World()
    world.roster.adopt(None)
    (named,) = world.roster.endpoints
    world.roster.adopt(fleet("10.0.0.1", "10.0.0.2"))
    one, two = world.roster.endpoints
    world.roster.adopt(fleet("10.0.0.2"))
    world.now = MEMORY + 1.0
    world.roster.adopt(fleet("10.0.0.2", "10.0.0.3"))
    assert set(world.roster.disband()) == {named, one, two, world.roster.endpoints[1]}
    assert not world.roster.departed


def test_an_only_endpoint_is_treated_as_such() -> None:
    world = World()
    world.roster.adopt(fleet("10.0.0.1"))
    (one,) = world.roster.endpoints
    assert one.circuit.sole  # type: ignore[union-attr]
    world.roster.adopt(fleet("10.0.0.1", "10.0.0.2"))
    assert not one.circuit.sole  # type: ignore[union-attr]


def test_changes_are_told_and_repetitions_are_not() -> None:
    world = World()
    world.roster.adopt(None)
    world.roster.adopt(fleet("10.0.0.1"))
    world.roster.adopt(fleet("10.0.0.1"))
    world.roster.adopt(fleet("10.0.0.2"))
    world.roster.adopt(None)
    name = "web.internal:80"
    assert world.events == [
        EndpointsChanged(name, ("10.0.0.1:80",), (), 1, "dns"),
        EndpointsChanged(name, ("10.0.0.2:80",), ("10.0.0.1:80",), 1, "dns"),
        EndpointsChanged(name, (), ("10.0.0.2:80",), 0, "nothing stands any more"),
    ]


def test_what_nobody_hears_is_not_written() -> None:
    world = World()
    world.deaf = True
    world.roster.adopt(fleet("10.0.0.1"))
    world.roster.adopt(fleet("10.0.0.2"))
    assert (world.events, world.heard, len(world.sets)) == ([], [INFO, INFO], 2)
    world.deaf = False
    world.roster.adopt(fleet("10.0.0.3"))
    assert [(event.added, event.removed, event.level) for event in world.events] == [
        (("10.0.0.3:80",), ("10.0.0.2:80",), INFO)
    ]


def test_the_first_dial_waits_for_the_first_answer() -> None:
    world = World()
    world.directory.outcome = lambda: world.roster.adopt(origin("1.1.1.1"))
    world.roster.adopt(None)
    assert world.addresses() == ["1.1.1.1:80"]
    assert world.addresses() == ["1.1.1.1:80"]
    assert world.directory.asked == 1


def test_it_says_so_when_no_answer_comes_in_time() -> None:
    world = World(TimeoutError())
    world.roster.adopt(None)
    with pytest.raises(ResolutionError, match=r"no answer within 1 s") as caught:
        world.addresses()
    assert (caught.value.service, caught.value.kind) == ("web.internal:80", "timeout")


def test_an_answer_that_stood_for_a_moment_only_is_none() -> None:
    world = World(lambda: None)
    world.roster.adopt(None)
    with pytest.raises(NoEndpointsError) as caught:
        world.addresses()
    assert caught.value.service == "web.internal:80"


def test_one_that_is_listed_twice_is_one_endpoint_and_the_first_line_counts() -> None:
    world = World()
    twice = (
        Replica(Address("10.0.0.1", 80), weight=3.0),
        Replica(Address("10.0.0.1", 80)),
        Replica(Address("10.0.0.1", 81)),
    )
    for ttl in (1.0, 2.0):
        world.roster.adopt(Resolution(twice, ttl, "dns"))
        assert [(it.label, it.weight) for it in world.roster.endpoints] == [("10.0.0.1:80", 3.0), ("10.0.0.1:81", 1.0)]
    assert len(world.sets) == 1


def test_another_weight_is_told_and_changes_nobody() -> None:
    world = World()
    world.roster.adopt(fleet("10.0.0.1", "10.0.0.2"))
    before = world.roster.endpoints
    lighter = Replica(Address("10.0.0.2", 80), weight=1.0, tier=1)
    world.roster.adopt(Resolution((Replica(Address("10.0.0.1", 80), weight=2.0, tier=1), lighter), 10.0, "dns"))
    assert world.roster.endpoints == before
    assert [endpoint.weight for endpoint in before] == [2.0, 1.0]
    assert len(world.sets) == 2
    assert world.events[-1] == EndpointsChanged("web.internal:80", ("10.0.0.2:80",), ("10.0.0.2:80",), 2, "dns")


def test_an_update_of_many_makes_only_what_is_new() -> None:
    world, made = World(), []
    make = world.roster._make
    world.roster._make = lambda address: (made.append(address.host), make(address))[1]  # type: ignore[func-returns-value]
    hosts = [f"10.0.{number >> 8}.{number & 255}" for number in range(1000)]
    world.roster.adopt(fleet(*hosts[:900]))
    before = world.roster.endpoints
    made.clear()
    world.roster.adopt(fleet(*hosts[100:]))
    assert made == hosts[900:]
    assert world.roster.endpoints[:800] == before[100:]
    assert list(world.roster.departed) == list(before[:100])


def test_one_call_closes_the_connections_of_a_few_that_have_left() -> None:
    world = World()
    hosts = [f"10.0.0.{number}" for number in range(100)]
    world.roster.adopt(fleet(*hosts))
    left = world.roster.endpoints[1:]
    world.roster.adopt(fleet(hosts[0]))
    closed = [list(world.roster.leaving()) for _ in range(5)]
    assert [len(some) for some in closed] == [LEAVING, LEAVING, LEAVING, 99 - 3 * LEAVING, 0]
    assert tuple(itertools.chain(*closed)) == left
