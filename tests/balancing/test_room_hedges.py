"""Hedged calls in the room, on virtual time: where second sends go, and what a hung endpoint comes to."""

import pytest

from resilience.core.call import Elsewhere
from resilience.core.endpoint import Address, Endpoint
from resilience.core.errors import CircuitOpenError, OverloadedError
from resilience.core.events import HedgeSent
from resilience.core.outcome import BAD, Blame, Err
from resilience.policies.hedge import Hedge
from resilience.policies.permits import CircuitOptions
from tests.balancing.test_room import GOOD, House


def hedged(house, call, exchange, after=0.05):
    call.elsewhere = house.room.elsewhere
    hedge = Hedge(after=after, budget=False)
    return house.runtime.run(lambda: hedge.around(call, lambda branch: house.room.around(branch, exchange)))


def second_sends(house):
    return [event for event in house.events if isinstance(event, HedgeSent)]


def slow_first(house, seconds=5.0):
    """The first endpoint takes its time, the others answer at once."""

    async def exchange(call):
        if call.attempts[-1].endpoint is house.endpoints[0]:
            await house.runtime.sleep(seconds)
        else:
            await house.runtime.sleep(0.001)
        return GOOD

    return exchange


def slow_at_first(house):
    """The first send takes its time, wherever it went; the others are answered at once."""

    async def exchange(call):
        await house.runtime.sleep(5.0 if len(call.attempts) == 1 else 0.001)
        return GOOD

    return exchange


def test_an_endpoint_that_never_answers_in_time_is_left_alone():
    house = House(2, limit=100, circuit=CircuitOptions(open_for=60.0))
    exchange = slow_first(house)
    for _ in range(40):
        call = house.call()
        assert hedged(house, call, exchange) is GOOD
        assert call.attempts[-1].endpoint is house.endpoints[1]
        house.runtime.advance(0.1)
    assert [endpoint.circuit.state for endpoint in house.endpoints] == ["open", "closed"]
    assert house.taken() == [0, 0]
    assert house.endpoints[0].usual is None


def test_an_endpoint_that_is_merely_slow_as_ever_is_not():
    house = House(2, limit=100, circuit=CircuitOptions())
    house.endpoints[0].usual = 5.0
    exchange = slow_first(house)
    for _ in range(40):
        hedged(house, house.call(), exchange)
        house.runtime.advance(0.1)
    assert [endpoint.circuit.state for endpoint in house.endpoints] == ["closed", "closed"]


def test_what_is_usual_is_made_of_answers_alone():
    endpoint = Endpoint(Address("10.0.0.1", 80))
    endpoint.observe(0.1, answered=True)
    endpoint.observe(100.0)
    assert endpoint.usual == 0.1
    assert endpoint.latency == pytest.approx(0.1 + 99.9 / 8)
    endpoint.observe(0.9, answered=True)
    assert endpoint.usual == pytest.approx(0.2)


def test_a_cut_by_the_deadline_is_blamed_too_and_one_by_the_caller_is_not():
    house = House(1, limit=100, circuit=CircuitOptions(consecutive_failures=100))
    exchange = slow_first(house)
    for deadline, blame in ((101.0, Blame.BAD), (1000.0, Blame.UNKNOWN)):
        call = house.call(deadline=deadline)
        task = house.runtime.spawn(lambda call=call: house.room.around(call, exchange))
        house.runtime.advance(1.0)
        house.runtime.cancel(task)
        house.runtime.advance(0.0)
        assert call.attempts[0].verdict.blame is blame


def test_second_sends_are_on_the_calls_record_in_their_order():
    house = House(3, limit=100)
    call = house.call()
    hedged(house, call, slow_first(house))
    other = house.call()
    hedged(house, other, slow_first(house))
    for each in (call, other):
        assert [attempt.number for attempt in each.attempts] == list(range(1, len(each.attempts) + 1))
        assert len({attempt.endpoint for attempt in each.attempts}) == len(each.attempts)
        assert each.tried == tuple(attempt.endpoint for attempt in each.attempts)
        assert each.verdict.blame is Blame.GOOD


