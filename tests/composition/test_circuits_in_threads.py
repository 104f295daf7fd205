"""64 threads and thousands of calls through each kind of circuit: counts exact, and never more probes than agreed."""

import threading
from collections import Counter

import pybreaker
import pytest

from resilience import CircuitBreaker, KeyedCircuitBreaker
from resilience.core.outcome import GOOD
from resilience.policies.circuit import Circuit
from resilience.policies.permits import CircuitOptions
from resilience.runtimes.blocking import BLOCKING
from tests.composition.every_policy import Covered
from tests.composition.hammering import (
    A_DAY,
    CALLS,
    FAILURES,
    NEVER_OPENS,
    TOTAL,
    Inside,
    fails,
    hammer,
    in_threads,
    work_in,
)

pytestmark = pytest.mark.timeout(0)  # the watchdog knows better: it sees whether anything goes on

covered = Covered()


each_kind = pytest.mark.parametrize("options", [{}, {"slow_after": 3600.0, "slow_start": 1e-6}], ids=["plain", "deep"])


@covered(CircuitBreaker)
@each_kind
def test_circuit_that_stays_closed(options):
    breaker, inside = CircuitBreaker(**NEVER_OPENS, **options), Inside()
    assert hammer(breaker(work_in(inside))) == {"reply": TOTAL - FAILURES, "ConnectionError": FAILURES}
    inside.check()
    circuit = breaker._circuit
    assert circuit.counts(BLOCKING.now()) == (TOTAL - FAILURES, FAILURES)
    if options:
        assert circuit.slow_counts(BLOCKING.now()) == (TOTAL, 0)
        assert not circuit._flying


def test_the_first_verdicts_of_a_circuit_come_at_once():
    """Counters are made for the first verdict: every thread finds either none, or those that stay."""
    circuits = [Circuit(CircuitOptions(window=A_DAY)) for _ in range(CALLS)]
    together = threading.Barrier(8)

    def work(_number):
        for circuit in circuits:
            permit = circuit.admit(1e6)
            together.wait(30.0)
            circuit.settle(permit, GOOD, now=1e6)

    in_threads(8, work)
    assert {circuit.counts(1e6) for circuit in circuits} == {(8, 0)}


class UnclearError(Exception):
    """Says nothing about the far side."""


@each_kind
@pytest.mark.parametrize("probes", [1, 3])
def test_never_more_probes_than_agreed(options, probes):
    """A probe without a verdict gives its place back, so the circuit stays half-open, and every call wants to probe."""
    breaker = CircuitBreaker(probes=probes, exclude=(UnclearError,), open_for=A_DAY, max_open_for=A_DAY, **options)
    breaker.half_open()
    inside = Inside(limit=probes, yields=8)

    @breaker
    def function(_):
        with inside:
            raise UnclearError

    counts = hammer(function)
    inside.check()
    assert counts == {"UnclearError": inside.entered, "CircuitOpenError": TOTAL - inside.entered}
    assert inside.entered > probes
    assert breaker.current_state == "half-open"
    assert breaker._circuit._probes == []
    assert inside.met is (probes > 1)


class Changes(pybreaker.CircuitBreakerListener):
    """Keeps the changes of state, in whatever order threads tell of them."""

    def __init__(self):
        self.seen = []

    def state_change(self, _, old, new):
        self.seen.append((old.name, new.name))


@each_kind
def test_circuit_that_opens_and_closes_all_the_time(options):
    changes, inside = Changes(), Inside()
    breaker = CircuitBreaker(consecutive_failures=3, open_for=1e-4, max_open_for=2e-4, listeners=[changes], **options)
    function = work_in(inside)
    counts = hammer(breaker(lambda number: function(0 if number % 7 < 4 else 1) and number))
    inside.check()
    assert counts["reply"] + counts["ConnectionError"] == inside.entered
    assert counts["CircuitOpenError"] == TOTAL - inside.entered
    assert set(changes.seen) <= {
        ("closed", "open"),
        ("open", "half-open"),
        ("half-open", "open"),
        ("half-open", "closed"),
    }
    assert changes.seen.count(("closed", "open")) >= 1
    # A path through the states: each is left as often as it is entered, but for where it began and ended.
    for state in ("closed", "open", "half-open"):
        entered, left = (sum(it[side] == state for it in changes.seen) for side in (1, 0))
        assert entered - left == (breaker.current_state == state) - (state == "closed")
    assert breaker._circuit._probes == []


@covered(KeyedCircuitBreaker)
def test_keyed_circuits():
    keyed, inside = KeyedCircuitBreaker(lambda number: number % 16, **NEVER_OPENS), Inside()
    assert hammer(keyed(work_in(inside))) == {"reply": TOTAL - FAILURES, "ConnectionError": FAILURES}
    inside.check()
    bad = Counter(number % 16 for number in range(TOTAL) if fails(number))
    for key, breaker in keyed.circuits.items():
        assert breaker._circuit.counts(BLOCKING.now()) == (TOTAL // 16 - bad[key], bad[key])
    assert sorted(keyed.circuits) == list(range(16))
    assert {entry.inside for entry in keyed._entries.values()} == {0}


def test_keyed_circuits_that_give_way_to_each_other():
    """Sixteen keys for two places: none goes while a call is inside, and the next new key finds the surplus gone."""

    def key(number):
        return number % 16 if number < TOTAL else "new"

    keyed, inside, gone = KeyedCircuitBreaker(key, most=2, **NEVER_OPENS), Inside(), []

    @keyed
    def function(number):
        with inside:
            if key(number) not in keyed._entries:
                gone.append(number)
            return number

    assert hammer(function) == {"reply": TOTAL}
    inside.check()
    assert gone == []
    assert {entry.inside for entry in keyed._entries.values()} == {0}
    function(TOTAL)
    assert len(keyed.circuits) == 2
    assert list(keyed.circuits)[-1] == "new"
