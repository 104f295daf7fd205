"""The circuit that minds slow calls, starts slowly, and can be overruled."""

import math

import pybreaker
import pytest

from resilience.core.errors import CircuitOpenError, ConfigurationError
from resilience.core.outcome import BAD, GOOD, UNKNOWN
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.circuit import Circuit
from resilience.policies.deep_circuit import DeepCircuit, Mode, circuit_for
from resilience.policies.permits import CircuitOptions, Permit, Rejected
from resilience.runtimes.virtual import VirtualRuntime
from tests.composition.fake_time import BlockingOnFakeTime, on


class Heard(pybreaker.CircuitBreakerListener):
    def __init__(self):
        self.changes = []

    def state_change(self, cb, old_state, new_state):
        self.changes.append((old_state.name, new_state.name))


def slow(**options):
    return DeepCircuit(CircuitOptions(slow_after=1.0, minimum_calls=4, **options))


# Slow calls.


def test_calls_that_hang_open_it_while_they_hang():
    runtime = VirtualRuntime()
    heard = Heard()
    breaker = CircuitBreaker(slow_after=1.0, minimum_calls=4, listeners=[heard], name="db")
    with on(runtime):
        for _ in range(4):
            runtime.spawn(lambda: breaker.acall(runtime.sleep, 60.0))
        runtime.advance(0.9)
        runtime.run(lambda: breaker.acall(runtime.sleep, 0.0))
        runtime.advance(0.1)
        with pytest.raises(CircuitOpenError, match=r"circuit for db is open; next probe in 1\.0 s"):
            runtime.run(lambda: breaker.acall(runtime.sleep, 0.0))
    assert heard.changes == [("closed", "open")]


def test_the_ratio_is_of_calls_whose_speed_is_known():
    circuit = slow()
    hung = [circuit.admit(100.0) for _ in range(3)]
    for _ in range(4):
        circuit.settle(circuit.admit(100.0), GOOD, now=100.5)
    assert circuit.slow_counts(101.5) == (7, 3)
    assert circuit.state == "closed"
    assert circuit.settle(hung[0], GOOD, now=102.0) == ()
    assert circuit.slow_counts(102.0) == (7, 3), "it has been counted"
    circuit.admit(102.0)
    assert [change.reason for change in circuit.settle(hung[1], GOOD, now=103.0)] == [
        "4 of 8 calls took longer than 1 s within 10 s"
    ]
    assert circuit.state == "open"


def test_a_call_that_is_cut_before_it_is_slow_says_nothing():
    circuit = slow()
    circuit.settle(circuit.admit(100.0), UNKNOWN, now=100.5)
    assert circuit.slow_counts(100.5) == (0, 0)


def test_what_is_out_of_the_window_is_forgotten():
    circuit = slow()
    for _ in range(3):
        circuit.admit(100.0)
    assert circuit.slow_counts(101.0) == (3, 3)
    assert circuit.slow_counts(112.0) == (0, 0)


def test_a_slow_probe_opens_it_again():
    circuit = slow()
    circuit.force("half-open", 100.0)
    probe = circuit.admit(100.0)
    assert probe.probe
    assert [change.state for change in circuit.settle(probe, GOOD, now=101.0)] == ["open"]
    circuit.force("half-open", 102.0)
    assert [change.state for change in circuit.settle(circuit.admit(102.0), GOOD, now=102.5)] == ["closed"]


def test_a_result_from_an_earlier_state_changes_nothing():
    circuit = slow()
    late = circuit.admit(100.0)
    circuit.force("open", 100.0)
    circuit.force("closed", 100.0)
    assert circuit.settle(late, BAD, now=100.5) == ()
    assert circuit.slow_counts(200.0) == (0, 0)


# Slow start.


