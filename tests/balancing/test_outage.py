"""All circuits of a service are open: it is asked now and then, and is back as soon as it answers."""

import math
from typing import Any

import pytest

import resilience
from resilience.balancing.outage import APART, Outage
from resilience.core.call import RoutedCall
from resilience.core.endpoint import Endpoint
from resilience.core.outcome import BAD, GOOD, Verdict
from resilience.policies.breaker import Mode
from resilience.policies.deep_circuit import DeepCircuit
from resilience.policies.permits import CircuitOptions
from tests.balancing.test_room import House


class Service:
    """A house whose far side is well, or is not; twenty calls a second."""

    def __init__(self, size: int = 3, **options: Any) -> None:
        self.house = House(size, limit=10, circuit=CircuitOptions(**options))
        self.well = False
        self.sent: list[tuple[float, str]] = []

    async def exchange(self, call: RoutedCall) -> Verdict:
        self.sent.append((self.house.runtime.now(), call.attempts[-1].endpoint.label))
        return GOOD if self.well else BAD

    def call(self) -> bool:
        """Make a call; tell whether it was answered well."""
        try:
            return self.house.send(self.house.call(), self.exchange) is GOOD
        except resilience.CircuitOpenError as error:
            self.error = error
            return False

    def calls(self, seconds: float) -> float:
        """Make calls for so long; return after how many seconds the first went well, infinite if none did."""
        begun, first = self.house.runtime.now(), math.inf
        while self.house.runtime.now() < begun + seconds:
            if self.call():
                first = min(first, self.house.runtime.now() - begun)
            self.house.runtime.advance(0.05)
        return first

    def states(self) -> list[str]:
        return [endpoint.circuit.state for endpoint in self.house.endpoints if endpoint.circuit is not None]


def test_an_outage_of_ten_minutes_ends_within_two_seconds_for_every_endpoint() -> None:
    service = Service()
    service.calls(600.0)
    assert service.states() == ["open"] * 3
    service.well = True
    assert service.calls(2.0) <= 1.5 * APART
    assert service.states() == ["closed"] * 3


def test_meanwhile_a_call_a_second_at_most_is_let_through_to_each_in_turn() -> None:
    service = Service()
    service.calls(60.0)
    service.sent.clear()
    service.calls(300.0)
    assert 300 / (1.5 * APART) <= len(service.sent) <= 300 / APART
    shares = [sum(label == endpoint.label for _, label in service.sent) for endpoint in service.house.endpoints]
    assert max(shares) - min(shares) <= 0.1 * len(service.sent)


def test_the_error_says_when_and_then_it_is_so() -> None:
    service = Service()
    service.calls(600.0)
    for _ in range(1000):
        service.call()
        assert service.error.retry_after is not None
        if service.error.retry_after > 0.1:
            break
        service.house.runtime.advance(0.01)
    assert service.error.retry_after <= 1.5 * APART
    service.well = True
    service.house.runtime.advance(service.error.retry_after)
    assert service.call()


def test_whoever_says_how_long_a_circuit_stays_open_is_obeyed() -> None:
    service = Service(open_for=30.0)
    service.calls(5.0)
    assert service.states() == ["open"] * 3
    service.sent.clear()
    service.calls(25.0)
    assert not service.sent


def test_one_sick_endpoint_among_well_ones_backs_off_as_ever() -> None:
    service = Service()
    sick = service.house.endpoints[0]

    async def exchange(call: RoutedCall) -> Verdict:
        service.sent.append((service.house.runtime.now(), call.attempts[-1].endpoint.label))
        return BAD if call.attempts[-1].endpoint is sick else GOOD

    service.exchange = exchange  # type: ignore[method-assign]
    service.calls(600.0)
    assert sum(label == sick.label for at, label in service.sent if at > 300.0) <= 8


def test_a_room_that_takes_over_goes_on_with_the_outage() -> None:
    service = Service()
    service.calls(60.0)
    other = House(3, limit=10)
    other.room.follow(service.house.room)
    now = service.house.runtime.now()
    assert other.room.outage.seconds(service.house.endpoints, now) == service.house.room.outage.seconds(
        service.house.endpoints, now
    )
    assert other.room.outage.relent(service.house.endpoints, now, 0.0) is None