def test_where_there_is_nowhere_else_no_second_send_is_made():
    house = House(2, limit=100, circuit=CircuitOptions())
    house.endpoints[1].mark(healthy=False)
    call = house.call()
    call.elsewhere = house.room.elsewhere
    call.emit = house.events.append
    assert call.elsewhere(call) is not Elsewhere.NOWHERE
    hedged(house, call, slow_first(house, 1.0))
    assert [attempt.endpoint for attempt in call.attempts] == [house.endpoints[0]]
    assert not second_sends(house), "none was even tried"


def test_where_nobody_knows_of_other_endpoints_a_second_send_is_made():
    house = House(2, limit=100)
    call = house.call()
    exchange = slow_at_first(house)
    hedge = Hedge(after=0.05, budget=False)
    assert house.runtime.run(lambda: hedge.around(call, lambda branch: house.room.around(branch, exchange))) is GOOD
    assert len(call.attempts) == 2
    assert {attempt.endpoint for attempt in call.attempts} == set(house.endpoints)


def test_the_first_attempt_alone_has_the_wait_before_the_call():
    house = House(2, limit=100)
    call = house.call()
    call.waited = 0.5
    hedged(house, call, slow_at_first(house))
    assert [attempt.waited for attempt in call.attempts] == [0.5, 0.0]


def test_what_the_send_that_is_taken_has_found_out_of_its_connection_holds_for_the_call():
    house = House(2, limit=100)
    call = house.call()

    async def proceed(branch):
        branch.fresh = True
        return GOOD

    house.runtime.run(lambda: Hedge(after=0.05).around(call, proceed))
    assert call.fresh


def test_a_second_send_to_the_only_endpoint_is_made_there():
    house = House(1, limit=100)
    call = house.call()
    call.sole = True
    hedged(house, call, slow_first(house, 1.0))
    assert [attempt.endpoint for attempt in call.attempts] == [house.endpoints[0]] * 2


def test_while_the_first_stands_in_line_no_second_send_is_made():
    house = House(1, limit=1)
    call = house.call()
    call.sole = True
    house.endpoints[0].slots.take()
    sent = []

    async def exchange(branch):
        sent.append(house.runtime.now())
        return GOOD

    async def free():
        await house.runtime.sleep(1.0)
        house.endpoints[0].slots.give_back()

    house.runtime.spawn(free)
    call.emit = house.events.append
    hedged(house, call, exchange)
    assert sent == [101.0]
    assert not second_sends(house), "none was even tried"


def test_a_hedge_is_turned_away_rather_than_wait_probe_or_meet_the_first():
    house = House(2, limit=1, circuit=CircuitOptions())
    branch = house.call()
    branch.hedging = True
    branch.tried = (house.endpoints[0],)
    house.endpoints[1].slots.take()
    with pytest.raises(OverloadedError, match="no other endpoint of web:80 is free"):
        house.send(branch, slow_first(house))
    house.endpoints[1].slots.give_back()
    for endpoint in house.endpoints:
        endpoint.circuit.force("open", house.runtime.now())
    with pytest.raises(CircuitOpenError):
        house.send(branch, slow_first(house))
    assert house.taken() == [0, 0]


def test_listeners_hear_of_second_sends():
    house = House(2, limit=100)
    call = house.call()
    call.emit = house.events.append
    call.classify = lambda outcome, _call: BAD if isinstance(outcome, Err) else GOOD

    async def fails_once(branch):
        await house.runtime.sleep(0.5)
        if len(branch.attempts) == 1:
            raise ConnectionError
        return GOOD

    hedged(house, call, fails_once, after=60.0)
    (event,) = second_sends(house)
    assert (event.name, event.service, event.attempt, event.after) == ("hedge", "web:80", 2, 0.5)
    assert event.operation == "web:80"
