"""What goes on under a new description; ``tests/test_registry.py`` has what a caller sees of it."""

from dataclasses import dataclass

import pybreaker
import pytest

from resilience.core.errors import CircuitOpenError
from resilience.core.outcome import BAD, GOOD, Err, Ok
from resilience.policies.adaptive import AdaptiveLimit
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.budget import RetryBudget
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.circuit import SOLE_MAX_OPEN, Circuit
from resilience.policies.deep_circuit import DeepCircuit, Mode
from resilience.policies.fallback import Fallback
from resilience.policies.hedge import Hedge
from resilience.policies.keyed import KeyedCircuitBreaker
from resilience.policies.latencies import quantile
from resilience.policies.laws import Aimd, Sample
from resilience.policies.permits import CLOSED, HALF_OPEN, OPEN, CircuitOptions, Rejected
from resilience.policies.rate_limit import RateLimit
from resilience.policies.retry import Retry
from resilience.policies.successions import (
    Balances,
    circuit_after,
    latencies_after,
    limit_after,
    policies_after,
    policy_after,
)
from tests.composition.fake_time import BlockingOnFakeTime, on

ANEW = [(Circuit, {"window": 5.0}), (DeepCircuit, {"window": 10.0})]
"""Where a plain circuit with a window of 10 s does not go on itself: another window, another kind."""


def circuit(make=Circuit, **options):
    return make(CircuitOptions(**options), draw=lambda: 0.0)


def failing(it, times, now=0.0):
    return [change.state for _ in range(times) for change in it.settle(it.admit(now), BAD, now=now)]


@pytest.mark.parametrize("make", [Circuit, DeepCircuit])
def test_a_circuit_of_the_same_kind_and_window_goes_on_under_the_new_options(make):
    known, made = circuit(make), circuit(make, consecutive_failures=7)
    permit = known.admit(0.0)
    assert failing(known, 4) == []
    assert circuit_after(known, made) is known
    assert known.options is made.options
    known.settle(permit, GOOD, now=0.0)
    assert known.counts(0.0) == (1, 4)
    assert failing(known, 5) == [OPEN], "5 of 10, and not yet 7 in a row"


def test_the_mode_is_that_of_the_new_description():
    known = circuit(DeepCircuit, consecutive_failures=1)
    assert circuit_after(known, DeepCircuit(CircuitOptions(), mode=Mode.SHADOW)) is known
    assert known.mode is Mode.SHADOW
    assert circuit_after(known, circuit(DeepCircuit)).mode is Mode.NORMAL


@pytest.mark.parametrize("mode", [Mode.FORCED_OPEN, Mode.DISABLED])
@pytest.mark.parametrize("window", [10.0, 20.0])
def test_what_was_forced_open_or_disabled_begins_closed_and_what_is_to_be_says_so(mode, window):
    options = CircuitOptions(consecutive_failures=1)
    for known in (circuit(DeepCircuit), circuit(Circuit)):
        known.force(OPEN, 0.0)
        late = known.admit(1.0)
        overruled = circuit_after(known, DeepCircuit(CircuitOptions(window=window), mode=mode))
        assert overruled.mode is mode
        assert overruled.state == (OPEN if mode is Mode.FORCED_OPEN else CLOSED)
        for made in (Circuit(options), DeepCircuit(options)):
            again = circuit_after(overruled, made)
            assert (again.state, again.retry_after(0.0)) == (CLOSED, 0.0)
            assert again.settle(late, BAD, now=2.0) == ()


@pytest.mark.parametrize(("make", "options"), ANEW)
def test_another_window_or_kind_counts_anew_and_goes_on_with_the_run(make, options):
    known, made = circuit(), circuit(make, **options)
    failing(known, 4)
    assert circuit_after(known, made) is made
    assert made.counts(0.0) == (0, 0)
    assert made.failures_in_a_row == 4
    assert failing(made, 1) == [OPEN]


@pytest.mark.parametrize(("make", "options"), ANEW)
def test_another_window_or_kind_goes_on_with_the_back_off(make, options):
    known = circuit(open_for=1.0)
    known.force(OPEN, 0.0)
    failing(known, 1, now=1.0)
    made = circuit_after(known, circuit(make, open_for=1.0, **options))
    assert (made.state, made.retry_after(1.0), made.relents_at) == (OPEN, 2.0, 2.0)
    failing(made, 1, now=3.0)
    assert made.retry_after(3.0) == 4.0


