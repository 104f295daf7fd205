"""64 threads and thousands of calls through each policy: counts exact, no deadlock, invariants hold.

``make test`` makes 16,000 calls through each, ``make test-threads`` 640,000: the same code, one number. Where each send
starts a thread of its own (Timeout, Hedge) it costs 550 µs instead of 10 to 90; there ``make test`` makes a twentieth.
Circuits and limits: the two files beside this one.
"""

import itertools
import random
import threading

import pytest

from resilience import (
    Bulkhead,
    Chaos,
    CircuitBreaker,
    Fallback,
    Guard,
    Hedge,
    NamedPipeline,
    Pipeline,
    Policy,
    Registry,
    Retry,
    RetryBudget,
    SingleFlight,
    Timeout,
)
from resilience.core.call import ambient
from resilience.runtimes.blocking import BLOCKING
from tests.composition import test_circuits_in_threads, test_limits_in_threads
from tests.composition.every_policy import Covered, public_policies
from tests.composition.hammering import (
    A_DAY,
    CALLS,
    FAILURES,
    FEW,
    NEVER_OPENS,
    THREADS,
    TOTAL,
    Inside,
    fails,
    failures,
    hammer,
    in_threads,
    work_in,
)

pytestmark = pytest.mark.timeout(0)  # the watchdog knows better: it sees whether anything goes on

covered = Covered()


def fails_at_first(inside, *, when=fails):
    """Return a function that fails for those numbers too, but only the first time."""
    seen = set()

    def function(number):
        with inside:
            if when(number) and number not in seen:
                seen.add(number)
                raise ConnectionError
            return number

    return function


def balance_of(budget):
    """Return the balance as it is, debts included."""
    with budget.state._lock:
        return budget.state._balance_locked()


# Those that let every call through.


@covered(Policy)
def test_a_policy_that_does_nothing():
    inside = Inside()
    assert hammer(Policy()(work_in(inside))) == {"reply": TOTAL - FAILURES, "ConnectionError": FAILURES}
    inside.check()
    assert inside.entered == TOTAL
    assert inside.met, "they do run at the same time"


@covered(Retry)
def test_retry_and_its_budget():
    """Calls earn an eighth of a retry each, and a seventh of them fails: the reserve of 64 is soon used up."""
    reserve, ratio = 64, 0.125
    budget = RetryBudget(ratio, min_per_second=reserve / 2**20, ttl=2.0**20)
    inside = Inside()
    function = fails_at_first(inside)
    balances = []

    def sampling(number):
        if number % 1000 == 0:
            balances.append(balance_of(budget))
        return function(number)

    counts = hammer(Retry(2, wait=0.0, budget=budget)(sampling))
    inside.check()
    extra = inside.entered - TOTAL
    assert counts == {"reply": TOTAL - FAILURES + extra, "ConnectionError": FAILURES - extra}
    assert 0 < extra < FAILURES, "some were paid for, some were not"
    assert balance_of(budget) == reserve + ratio * TOTAL - extra
    assert all(0 <= balance <= reserve + ratio * TOTAL for balance in [*balances, balance_of(budget)])


@covered(Guard)
def test_guard():
    inside = Inside()
    refused = sum(number % 5 == 0 and not fails(number) for number in range(TOTAL))
    counts = hammer(Guard(check=lambda number: number % 5 != 0)(work_in(inside)))
    assert counts == {
        "reply": TOTAL - FAILURES - refused,
        "BadAnswerError": refused,
        "ConnectionError": FAILURES,
    }
    inside.check()


@covered(Fallback)
@pytest.mark.parametrize("most", [4, 1024])
def test_fallback(most):
    """Every seventh call fails, whoever makes it; nobody is given the answer to another's question."""
    inside, calls = Inside(), itertools.count()
    policy = Fallback("nothing yet", last_good=A_DAY, most=most)

    def ask(key):
        with inside:
            if fails(next(calls)):
                raise ConnectionError
            return f"answer to {key}"

    def guarded(number):
        outcome = policy.outcome(ask, number % 10)
        assert outcome.value in {f"answer to {number % 10}", "nothing yet"}
        return "covered" if outcome.failure else "own"

    covered_for = hammer(guarded)
    inside.check()
    assert inside.entered == TOTAL
    assert covered_for == {"own": TOTAL - FAILURES, "covered": FAILURES}
    assert len(policy.kept._answers) == min(most, 10)


@covered(Chaos)
def test_chaos(monkeypatch):
    monkeypatch.setenv("RESILIENCE_CHAOS", "1")
    inside = Inside()
    counts = hammer(Chaos(0.3, fault=KeyError, seed=1)(work_in(inside)))
    draw = random.Random(1).random
    struck = sum(draw() < 0.3 for _ in range(TOTAL))
    assert counts["KeyError"] == struck, "one draw for each call, none drawn twice"
    assert inside.entered == counts["reply"] + counts["ConnectionError"] == TOTAL - struck
    inside.check()


@covered(Timeout)
def test_timeout():
    """A thread for each call."""
    inside = Inside()

    def guarded(number):
        try:
            return limited(number)
        finally:
            assert ambient.get() is None, "the deadline was the call's alone"

    limited = Timeout(3600.0)(work_in(inside))
    total = THREADS * FEW
    failed = failures(total)
    assert hammer(guarded, FEW) == {"reply": total - failed, "ConnectionError": failed}
    inside.check()
    assert inside.entered == total
    helpers_end()


