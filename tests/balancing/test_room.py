"""The room where an attempt gets its endpoint, and settles: on virtual time, to the last branch."""

import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

import resilience
from resilience.balancing.room import Room
from resilience.core.call import Elsewhere, RoutedCall
from resilience.core.endpoint import Address, Endpoint
from resilience.core.errors import Rerouted
from resilience.core.outcome import BAD, GOOD, Blame, Err, Ok, Sent, Verdict
from resilience.core.slots import Line, Slots
from resilience.policies.circuit import Circuit
from resilience.policies.permits import CircuitOptions, Rejected, Transition
from resilience.runtimes.virtual import VirtualCancelled, VirtualRuntime

STALE = Verdict(Blame.UNKNOWN, retry=True, sent=Sent.MAYBE, stale=True)
REFUSED = Verdict(Blame.BAD, retry=True, sent=Sent.NO)


class Failure(Exception):  # noqa: N818 - an outcome, not an error of ours
    """Carries its own verdict."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__()
        self.verdict = verdict


def judge(outcome: Any, call: Any) -> Verdict:
    """Let replies and failures say themselves what they mean."""
    if isinstance(outcome, Err):
        return getattr(outcome.error, "verdict", BAD)
    return outcome.value if isinstance(outcome.value, Verdict) else GOOD


class OpensWhenAsked:
    """A circuit that lets a call in by its looks, and refuses it when it is asked."""

    def __init__(self) -> None:
        self.state = "closed"
        self.binding = True
        self.relents_at = math.inf
        self.pending = [Transition("open", "calls under way have become slow", 1.0)]

    def would_admit(self, now: float) -> bool:
        return self.state == "closed"

    def retry_after(self, now: float) -> float:
        return 1.0

    def admit(self, now: float) -> Rejected:
        self.state = "open"
        return Rejected(1.0)

    def drain(self) -> list[Transition]:
        told, self.pending = self.pending, []
        return told


class House:
    """A room with endpoints around an exchange that a test writes."""

    def __init__(
        self, size: int = 2, *, limit: float = 1, total: float | None = None, circuit: CircuitOptions | None = None
    ) -> None:
        self.runtime = VirtualRuntime(start=100.0)
        self.events: list[Any] = []
        line = Line()
        self.room = Room(
            "web:80",
            resilience.RoundRobin(),
            line,
            self.events.append,
            lambda level: True,
            None if total is None else Slots(total),
        )
        self.endpoints = [
            Endpoint(
                Address(f"10.0.0.{number}", 80),
                limit=limit,
                line=line,
                circuit=None if circuit is None else Circuit(circuit, draw=lambda: 0.5),
            )
            for number in range(1, size + 1)
        ]
        self.room.update(self.endpoints)

    def call(self, *, deadline: float = 1000.0, repeatable: bool = True, patience: float = math.inf) -> RoutedCall:
        call = RoutedCall(
            self.runtime, httpx.Request("GET", "http://web/"), self.runtime.now(), deadline, "web:80", repeatable, judge
        )
        call.patience = patience
        return call

    def send(self, call: RoutedCall, exchange: Callable[[RoutedCall], Awaitable[Any]]) -> Any:
        return self.runtime.run(lambda: self.room.around(call, exchange))

    def taken(self) -> list[int]:
        return [endpoint.slots.taken for endpoint in self.endpoints]


async def good(call: RoutedCall) -> Verdict:
    return GOOD


def raising(*verdicts: Verdict) -> Callable[[RoutedCall], Awaitable[Verdict]]:
    left = list(verdicts)

    async def exchange(call: RoutedCall) -> Verdict:
        if left:
            raise Failure(left.pop(0))
        return GOOD

    return exchange


def test_a_call_gets_an_endpoint_and_gives_it_back() -> None:
    house = House()
    call = house.call()
    assert house.send(call, good) is GOOD
    assert call.verdict is GOOD
    assert house.taken() == [0, 0]
    assert [event.name for event in house.events] == ["attempt"]


def test_a_stale_connection_is_replaced_at_once_at_the_same_endpoint_once() -> None:
    house = House()
    call = house.call()
    assert house.send(call, raising(STALE)) is GOOD
    assert len(call.attempts) == 2
    assert len(set(call.tried)) == 1
    with pytest.raises(Failure):
        house.send(house.call(), raising(STALE, STALE))
    assert house.taken() == [0, 0]


def test_a_stale_connection_is_not_replaced_for_what_may_not_be_repeated() -> None:
    call = House().call(repeatable=False)
    with pytest.raises(Failure):
        House().send(call, raising(STALE))
    unsent = Verdict(Blame.UNKNOWN, retry=True, sent=Sent.NO, stale=True)
    house = House()
    assert house.send(house.call(repeatable=False), raising(unsent)) is GOOD


def test_where_the_endpoint_has_gone_meanwhile_another_takes_over() -> None:
    house = House()

    async def leaves(call: RoutedCall) -> Verdict:
        if len(call.attempts) == 1:
            call.attempts[-1].endpoint.mark(draining=True)
            raise Failure(STALE)
        return GOOD

    call = house.call()
    assert house.send(call, leaves) is GOOD
    assert len(set(call.tried)) == 2


def test_a_name_that_turns_out_to_be_a_fleet_is_no_attempt() -> None:
    house = House()
    rerouted = [True]

    async def exchange(call: RoutedCall) -> Verdict:
        if rerouted:
            rerouted.pop()
            raise Rerouted
        return GOOD

    call = house.call()
    assert house.send(call, exchange) is GOOD
    assert len(call.attempts) == len(call.tried) == 1
    assert house.taken() == [0, 0]


def test_a_cancelled_call_blames_nobody_but_tells_how_long_it_took_at_least() -> None:
    house = House(1, circuit=CircuitOptions())

    async def slow(call: RoutedCall) -> None:
        await house.runtime.sleep(5)

    for known, expected in ((None, 2.0), (1.0, 1.0 + (2.0 - 1.0) / 8), (3.0, 3.0)):
        house.endpoints[0].latency = known
        call = house.call()
        task = house.runtime.spawn(lambda call=call: house.room.around(call, slow))
        house.runtime.advance(2)
        house.runtime.cancel(task)
        house.runtime.advance(0)
        assert isinstance(task.error, VirtualCancelled)
        assert house.endpoints[0].latency == pytest.approx(expected)
        assert call.attempts[0].verdict is not None
        assert call.attempts[0].verdict.blame is Blame.UNKNOWN
    assert house.taken() == [0]


def test_beyond_the_limit_calls_wait_in_their_order() -> None:
    house = House(1)
    order: list[int] = []

    async def slow(call: RoutedCall) -> None:
        await house.runtime.sleep(1)
        order.append(call.request)

    for number in range(5):
        call = house.call()
        call.request = number
        house.runtime.spawn(lambda call=call: house.room.around(call, slow))
    house.runtime.advance(10)
    assert order == [0, 1, 2, 3, 4]
    assert house.taken() == [0]


@pytest.mark.parametrize(
    ("deadline", "patience", "error", "word"),
    [
        (105.0, math.inf, resilience.DeadlineExceededError, "deadline"),
        (1000.0, 2.0, resilience.OverloadedError, "overloaded"),
    ],
)
@pytest.mark.parametrize("total", [None, 1])
def test_whoever_waits_too_long_gives_up(
    deadline: float, patience: float, error: type[Exception], word: str, total: float | None
) -> None:
    house = House(1, limit=1 if total is None else 9, total=total)

    async def for_ever(call: RoutedCall) -> None:
        await house.runtime.sleep(1e6)

    house.runtime.spawn(lambda: house.room.around(house.call(), for_ever))
    house.runtime.advance(0)
    with pytest.raises(error, match=word) as caught:
        house.send(house.call(deadline=deadline, patience=patience), good)
    assert caught.value.service == "web:80"
    assert house.taken() == [1]
    assert not house.room.line.waiters
    if total is not None:
        assert house.room.total is not None
        assert house.room.total.taken == 1
        assert ("max_connections=1" in str(caught.value)) is (word == "overloaded")


def test_a_waiter_that_is_cancelled_leaves_the_line() -> None:
    for total in (None, 1):
        house = House(1, limit=1 if total is None else 9, total=total)

        async def for_ever(call: RoutedCall, house: House = house) -> None:
            await house.runtime.sleep(1e6)

        house.runtime.spawn(lambda house=house, for_ever=for_ever: house.room.around(house.call(), for_ever))
        house.runtime.advance(0)
        waiting = house.runtime.spawn(lambda house=house: house.room.around(house.call(), good))
        house.runtime.advance(1)
        house.runtime.cancel(waiting)
        house.runtime.advance(0)
        assert isinstance(waiting.error, VirtualCancelled)
        assert house.taken() == [1]
        assert not house.room.line.waiters


def test_whoever_waits_hears_at_once_that_a_circuit_has_opened() -> None:
    house = House(1, circuit=CircuitOptions(consecutive_failures=1))

    async def fails(call: RoutedCall) -> None:
        await house.runtime.sleep(1)
        raise Failure(REFUSED)

    first = house.runtime.spawn(lambda: house.room.around(house.call(), fails))
    house.runtime.advance(0)
    second = house.runtime.spawn(lambda: house.room.around(house.call(), good))
    house.runtime.advance(1)
    assert isinstance(first.error, Failure)
    assert isinstance(second.error, resilience.CircuitOpenError)
    assert second.error.retry_after == pytest.approx(1.0)
    assert house.taken() == [0]


def test_a_slot_handed_over_at_an_endpoint_that_has_left_is_passed_on() -> None:
    house = House(2)
    done: list[str] = []

    async def slow(call: RoutedCall) -> None:
        await house.runtime.sleep(1)
        done.append(call.attempts[-1].endpoint.label)

    for _ in range(2):
        house.runtime.spawn(lambda: house.room.around(house.call(), slow))
    house.runtime.advance(0)
    for _ in range(2):
        house.runtime.spawn(lambda: house.room.around(house.call(), slow))
    house.runtime.advance(0.5)
    house.endpoints[0].mark(draining=True)
    house.runtime.advance(10)
    assert done[2:] == ["10.0.0.2:80"] * 2
    assert house.taken() == [0, 0]


def test_a_circuit_that_opens_between_asking_and_taking_gives_the_slot_back() -> None:
    house = House(1, circuit=CircuitOptions())
    circuit = house.endpoints[0].circuit
    assert circuit is not None

    class Late(resilience.RoundRobin):
        def pick(self, call: Any, usable: Callable[[Endpoint], bool], /) -> Endpoint | None:
            found = super().pick(call, usable)
            circuit.force("open", house.runtime.now())
            return found

    house.room.balancer = Late()
    house.room.update(house.endpoints)
    with pytest.raises(resilience.CircuitOpenError):
        house.send(house.call(), good)
    assert house.taken() == [0]


def test_endpoints_that_somebody_else_takes_first_are_asked_for_again() -> None:
    house = House(2)

    class Slow(resilience.RoundRobin):
        raced = False

        def pick(self, call: Any, usable: Callable[[Endpoint], bool], /) -> Endpoint | None:
            found = super().pick(call, usable)
            if found is not None and not self.raced:
                self.raced = True
                found.slots.take()  # another thread was faster
            return found

    house.room.balancer = Slow()
    house.room.update(house.endpoints)
    call = house.call()
    assert house.send(call, good) is GOOD
    assert sorted(house.taken()) == [0, 1]


def test_a_balancer_that_never_stops_offering_what_is_taken_is_given_up_on() -> None:
    house = House(1)

    class Wrong(resilience.RoundRobin):
        def pick(self, call: Any, usable: Callable[[Endpoint], bool], /) -> Endpoint | None:
            return house.endpoints[0]

    house.room.balancer = Wrong()
    house.endpoints[0].slots.take()
    with pytest.raises(resilience.OverloadedError):
        house.send(house.call(patience=1.0), good)


@pytest.mark.parametrize("hedging", [False, True])
def test_what_may_not_be_repeated_probes_only_where_nothing_is_closed_and_a_hedge_never(hedging: bool) -> None:
    house = House(2, limit=9, circuit=CircuitOptions(open_for=1.0))
    first, second = (endpoint.circuit for endpoint in house.endpoints)
    assert first is not None
    assert second is not None
    first.force("open", 100.0)
    house.runtime.advance(2)
    for _ in range(4):
        call = house.call(repeatable=False)
        call.hedging = hedging
        house.send(call, good)
        assert call.tried == (house.endpoints[1],)
    second.force("open", 102.0)
    call = house.call(repeatable=False)
    call.hedging = hedging
    if hedging:
        with pytest.raises(resilience.CircuitOpenError):
            house.send(call, good)
    else:
        assert house.send(call, good) is GOOD
        assert call.tried == (house.endpoints[0],)


def test_a_closed_endpoint_that_is_taken_first_leaves_the_probe() -> None:
    house = House(2, limit=1, circuit=CircuitOptions(open_for=1.0))
    first = house.endpoints[0].circuit
    assert first is not None
    first.force("open", 100.0)
    house.runtime.advance(2)

    class Raced(resilience.RoundRobin):
        def pick(self, call: Any, usable: Callable[[Endpoint], bool], /) -> Endpoint | None:
            found = super().pick(call, usable)
            if found is house.endpoints[1]:
                found.slots.take()
            return found

    house.room.balancer = Raced()
    house.room.update(house.endpoints)
    call = house.call(repeatable=False)
    house.send(call, good)
    assert call.tried == (house.endpoints[0],)


def test_a_retry_queues_for_an_untried_endpoint_rather_than_go_back() -> None:
    house = House(2)
    call = house.call()
    with pytest.raises(Failure):
        house.send(call, raising(BAD))
    other = next(endpoint for endpoint in house.endpoints if endpoint not in call.tried)
    other.slots.take()
    task = house.runtime.spawn(lambda: house.room.around(call, good))
    house.runtime.advance(1)
    assert not task.done
    other.slots.give_back()
    house.runtime.advance(0)
    assert task.done
    assert call.tried[-1] is other


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_second_send_goes_to_who_has_been_answering_rather_than_to_a_newcomer(repeatable: bool) -> None:
    house = House(6, limit=9)
    serving, failing = house.endpoints[4], house.endpoints[5]
    for endpoint in (serving, failing):
        endpoint.usual = 0.02
    failing.answers = False
    for _ in range(6):  # wherever round robin is
        call = house.call(repeatable=repeatable)
        call.tried = (house.endpoints[0],)
        house.send(call, good)
        assert call.tried[-1] is serving
        for newcomer in house.endpoints[:4]:
            newcomer.usual = None
    house.room.update(house.endpoints[:4])  # nobody is left who has been: any other will do
    call = house.call()
    call.tried = (house.endpoints[0],)
    house.send(call, good)
    assert call.tried[-1] is not house.endpoints[0]


def test_elsewhere_tells_what_is_left_to_try() -> None:
    house = House(2, circuit=CircuitOptions())
    call = house.call()
    assert house.room.elsewhere(call) is Elsewhere.ANSWERING
    call.tried = (house.endpoints[0],)
    house.endpoints[1].answers = False
    assert house.room.elsewhere(call) is Elsewhere.READY
    house.endpoints[1].mark(healthy=False)
    assert house.room.elsewhere(call) is Elsewhere.NOWHERE


def test_an_endpoint_that_asked_to_be_left_alone_is_not_gone_back_to() -> None:
    house = House(1, limit=9)
    call = house.call()
    with pytest.raises(Failure):
        house.send(call, raising(Verdict(Blame.BAD, retry=True, sent=Sent.ANSWERED, retry_after=5.0)))
    with pytest.raises(resilience.OverloadedError, match=r"left alone for 5\.0 s") as caught:
        house.send(call, good)
    assert caught.value.retry_after == pytest.approx(5.0)
    house.runtime.advance(5)
    assert house.send(call, good) is GOOD


@pytest.mark.parametrize(
    ("verdicts", "left", "waits"),
    [
        ((REFUSED,), 1, False),  # others answer
        ((REFUSED,), 0, True),  # and yet: what is sent last goes to where the name points now
        ((REFUSED, REFUSED), 1, True),
        ((REFUSED, BAD), 1, False),
        ((REFUSED, BAD), 0, True),
        ((BAD, BAD), 0, False),  # they are there, and fail
    ],
)
def test_a_call_that_nobody_took_waits_for_fresh_addresses(
    verdicts: tuple[Verdict, ...], left: int, *, waits: bool
) -> None:
    house = House(4)
    for _ in range(4):
        house.send(house.call(), good)
    asked: list[RoutedCall] = []

    async def renewal(call: RoutedCall) -> None:
        asked.append(call)

    call = house.call()
    call.sends_left = len(verdicts) + left
    for verdict in verdicts:
        with pytest.raises(Failure):
            house.send(call, raising(verdict))
        call.sends_left -= 1
    house.room.renewal = renewal
    house.send(call, good)
    assert asked == [call] * waits


def test_nobody_there_is_said_with_the_reasons() -> None:
    house = House(0)
    with pytest.raises(resilience.NoEndpointsError, match="web:80 has no endpoints"):
        house.send(house.call(), good)
    house = House(7)
    for endpoint in house.endpoints:
        endpoint.mark(healthy=False)
    house.endpoints[0].mark(draining=True, ejected=True)
    with pytest.raises(resilience.NoEndpointsError) as caught:
        house.send(house.call(), good)
    assert "10.0.0.1:80 is draining, unhealthy, ejected" in str(caught.value)
    assert str(caught.value).endswith(" and 2 more")


def test_the_first_circuit_to_admit_again_is_named() -> None:
    house = House(2, circuit=CircuitOptions(open_for=4.0))
    for endpoint, when in zip(house.endpoints, (98.0, 97.0), strict=True):
        assert endpoint.circuit is not None
        endpoint.circuit.force("open", when)
    with pytest.raises(
        resilience.CircuitOpenError, match=r"of 2, the first circuit for 10\.0\.0\.2:80 is open"
    ) as caught:
        house.send(house.call(), good)
    assert caught.value.retry_after == pytest.approx(1.0)
    assert caught.value.endpoint == "10.0.0.2:80"


def test_bodies_outlive_their_call_and_settle_later() -> None:
    house = House(1, limit=9, circuit=CircuitOptions())

    async def streams(call: RoutedCall) -> Verdict:
        call.attempts[-1].body_pending = True
        return GOOD

    call = house.call()
    house.send(call, streams)
    (attempt,) = house.room.streams
    assert house.taken() == [1]
    attempt.settle(GOOD, house.runtime.now())
    assert (house.taken(), house.room.streams) == ([0], set())


def test_abandoned_bodies_settle_with_the_next_call_or_wake_who_waits() -> None:
    for total in (None, 1.0):
        house = House(1, limit=1 if total is None else 9, total=total)

        async def streams(call: RoutedCall) -> Verdict:
            call.attempts[-1].body_pending = True
            return GOOD

        call = house.call()
        house.send(call, streams)
        call.attempts[-1].abandon(GOOD)
        assert house.send(house.call(), good) is GOOD
        call = house.call()
        house.send(call, streams)
        waiting = house.runtime.spawn(lambda house=house: house.room.around(house.call(), good))
        house.runtime.advance(1)
        assert not waiting.done
        call.attempts[-1].abandon(GOOD)
        house.runtime.advance(0)
        assert waiting.done
        assert waiting.error is None
        assert house.taken() == [0]
        assert not house.room.line.waiters


def test_a_probe_is_judged_at_its_headers() -> None:
    house = House(1, limit=9, circuit=CircuitOptions(open_for=1.0))
    circuit = house.endpoints[0].circuit
    assert circuit is not None
    circuit.force("open", 100.0)
    house.runtime.advance(2)

    async def streams(call: RoutedCall) -> Verdict:
        call.attempts[-1].body_pending = True
        return GOOD

    house.send(house.call(), streams)
    assert circuit.state == "closed"
    assert house.taken() == [1]
    names = [event.name for event in house.events]
    assert names[-3:] == ["circuit_half_open", "circuit_closed", "attempt"]


def test_a_balancer_that_observes_is_told() -> None:
    told: list[tuple[Any, ...]] = []

    class Curious(resilience.RoundRobin):
        def observe(self, *facts: Any) -> None:
            told.append(facts)

    house = House(1)
    room = Room("web:80", Curious(), Line(), house.events.append, lambda level: False)
    room.update(house.endpoints)
    house.runtime.run(lambda: room.around(house.call(), good))
    with pytest.raises(Failure):
        house.runtime.run(lambda: room.around(house.call(), raising(BAD)))
    assert [(endpoint, verdict.blame) for endpoint, _, verdict, _ in told] == [
        (house.endpoints[0], Blame.GOOD),
        (house.endpoints[0], Blame.BAD),
    ]
    assert house.events == []


def test_ok_is_what_a_reply_is_judged_as() -> None:
    assert judge(Ok(BAD), None) is BAD


def test_a_clients_last_slot_taken_by_somebody_else_is_waited_for() -> None:
    house = House(1, limit=9, total=1)
    total = house.room.total
    assert total is not None

    class Raced(resilience.RoundRobin):
        raced = False

        def pick(self, call: Any, usable: Callable[[Endpoint], bool], /) -> Endpoint | None:
            if not self.raced:
                self.raced = True
                total.take()  # another service's call was faster
            return super().pick(call, usable)

    house.room.balancer = Raced()
    house.room.update(house.endpoints)
    task = house.runtime.spawn(lambda: house.room.around(house.call(), good))
    house.runtime.advance(1)
    assert not task.done
    total.give_back()
    house.runtime.advance(0)
    assert task.done
    assert task.error is None
    assert (house.taken(), total.taken) == ([0], 0)


def test_a_slot_handed_over_while_its_endpoint_leaves_goes_back() -> None:
    house = House(1)

    async def leaves(call: RoutedCall) -> None:
        await house.runtime.sleep(1)
        # The slot goes to whoever waits, and before that one looks, the endpoint is gone.
        house.endpoints[0].mark(draining=True)

    house.runtime.spawn(lambda: house.room.around(house.call(), leaves))
    house.runtime.advance(0)
    waiting = house.runtime.spawn(lambda: house.room.around(house.call(), good))
    house.runtime.advance(2)
    assert isinstance(waiting.error, resilience.NoEndpointsError)
    assert house.taken() == [0]


def test_what_has_opened_a_circuit_only_now_is_told() -> None:
    house = House(1, circuit=CircuitOptions())
    circuit = house.endpoints[0].circuit
    assert circuit is not None
    house.endpoints[0].circuit = OpensWhenAsked()  # type: ignore[assignment]
    with pytest.raises(resilience.CircuitOpenError):
        house.send(house.call(), good)
    assert [event.name for event in house.events] == ["circuit_opened"]
    assert house.taken() == [0]


def test_settling_what_was_abandoned_is_a_race_that_nobody_loses() -> None:
    class Gone(deque[Any]):
        def __bool__(self) -> bool:
            return True  # seen, and taken by another thread before we are

    house = House(1)
    house.room._abandoned = Gone()
    house.room.settle_abandoned()
    assert house.taken() == [0]


def test_a_circuit_that_refuses_who_has_waited_ends_the_wait() -> None:
    house = House(1)
    house.endpoints[0].slots.take()
    waiting = house.runtime.spawn(lambda: house.room.around(house.call(), good))
    house.runtime.advance(1)
    house.endpoints[0].circuit = OpensWhenAsked()  # type: ignore[assignment]
    house.endpoints[0].slots.give_back()
    house.runtime.advance(0)
    assert isinstance(waiting.error, resilience.CircuitOpenError)
    assert house.taken() == [0]


def test_a_stale_connections_second_send_waits_its_turn_for_the_clients_slot() -> None:
    house = House(1, limit=9, total=1)
    order: list[str] = []

    async def stale(call: RoutedCall) -> Verdict:
        order.append("first")
        if len(call.attempts) == 1:
            await house.runtime.sleep(1)
            raise Failure(STALE)
        return GOOD

    async def second(call: RoutedCall) -> Verdict:
        order.append("second")
        await house.runtime.sleep(1)
        return GOOD

    one = house.runtime.spawn(lambda: house.room.around(house.call(), stale))
    house.runtime.advance(0)
    other = house.runtime.spawn(lambda: house.room.around(house.call(), second))
    house.runtime.advance(5)
    assert one.done
    assert other.done
    assert (one.error, other.error) == (None, None)
    assert order == ["first", "second", "first"]
    assert house.taken() == [0]


class Meddling:
    """A runtime under which something happens just before a call stands in the line, as in another thread."""

    def __init__(self, runtime: VirtualRuntime, act: Callable[[], None]) -> None:
        self._runtime = runtime
        self._acts = [act]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def gate(self) -> Any:
        if self._acts:
            self._acts.pop()()
        return self._runtime.gate()


def test_endpoints_that_come_between_the_look_and_the_line_are_not_overlooked() -> None:
    house = House(1)
    (old,) = house.endpoints
    assert old.slots.take()
    new = Endpoint(Address("10.0.0.9", 80), limit=1, line=house.room.line)
    call = house.call(patience=5.0)
    call.runtime = Meddling(house.runtime, lambda: house.room.update([new]))  # type: ignore[assignment]
    assert house.send(call, good) is GOOD
    assert call.tried == (new,)
    assert house.runtime.now() == 100.0
    assert not house.room.line.waiters
    assert (old.slots.taken, new.slots.taken) == (1, 0)


@pytest.mark.parametrize("total", [None, 1])
def test_a_stream_abandoned_between_the_look_and_the_line_is_settled(total: float | None) -> None:
    house = House(1, limit=1 if total is None else 9, total=total)

    async def stream(call: RoutedCall) -> Verdict:
        call.attempts[-1].body_pending = True
        return GOOD

    streaming = house.call()
    house.send(streaming, stream)
    call = house.call(patience=5.0)
    abandon = lambda: house.room.abandon(streaming.attempts[0], GOOD)
    call.runtime = Meddling(house.runtime, abandon)  # type: ignore[assignment]
    assert house.send(call, good) is GOOD
    assert house.runtime.now() == 100.0
    assert house.taken() == [0]