@pytest.mark.parametrize(("make", "options"), ANEW)
def test_another_window_or_kind_goes_on_with_the_round_of_probes(make, options):
    known = circuit(probes=2)
    known.force(HALF_OPEN, 0.0)
    known.settle(known.admit(0.0), GOOD, now=0.0)
    made = circuit_after(known, circuit(make, probes=2, **options))
    assert made.probes_passed == 1
    probe = made.admit(0.0)
    assert isinstance(made.admit(0.0), Rejected)
    assert [change.state for change in made.settle(probe, GOOD, now=0.0)] == [CLOSED]


@pytest.mark.parametrize(("make", "options"), ANEW)
@pytest.mark.parametrize("probes", [1, 2])
def test_fewer_probes_than_have_passed_need_one_more(make, options, probes):
    known = circuit(probes=3)
    known.force(HALF_OPEN, 0.0)
    for _ in range(2):
        known.settle(known.admit(0.0), GOOD, now=0.0)
    made = circuit_after(known, circuit(make, probes=probes, **options))
    assert made.would_admit(0.0)
    assert [change.state for change in made.settle(made.admit(0.0), GOOD, now=0.0)] == [CLOSED]


@pytest.mark.parametrize(("make", "options"), ANEW)
def test_what_another_circuit_has_let_in_counts_no_more(make, options):
    known = circuit()
    call = known.admit(0.0)
    made = circuit_after(known, circuit(make, consecutive_failures=1, **options))
    assert made.settle(call, BAD, now=0.0) == ()
    known.force(HALF_OPEN, 0.0)
    probe = known.admit(0.0)
    made = circuit_after(known, circuit(make, consecutive_failures=1, **options))
    made.settle(made.admit(0.0), GOOD, now=0.0)
    made.settle(made.admit(0.0), GOOD, now=0.0)
    assert made.settle(probe, GOOD, now=0.0) == ()
    assert (made.state, made.counts(0.0)) == (CLOSED, (1, 0))
    assert failing(made, 1) == [OPEN]


def test_the_only_endpoint_of_a_service_stays_it():
    known = Circuit(CircuitOptions(), sole=True)
    made = circuit_after(known, circuit(window=5.0, open_for=20.0))
    assert [change.open_for for change in made.force(OPEN, 0.0)] == [SOLE_MAX_OPEN]
    assert not circuit_after(circuit(), circuit(window=5.0)).sole


def test_what_is_done_to_a_breaker_by_hand_happens_on_the_same_clock():
    runtime = BlockingOnFakeTime()
    known = CircuitBreaker(listeners=[pybreaker.CircuitBreakerListener()])
    with on(runtime):
        known.call(int)
    going_on = policy_after(known, CircuitBreaker(open_for=4.0), Balances(runtime.now()))
    going_on.open()
    with on(runtime):
        assert going_on.refusal(int).retry_after == 4.0


def test_a_hedge_goes_on_with_the_latencies_if_both_go_by_them():
    adaptive, fixed = Hedge(after=quantile(0.9, ceiling=1.0)), Hedge(after=1.0, extra=2)
    made = Hedge(after=quantile(0.5, ceiling=2.0), extra=3)
    going_on = latencies_after(adaptive, made)
    assert (going_on, going_on.latencies) == (made, adaptive.latencies)
    assert made.latencies is not adaptive.latencies
    assert latencies_after(fixed, made).latencies is made.latencies
    going_on = latencies_after(adaptive, fixed)
    assert (going_on, going_on.latencies) == (fixed, None)


@pytest.mark.parametrize(("known", "made"), [(False, None), (None, False), (False, False)])
def test_a_retry_with_a_budget_and_one_without_have_nothing_to_hand_on(known, made):
    before, after = Retry(budget=known), Retry(budget=made)
    assert policy_after(before, after, Balances(0.0)).state is after.state


def test_a_fallback_keeps_as_many_answers_as_its_new_description_says():
    known = Fallback(last_good=60.0, most=1)
    going_on = policy_after(known, Fallback(last_good=60.0, most=2), Balances(0.0))
    for key in "abc":
        going_on.kept.keep(key, key.upper(), 0.0)
    assert [going_on.kept.get(key, 0.0, 60.0) for key in "abc"] == [None, ("B",), ("C",)]