@covered(Hedge)
def test_hedge():
    """A thread for each send. Every other call's first send fails; the next is made at once."""
    budget = RetryBudget(1.0, min_per_second=0.0, ttl=A_DAY)
    inside, total = Inside(), THREADS * FEW
    guarded = Hedge(after=3600.0, budget=budget)(fails_at_first(inside, when=lambda number: number % 2))
    assert hammer(guarded, FEW) == {"reply": total}
    helpers_end()
    inside.check()
    assert inside.entered == total + total // 2
    assert balance_of(budget) == total - total // 2


def helpers_end():
    """Wait for the threads in which single calls ran; who waits for a call may go on before its thread has ended."""
    for thread in threading.enumerate():
        if thread.name == "resilience-limited":
            thread.join(30.0)
            assert not thread.is_alive()


@covered(SingleFlight)
def test_single_flight():
    policy = SingleFlight()
    inside = {key: Inside(limit=1, yields=8) for key in range(10)}

    @policy
    def ask(key):
        with inside[key]:
            if key in {0, 7}:
                raise ConnectionError
            return f"answer to {key}"

    def guarded(number):
        key = number % 10
        answer = ask(key)
        return number if answer == f"answer to {key}" else answer

    failed = sum(number % 10 in {0, 7} for number in range(TOTAL))
    assert hammer(guarded) == {"reply": TOTAL - failed, "ConnectionError": failed}
    for it in inside.values():
        it.check()
    assert sum(it.entered for it in inside.values()) < TOTAL, "some were given another's answer"
    assert len(policy.flights) == 0


# All together.


def standard(*, budget, breaker, bulkhead, threads=False):
    """Return the order that ``docs/policies.md`` recommends; with `threads` also what needs a thread for each call."""
    inner = (breaker, bulkhead)
    if not threads:
        return Pipeline(Fallback("covered"), Retry(2, wait=0.0, budget=budget), *inner)
    hedged = Retry(2, wait=0.0, budget=budget), Hedge(after=3600.0, budget=budget)
    return Pipeline(Timeout(3600.0), Fallback("covered"), *hedged, *inner)


@covered(Pipeline)
@pytest.mark.parametrize("threads", [False, True], ids=["in the caller's thread", "in threads of its own"])
def test_the_standard_pipeline(threads):
    budget = RetryBudget(0.0, min_per_second=1000.0, ttl=A_DAY)
    breaker, bulkhead, inside = CircuitBreaker(**NEVER_OPENS), Bulkhead(4, queue=2 * THREADS), Inside(limit=4, yields=8)
    pipeline = standard(budget=budget, breaker=breaker, bulkhead=bulkhead, threads=threads)
    calls = FEW if threads else CALLS
    total = THREADS * calls
    failed = failures(total)
    opening = balance_of(budget)
    assert hammer(pipeline(work_in(inside)), calls) == {"reply": total - failed, "covered": failed}
    helpers_end()
    inside.check()
    assert inside.met
    assert inside.entered == total + failed
    assert breaker._circuit.counts(BLOCKING.now()) == (total - failed, 2 * failed)
    assert bulkhead.slots.taken == 0
    assert not bulkhead.slots.line.waiters
    assert balance_of(budget) == opening - failed


@covered(NamedPipeline)
def test_a_pipeline_that_is_replaced_meanwhile():
    """One thread in 64 gives the name new options again and again; state goes on, so that no call is lost."""

    def made(limit, probes):
        return Pipeline(CircuitBreaker(**NEVER_OPENS, probes=probes), Bulkhead(limit, queue=THREADS))

    registry, inside = Registry({"name": made(4, 1)}), Inside(limit=8, yields=8)
    named = registry.pipeline("name")
    guarded = named(work_in(inside))

    def updating(number):
        if number % 100 == 0:
            registry.update({"name": made(4 + number % 5, 1 + number % 3)})
        return guarded(number)

    assert hammer(updating) == {"reply": TOTAL - FAILURES, "ConnectionError": FAILURES}
    inside.check()
    breaker, bulkhead = named.current.policies
    assert breaker._circuit.counts(BLOCKING.now()) == (TOTAL - FAILURES, FAILURES)
    assert bulkhead.slots.taken == 0
    assert not bulkhead.slots.line.waiters


def test_every_policy_is_here():
    elsewhere = test_circuits_in_threads.covered.policies | test_limits_in_threads.covered.policies
    assert covered.policies | elsewhere == public_policies()


# The watchdog.


def test_a_deadlock_fails_with_the_stack_of_every_thread():
    first, second = threading.Lock(), threading.Lock()
    both_hold_one = threading.Barrier(2)

    def deadlocked(number):
        mine, other = (first, second)[:: 1 if number else -1]
        mine.acquire()
        both_hold_one.wait()
        other.acquire()

    with pytest.raises(AssertionError, match="2 of 2 threads stand still") as caught:
        in_threads(2, deadlocked, patience=0.1)
    assert str(caught.value).count("other.acquire()") == 2
    first.release()
    second.release()


def test_what_a_thread_raises_comes_out():
    def work(number):
        if number == 3:
            raise KeyError(number)

    with pytest.raises(KeyError):
        in_threads(5, work)