def test_after_closing_calls_in_flight_double_with_each_round():
    circuit = DeepCircuit(CircuitOptions(slow_start=60.0, open_for=5.0, max_open_for=5.0))
    now = 100.0
    circuit.force("half-open", now)
    circuit.settle(circuit.admit(now), GOOD, now=now)
    assert circuit.state == "closed"
    rounds = []
    for _ in range(5):
        now += 1.0
        permits = []
        while circuit.would_admit(now):
            permits.append(circuit.admit(now))
        assert isinstance(circuit.admit(now), Rejected)
        assert circuit.retry_after(now) == 5.0
        rounds.append(len(permits))
        for permit in permits:
            circuit.settle(permit, GOOD, now=now)
    assert rounds == [1, 2, 4, 8, 16]
    assert circuit.retry_after(now) == 0.0
    assert circuit.retry_after(161.0) == 0.0
    for _ in range(1000):
        assert isinstance(circuit.admit(161.0), Permit)


def test_failures_do_not_widen_a_slow_start_and_still_count():
    circuit = DeepCircuit(CircuitOptions(slow_start=60.0, consecutive_failures=2))
    circuit.force("half-open", 100.0)
    circuit.settle(circuit.admit(100.0), GOOD, now=100.0)
    circuit.settle(circuit.admit(100.0), BAD, now=100.0)
    permit = circuit.admit(100.0)
    assert not circuit.would_admit(100.0)
    assert [change.state for change in circuit.settle(permit, BAD, now=100.0)] == ["open"]


def test_calls_that_hang_hold_their_place_in_a_slow_start():
    circuit = DeepCircuit(CircuitOptions(slow_start=60.0, slow_after=1.0, minimum_calls=100))
    circuit.force("half-open", 100.0)
    circuit.settle(circuit.admit(100.0), GOOD, now=100.0)
    hung = circuit.admit(100.0)
    assert isinstance(circuit.admit(105.0), Rejected), "slow by now, and still under way"
    assert circuit.slow_counts(105.0) == (1, 1)
    circuit.settle(hung, BAD, now=106.0)
    assert isinstance(circuit.admit(106.0), Permit)
    assert isinstance(circuit.admit(106.0), Rejected)


def test_the_error_of_a_slow_start_says_so():
    runtime = VirtualRuntime()
    breaker = CircuitBreaker(slow_start=60.0)
    with on(runtime):
        breaker.half_open()
        runtime.run(lambda: breaker.acall(runtime.sleep, 0.0))
        runtime.spawn(lambda: breaker.acall(runtime.sleep, 5.0))
        runtime.advance(1.0)
        with pytest.raises(CircuitOpenError, match=r"starting slowly; try again in 1\.0 s"):
            runtime.run(lambda: breaker.acall(runtime.sleep, 0.0))
        runtime.advance(10.0)


def test_it_starts_at_full_speed_when_new():
    circuit = DeepCircuit(CircuitOptions(slow_start=60.0))
    assert all(isinstance(circuit.admit(100.0), Permit) for _ in range(100))


# Beside what it does more, and overruled.


def calls(breaker, runtime, function=int):
    with on(runtime):
        try:
            return breaker.call(function)
        except (CircuitOpenError, ConnectionError) as error:
            return error


def fails():
    raise ConnectionError


@pytest.mark.parametrize("deeper", [{"slow_after": 60.0}, {"slow_start": 60.0}, {"shadow": True}], ids=str)
def test_a_run_of_failures_opens_it_whatever_came_before(deeper):
    runtime = BlockingOnFakeTime()
    breaker = CircuitBreaker(consecutive_failures=3, minimum_calls=1000, **deeper)
    calls(breaker, runtime, fails)
    assert calls(breaker, runtime) == 0
    for failures in range(3):
        assert (breaker.current_state, breaker.fail_counter) == ("closed", failures)
        calls(breaker, runtime, fails)
    assert breaker.current_state == "open"


def test_forced_open_refuses_until_told_otherwise():
    runtime = BlockingOnFakeTime()
    heard = Heard()
    breaker = CircuitBreaker(name="db", listeners=[heard])
    breaker.force_open()
    assert (breaker.mode, breaker.current_state) == ("forced-open", "open")
    runtime.clock += 1e6
    error = calls(breaker, runtime)
    assert str(error) == "circuit for db is forced open"
    assert error.retry_after is None
    breaker.force_open()
    breaker.enable()
    assert (breaker.mode, breaker.current_state) == ("normal", "closed")
    assert calls(breaker, runtime) == 0
    breaker.force_open()
    breaker.close()
    assert calls(breaker, runtime) == 0
    assert heard.changes == [("closed", "open"), ("open", "closed")] * 2