@dataclass
class Own:
    """A law of somebody's own, without bounds; it is its own limit."""

    limit: float

    def begin(self):
        return Own(self.limit)

    def learn(self, sample, now):
        return self.limit


@pytest.mark.parametrize(("reached", "kept"), [(0.5, 1), (1, 1), (70.0, 70.0)])
def test_a_law_without_bounds_goes_on_where_the_limit_was_from_one(reached, kept):
    assert limit_after(Own(reached), Own(5), Own(6)).limit == kept


def test_a_limit_under_the_same_law_knows_what_it_knew():
    policy = AdaptiveLimit(Aimd(initial=100))
    late = Sample(began=0.0, took=1.0, in_flight=1, dropped=True)
    for now in (1.0, 2.0):
        policy.inside.take()
        policy.inside.give_back(late, now)
        assert policy.inside.limit == 90, "the second began before the step back: they speak of the same congestion"
        policy = policy_after(policy, AdaptiveLimit(Aimd(initial=100)), Balances(now))


# By hand, until told otherwise.


@pytest.mark.parametrize("options", [{}, {"slow_after": 1.0}, {"window": 5.0}, {"shadow": True}])
@pytest.mark.parametrize("way", ["force_open", "disable", "shadow"])
def test_what_was_done_by_hand_outlives_a_description(way, options):
    known = CircuitBreaker(name="db")
    getattr(known, way)()
    again = policy_after(known, CircuitBreaker(name="db", **options), Balances(0.0))
    again = policy_after(again, CircuitBreaker(name="db", **options), Balances(0.0))
    assert again.mode == known.mode != "normal"
    assert isinstance(again.outcome(int), Err if way == "force_open" else Ok)
    again.enable()
    assert (again.mode, again.current_state) == ("normal", "closed")
    assert again.outcome(int) == Ok(0)


def test_whoever_forced_it_open_can_take_that_back_after_a_new_description():
    known = CircuitBreaker(name="db")
    known.force_open()
    again = policy_after(known, CircuitBreaker(name="db", consecutive_failures=3), Balances(0.0))
    known.enable()
    assert again.outcome(int) == Ok(0)
    assert again.options.consecutive_failures == 3


def test_every_handle_on_a_circuit_means_what_is_in_force():
    first, second = CircuitBreaker(name="db"), CircuitBreaker(name="db", window=5.0)
    third = CircuitBreaker(name="db", slow_after=1.0)
    inside = policy_after(policy_after(first, second, Balances(0.0)), third, Balances(0.0))
    for handle in (first, second, third, inside):
        handle.force_open()
        assert isinstance(inside.outcome(int), Err)
        assert {it.mode for it in (first, second, third, inside)} == {"forced-open"}
        handle.enable()
        assert inside.outcome(int) == Ok(0)
    assert inside.options.slow_after == 1.0


def test_one_description_in_two_places_is_two_circuits():
    one, two, made = CircuitBreaker(), CircuitBreaker(), CircuitBreaker(consecutive_failures=1)
    one.open()
    balances = Balances(0.0)
    first, second = policy_after(one, made, balances), policy_after(two, made, balances)
    assert (first.current_state, second.current_state) == ("open", "closed")
    two.force_open()
    assert (first.mode, second.mode) == ("normal", "forced-open")


def test_calls_inside_count_nowhere_once_their_circuit_is_another_one():
    known = CircuitBreaker(consecutive_failures=1)

    def function():
        policy_after(known, CircuitBreaker(consecutive_failures=1, slow_after=1.0), Balances(0.0))
        raise ConnectionError

    assert isinstance(known.outcome(function).error, ConnectionError)
    assert known.current_state == "closed"
    assert known.outcome(int) == Ok(0)


# Which goes on with what.


def test_a_policy_that_is_kept_is_all_that_goes_on_with_its_state():
    first, second, new = Bulkhead(1), Bulkhead(2), Bulkhead(3)
    kept, other = policies_after((first, second), (first, new), Balances(0.0))
    assert kept is first
    assert other.slots is second.slots
    assert (first.slots.limit, second.slots.limit) == (1, 3)
    front, kept = policies_after((first,), (Bulkhead(10), first), Balances(0.0))
    assert kept is first
    assert front.slots is not first.slots
    assert first.slots.limit == 1


