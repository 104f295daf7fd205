"""What somebody else's code may do in the midst of a refresh, and what must come of it."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

import resilience
from resilience.balancing.priorities import Tiered
from resilience.balancing.room import Room
from resilience.balancing.zones import Zones
from resilience.core.endpoint import Address, Endpoint
from resilience.core.events import EndpointsChanged
from resilience.core.slots import Line
from resilience.testing import Script, ScriptedDns, virtual
from tests.balancing.support import Trying, endpoints, fit

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = [f"10.0.1.{n}:80" for n in range(1, 7)]
THEN = [*FIRST[2:], "10.0.1.20:80", "10.9.9.9:80"]


def by_network(address: Address) -> str:
    return {"10.0.1": "a"}[address.host.rpartition(".")[0]]


def test_a_network_that_the_function_does_not_know_keeps_nobody_from_being_taken_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[Any] = []
    names = ScriptedDns({0: FIRST, 20: THEN})
    script = Script([], then=200)
    service = resilience.Service(discovery=names, balancer=Zones("a", by_network))
    with (
        virtual() as clock,
        resilience.Client(transport=script, listeners=[told.append], services={"w": service}) as c,
    ):
        while clock.elapsed < 120:
            c.get("http://w/")
            clock.advance(1)
        late = Counter(sent.endpoint for sent in script.sent[-50:])
    assert set(late) == set(THEN[:-1]), "the local ones, the newcomer among them, and none that has left"
    changes = [event for event in told if isinstance(event, EndpointsChanged)]
    assert [set(event.added) for event in changes] == [set(FIRST), set(THEN) - set(FIRST)]
    (record,) = [record for record in caplog.records if "Zones" in record.getMessage()]
    assert "raised for 10.9.9.9:80" in record.getMessage()
    assert record.exc_info is not None


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (by_network, "raised for"),
        (lambda _: None, "returned None, not a text"),
        (lambda _: 3, "returned 3, not a text"),
    ],
)
def test_an_unhelpful_function_knows_no_zone_and_is_reported_once(
    function: Callable[[Address], Any], problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    known = [Endpoint(Address(f"10.{tier}.0.{n}", 80), tier=tier) for tier in (7, 8) for n in range(6)]
    zones = Zones("a", function).fresh()
    with caplog.at_level(logging.WARNING, "resilience"):
        balancer = Tiered(zones, 1.4)
        balancer.update(known)
        balancer.update(known[1:])
    assert zones.zone_of(known[0].address) == ""
    assert balancer.pick(Trying(), fit) in known
    assert [problem in record.getMessage() for record in caplog.records] == [True]


class Moody:
    """A balancer of somebody's that takes only so many."""

    def __init__(self) -> None:
        self.known: list[Endpoint] = []

    def update(self, endpoints: Any, /) -> None:
        if len(endpoints) > 2:
            message = "too many"
            raise RuntimeError(message)
        self.known = list(endpoints)

    def pick(self, call: Any, usable: Any, /) -> Endpoint | None:
        return next(filter(usable, self.known), None)


def test_a_balancer_that_raises_leaves_the_room_as_it_was() -> None:
    known = endpoints(1, 1, 1)
    balancer = Moody()
    room = Room("web:80", balancer, Line(), lambda _: None, lambda _: False)
    room.update(known[:2])
    with pytest.raises(RuntimeError, match="too many"):
        room.update(known)
    assert room.endpoints == tuple(known[:2]) == tuple(balancer.known)
    room.update(known[1:])
    assert room.endpoints == tuple(known[1:]) == tuple(balancer.known)