def test_disabled_lets_everything_pass_and_counts_nothing():
    runtime = BlockingOnFakeTime()
    breaker = CircuitBreaker(consecutive_failures=1)
    calls(breaker, runtime, fails)
    assert breaker.current_state == "open"
    breaker.disable()
    assert breaker.mode == "disabled"
    for _ in range(20):
        assert isinstance(calls(breaker, runtime, fails), ConnectionError)
    assert breaker.current_state == "closed"
    breaker.enable()
    assert breaker.mode == "normal"
    calls(breaker, runtime, fails)
    assert breaker.current_state == "open"


def test_shadow_lets_everything_pass_and_tells_what_it_would_do():
    runtime = BlockingOnFakeTime()
    heard = Heard()
    breaker = CircuitBreaker(consecutive_failures=2, shadow=True, listeners=[heard])
    assert breaker.mode == "shadow"
    for _ in range(5):
        assert isinstance(calls(breaker, runtime, fails), ConnectionError)
    assert breaker.current_state == "open"
    runtime.clock += 2.0
    assert calls(breaker, runtime) == 0
    assert breaker.current_state == "closed"
    assert heard.changes == [("closed", "open"), ("open", "half-open"), ("half-open", "closed")]
    breaker.open()
    assert breaker.mode == "shadow"
    assert calls(breaker, runtime) == 0
    breaker.enable()
    assert isinstance(calls(breaker, runtime), CircuitOpenError)


def test_a_breaker_in_use_can_be_overruled_and_what_it_let_in_counts_no_more():
    runtime = VirtualRuntime()
    breaker = CircuitBreaker(consecutive_failures=1)

    async def fails_later():
        await runtime.sleep(1.0)
        raise ConnectionError

    with on(runtime):
        runtime.spawn(lambda: breaker.acall(fails_later))
        runtime.advance(0.5)
        breaker.shadow()
        runtime.advance(1.0)
        assert breaker.current_state == "closed"
        breaker.enable()
    plain = CircuitBreaker()
    plain.enable()
    assert isinstance(plain._circuit, Circuit)
    assert not isinstance(plain._circuit, DeepCircuit)


def test_the_machine_answers_for_its_mode():
    for mode, admits in ((Mode.FORCED_OPEN, False), (Mode.DISABLED, True), (Mode.SHADOW, True)):
        circuit = circuit_for(CircuitOptions(), mode=mode)
        assert circuit.would_admit(100.0) is admits
        assert circuit.retry_after(100.0) == (0.0 if admits else math.inf)
        permit = circuit.admit(100.0)
        assert isinstance(permit, Permit if admits else Rejected)
        if admits:
            assert circuit.settle(permit, BAD, now=100.0) == ()
    forced = circuit_for(CircuitOptions(), mode=Mode.FORCED_OPEN)
    forced.put(Mode.FORCED_OPEN, 100.0)
    assert forced.invite(200.0) == ()
    opened = DeepCircuit(CircuitOptions())
    opened.force("open", 100.0)
    assert [change.state for change in opened.invite(100.1)] == ["half-open"]
    assert opened.retry_after(100.1) == 0.0
    assert opened.would_admit(100.1)


def test_endpoints_get_the_machine_that_the_template_asks_for():
    assert type(CircuitBreaker().fresh(draw=lambda: 0.5)) is Circuit
    assert type(CircuitBreaker(slow_after=2.0).fresh(draw=lambda: 0.5)) is DeepCircuit
    shadow = CircuitBreaker(shadow=True).fresh(draw=lambda: 0.5)
    assert isinstance(shadow, DeepCircuit)
    assert shadow.mode is Mode.SHADOW
    assert Circuit(CircuitOptions()).drain() == ()


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"slow_after": 0}, "slow_after"),
        ({"slow_after": math.inf}, "slow_after"),
        ({"slow_after": "1"}, "slow_after"),
        ({"slow_ratio": 0}, "slow_ratio"),
        ({"slow_ratio": 1.5}, "slow_ratio"),
        ({"slow_start": -1}, "slow_start"),
        ({"slow_start": math.nan}, "slow_start"),
        ({"shadow": 1}, "shadow"),
    ],
)
def test_bad_arguments_are_named(arguments, argument):
    with pytest.raises(ConfigurationError) as caught:
        CircuitBreaker(**arguments)
    assert caught.value.argument == argument