def test_policies_that_are_equal_are_not_the_same():
    known = (RateLimit(1.0), RateLimit(1.0))
    found = policies_after(known, (RateLimit(1.0), RateLimit(1.0)), Balances(0.0))
    assert [policy.bucket for policy in found] == [policy.bucket for policy in known]


def test_a_budget_of_several_stays_one_and_budgets_of_their_own_stay_so():
    balances, shared = Balances(0.0), RetryBudget()
    one, two = Retry(), Retry()
    first, second = (policy_after(known, Retry(budget=shared), balances) for known in (one, two))
    assert first.state is second.state is one.state
    balances = Balances(0.0)
    apart = [policy_after(known, Retry(budget=RetryBudget()), balances) for known in (first, second)]
    assert apart[0].state is one.state
    assert apart[1].state is not one.state


def test_what_was_described_goes_with_the_description():
    known = CircuitBreaker(shadow=True)
    assert policy_after(known, CircuitBreaker(), Balances(0.0)).mode == "normal"
    assert policy_after(CircuitBreaker(), CircuitBreaker(shadow=True), Balances(0.0)).mode == "shadow"
    known = CircuitBreaker(shadow=True)
    known.enable()
    assert policy_after(known, CircuitBreaker(shadow=True), Balances(0.0)).mode == "normal", "by hand too"


def test_what_was_let_in_before_somebody_overruled_it_counts_nowhere():
    known = circuit(DeepCircuit)
    permit = known.admit(0.0)
    known.put(Mode.FORCED_OPEN, 0.0)
    again = circuit_after(known, circuit(consecutive_failures=1))
    assert again.settle(permit, BAD, now=0.0) == ()
    assert again.state == CLOSED


def test_as_many_circuits_by_key_are_kept_as_the_new_description_says():
    known = KeyedCircuitBreaker(str)
    known.outcome(abs, 1)
    again = policy_after(known, KeyedCircuitBreaker(str, most=2), Balances(0.0))
    for number in (2, 3, 4):
        again.outcome(abs, number)
    assert list(again.circuits) == ["3", "4"]


def test_what_was_put_into_shadow_by_hand_draws_its_waits_from_its_callers_runtime():
    known = CircuitBreaker(consecutive_failures=1)
    known.shadow()
    breaker = policy_after(known, CircuitBreaker(consecutive_failures=1, window=5.0), Balances(0.0))
    waits = []
    for seed in (1, 1, 2):
        with on(BlockingOnFakeTime(seed=seed)) as runtime:
            breaker.enable()
            breaker.close()
            for _ in range(2):  # the second wait is spread
                breaker.outcome({}.__getitem__, "fails")
                wait = breaker.outcome(int).error.retry_after
                runtime.clock += wait + 1e-6
            waits.append(wait)
    assert waits[0] == waits[1] != waits[2]


def test_circuits_by_key_go_on_key_by_key_under_the_new_options():
    def key(text):
        return text

    def fails(text):
        raise ConnectionError(text)

    known = KeyedCircuitBreaker(key, consecutive_failures=2, open_for=1e6, max_open_for=1e6)
    for text in ("open", "open", "once"):
        known.outcome(fails, text)
    known.outcome(str, "fine")
    known.circuits["fine"].force_open()
    made = KeyedCircuitBreaker(key, consecutive_failures=2, name="query", open_for=1e6, max_open_for=1e6)
    again = policy_after(known, made, Balances(0.0))
    assert list(again.circuits) == ["open", "once", "fine"]
    assert not made.circuits, "the description is nobody's state"
    assert again.outcome(str, "open").error.service == "query open"
    assert isinstance(again.outcome(fails, "once").error, ConnectionError)
    assert isinstance(again.outcome(str, "once").error, CircuitOpenError), "the second failure in a row"
    assert isinstance(again.outcome(str, "fine").error, CircuitOpenError)
    assert again.outcome(str, "new") == Ok("new")
    assert "new" not in known.circuits
    assert [type(again.outcome(fails, "new").error) for _ in range(3)] == [ConnectionError] * 2 + [CircuitOpenError]
    assert again.circuits["new"].name == "query new", "and keys that come later"