def test_circuits_forced_open_stay_so() -> None:
    service = Service()
    for endpoint in service.house.endpoints:
        circuit = DeepCircuit(CircuitOptions())
        circuit.put(Mode.FORCED_OPEN, 100.0)
        endpoint.circuit = circuit
    service.well = True
    assert service.calls(60.0) == math.inf
    assert service.error.retry_after is None
    assert not service.sent


def test_a_second_send_of_a_call_is_no_probe() -> None:
    service = Service()
    service.calls(60.0)
    call = service.house.call()
    call.tried = (service.house.endpoints[0],)
    service.house.runtime.advance(2.0)
    before = len(service.sent)
    for endpoint in service.house.endpoints:
        assert endpoint.circuit is not None
        assert endpoint.circuit.retry_after(service.house.runtime.now()) > 0
    with pytest.raises(resilience.CircuitOpenError):
        service.house.send(call, service.exchange)
    assert len(service.sent) == before


def test_endpoints_without_a_circuit_or_not_fit_are_passed_over() -> None:
    house = House(2, circuit=CircuitOptions(consecutive_failures=1))
    now = house.runtime.now()
    one, two = house.endpoints
    one.circuit = None
    assert two.circuit is not None
    two.circuit.settle(two.circuit.admit(now), BAD, now=now)
    two.mark(draining=True)
    outage = Outage()
    assert outage.relent(house.endpoints, now + 0.5, 0.0) is None
    two.mark(draining=False)
    two.circuit.settle(two.circuit.admit(now + 1.0), BAD, now=now + 1.0)  # from now on its wait is longer than a second
    assert outage.relent(house.endpoints, now + 1.5, 0.0) is None
    two.mark(draining=True)
    assert outage.seconds(house.endpoints, now + 1.5) == math.inf
    two.mark(draining=False)
    assert outage.seconds(house.endpoints, now + 1.5) == pytest.approx(0.5)
    found = outage.relent(house.endpoints, now + 2.0, 0.0)
    assert found is not None
    assert (found[0], [change.state for change in found[1]]) == (two, ["half-open"])
    assert outage.relent(house.endpoints, now + 2.5, 0.0) is None
    assert outage.seconds([], now + 2.5) == math.inf


def backed_off(size: int) -> tuple[list[Endpoint], float]:
    """Return endpoints whose circuits have opened six times in a row, and when they relent."""
    known = House(size, circuit=CircuitOptions(consecutive_failures=1)).endpoints
    now = 100.0
    for endpoint in known:
        assert endpoint.circuit is not None
        now = 100.0
        for _ in range(6):
            now += endpoint.circuit.retry_after(now)
            endpoint.circuit.settle(endpoint.circuit.admit(now), BAD, now=now)
        now = endpoint.circuit.relents_at
    return known, now


def test_circuits_are_asked_in_turn_past_those_that_are_not_fit() -> None:
    (known, now), outage = backed_off(5), Outage()
    asked = []
    for second in range(6):
        known[2].mark(draining=second == 2)
        found = outage.relent(known, now + second * APART, 0.0)
        if found is not None:
            asked.append(known.index(found[0]))
            assert ["no endpoint of its service" in change.reason for change in found[1]] == [True]
    assert asked == [0, 1, 3, 4, 2]


def test_an_outage_is_over_once_and_only_if_there_was_one() -> None:
    (known, now), outage = backed_off(3), Outage()
    assert not outage.over
    outage.closed()
    assert not outage.over, "one sick endpoint among well ones has recovered"
    assert outage.relent(known, now, 0.0) is not None
    outage.closed()
    assert outage.over
    rest = list(outage.rest(known, now))
    assert [endpoint for endpoint, _ in rest] == list(known[1:])
    assert all("another endpoint" in change.reason for _, changes in rest for change in changes)
    assert not outage.over
    outage.closed()
    assert not outage.over, "those of the rest close too"


def test_a_circuit_that_could_have_relented_before_does_so_in_no_time() -> None:
    known, now = backed_off(2)
    assert Outage().seconds(known, now - 0.25) == 0.25
    assert Outage().seconds(known, now + 10.0) == 0.0