@pytest.mark.parametrize("pause", range(1, 14))
def test_the_window_of_slow_calls_holds_ten_tenths_neither_more_nor_less(pause):
    circuit = DeepCircuit(CircuitOptions(slow_after=0.1, window=10.0, minimum_calls=10**6))
    for second in range(23):
        for part, counted in ((0.2, 1), (0.5, 2)):
            circuit.admit(second + part)
            known = 2 * min(second, 9) + counted
            assert circuit.slow_counts(second + part + 0.2) == (known, known)
    left = 2 * max(0, 10 - pause)
    assert circuit.slow_counts(22.9 + pause) == (left, left)


def test_as_many_slow_calls_as_it_takes_open_it_and_not_one_less():
    circuit = slow()
    for _ in range(3):
        circuit.admit(100.0)
    assert circuit.slow_counts(101.0) == (3, 3)
    assert circuit.drain() == ()
    circuit.admit(101.0)
    assert circuit.slow_counts(102.0) == (0, 0), "it has opened, and counts anew"
    assert [change.reason for change in circuit.drain()] == ["4 of 4 calls took longer than 1 s within 10 s"]


def test_slow_calls_count_anew_after_every_change_of_state():
    circuit = slow()
    circuit.admit(100.0)
    assert circuit.slow_counts(101.0) == (1, 1)
    for state in ("open", "half-open", "closed"):
        circuit.force(state, 101.0)
        assert circuit.slow_counts(101.0) == (0, 0)


def test_a_slow_start_begins_when_it_closes():
    circuit = DeepCircuit(CircuitOptions(slow_start=10.0, open_for=2.0))
    circuit.force("open", 100.0)
    circuit.force("half-open", 102.0)
    circuit.force("closed", 103.0)
    assert isinstance(circuit.admit(103.0), Permit)
    assert isinstance(circuit.admit(103.0), Rejected)
    assert circuit.refuses(103.0) == circuit.retry_after(103.0) == 2.0, "no longer than an open circuit at first"
    assert circuit.refuses(112.5) == 0.5
    assert circuit.refuses(113.0) == 0.0
    assert isinstance(circuit.admit(113.0), Permit)


def test_the_draw_and_being_alone_are_the_plain_machines():
    for options in (CircuitOptions(open_for=1.0, max_open_for=100.0), CircuitOptions(open_for=1.0, slow_after=5.0)):
        circuit = circuit_for(options, draw=lambda: 1.0)
        circuit.force("open", 100.0)
        circuit.force("half-open", 101.0)
        (again,) = circuit.force("open", 101.0)
        assert again.open_for == 3.0, "2 s, and half as much again"
    sole = DeepCircuit(CircuitOptions(open_for=20.0), sole=True)
    (opened,) = sole.force("open", 100.0)
    assert opened.open_for == 5.0


def test_a_slow_probe_that_says_nothing_still_says_nothing():
    circuit = slow(probes=1)
    circuit.force("half-open", 100.0)
    assert circuit.settle(circuit.admit(100.0), UNKNOWN, now=105.0) == ()
    assert circuit.state == "half-open"


def test_no_invitation_opens_what_was_forced_open_and_its_reason_is_kept():
    circuit = DeepCircuit(CircuitOptions(open_for=4.0))
    circuit.put(Mode.FORCED_OPEN, 100.0)
    assert circuit.invite(101.0) == ()
    assert circuit.state == "open"
    assert [change.reason for change in circuit.put(Mode.NORMAL, 101.0)] == ["by hand"]


def test_an_invitation_says_why():
    for reason, told in (((), "a health check passed"), (("nowhere else to go",), "nowhere else to go")):
        circuit = DeepCircuit(CircuitOptions())
        circuit.force("open", 100.0)
        assert [change.reason for change in circuit.invite(100.5, *reason)] == [told]


def test_disabled_nothing_counts_that_was_let_in_before_or_since():
    circuit = DeepCircuit(CircuitOptions(slow_after=1.0, minimum_calls=1, consecutive_failures=1))
    before, hung = circuit.admit(100.0), circuit.admit(100.0)
    assert circuit.put(Mode.DISABLED, 100.0) == ()
    since = circuit.admit(100.0)
    for permit in (before, since):
        assert circuit.settle(permit, BAD, now=105.0) == ()
    assert (circuit.state, circuit.drain()) == ("closed", ())
    assert circuit.put(Mode.NORMAL, 106.0) == ()
    for permit in (hung, since):
        assert circuit.settle(permit, BAD, now=107.0) == ()
    assert (circuit.slow_counts(107.0), circuit.counts(107.0)) == ((0, 0), (0, 0))
    assert [change.state for change in circuit.settle(circuit.admit(107.0), BAD, now=107.0)] == ["open"]


def test_whoever_lets_a_disabled_circuit_decide_again_finds_no_slow_start_in_one_that_was_closed():
    circuit = DeepCircuit(CircuitOptions(slow_start=60.0))
    circuit.put(Mode.DISABLED, 100.0)
    circuit.put(Mode.NORMAL, 101.0)
    assert all(isinstance(circuit.admit(101.0), Permit) for _ in range(100))


def test_a_success_of_an_earlier_state_does_not_widen_a_slow_start():
    circuit = DeepCircuit(CircuitOptions(slow_start=60.0))
    late = circuit.admit(100.0)
    circuit.force("open", 100.0)
    circuit.force("closed", 101.0)
    circuit.settle(late, GOOD, now=101.0)
    assert isinstance(circuit.admit(101.0), Permit)
    assert isinstance(circuit.admit(101.0), Rejected)


def test_a_slow_start_is_as_long_soon_after_the_clock_began():
    circuit = DeepCircuit(CircuitOptions(slow_start=0.25, open_for=0.125))
    circuit.force("half-open", 0.125)
    circuit.force("closed", 0.25)
    circuit.admit(0.25)
    assert isinstance(circuit.admit(0.375), Rejected)
    assert isinstance(circuit.admit(0.5), Permit)


def test_a_call_that_is_not_slow_yet_hides_none_that_is():
    circuit = slow()
    for began in (100.0, 100.0, 100.5):
        circuit.admit(began)
    assert circuit.slow_counts(101.0) == (2, 2)


def test_openings_that_nobody_has_been_told_of_pile_up():
    circuit = slow()
    for now in (100.0, 102.0):
        for _ in range(4):
            circuit.admit(now)
        circuit.slow_counts(now + 1.0)
        circuit.force("closed", now + 1.0)
    assert [change.state for change in circuit.drain()] == ["open", "open"]
    assert circuit.drain() == ()


@pytest.mark.parametrize("window", [0.5, 10.0, 40.0])
def test_a_slow_call_counts_for_nine_tenths_of_the_window_and_up_to_one_more(window):
    tenth = window / 10
    circuit = DeepCircuit(CircuitOptions(slow_after=0.25 * tenth, window=window, minimum_calls=10**6))
    for number in (399, 400):
        circuit.admit((number + 0.25) * tenth)
        circuit.slow_counts((number + 0.75) * tenth)
    assert circuit.slow_counts(409.75 * tenth) == (1, 1)
    assert circuit.slow_counts(410.25 * tenth) == (0, 0)


def test_a_circuit_overruled_for_the_first_time_goes_on_counting():
    runtime = BlockingOnFakeTime()
    breaker = CircuitBreaker(consecutive_failures=1)
    with on(runtime):
        breaker.shadow()
    calls(breaker, runtime, fails)
    assert (breaker.mode, breaker.current_state) == ("shadow", "open")
