"""Many threads through one policy: nothing is held while a call is in flight, and no count is lost."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

from resilience.core.errors import CircuitOpenError, OverloadedError
from resilience.pipeline import Pipeline
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.budget import RetryBudget
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.retry import Retry

PATIENCE = 30.0  # for what must happen at once, on however busy a machine


@pytest.fixture(autouse=True)
def switching_often():
    """Threads change places every 20 µs instead of every 5 ms: what can go wrong between two lines does."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(2e-5)
    yield
    sys.setswitchinterval(usual)


def in_threads(count, work):
    """Run `work(number)` in that many threads at once; return what each returned."""
    start = threading.Barrier(count)

    def run(number):
        start.wait(PATIENCE)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.mark.parametrize("policy", [CircuitBreaker(), Retry(), Bulkhead(10)], ids=lambda policy: type(policy).__name__)
def test_ten_threads_run_in_parallel(policy):
    all_inside = threading.Barrier(10)

    @policy
    def function():
        return all_inside.wait(PATIENCE)  # passes only when ten are inside together

    assert sorted(in_threads(10, lambda _: function())) == list(range(10))


@pytest.mark.parametrize("probes", [1, 3])
def test_half_open_admits_exactly_its_probes_of_20_threads(probes):
    breaker = CircuitBreaker(probes=probes)
    breaker.half_open()
    everybody_asked = threading.Event()
    entered, refused = [], []

    @breaker
    def function():
        entered.append(1)
        assert everybody_asked.wait(PATIENCE)  # a probe ends only when everybody else has been turned away
        return "reply"

    def work(_):
        try:
            return function()
        except CircuitOpenError as error:
            refused.append(error)
            if len(refused) == 20 - probes:
                everybody_asked.set()
            return error

    outcomes = in_threads(20, work)
    assert len(entered) == probes
    assert outcomes.count("reply") == probes
    assert breaker.current_state == "closed"
    assert all(error.retry_after > 0 for error in refused)


@pytest.mark.parametrize("probes", [1, 3])
async def test_half_open_admits_exactly_its_probes_of_20_tasks(probes):
    breaker = CircuitBreaker(probes=probes)
    breaker.half_open()
    everybody_asked = anyio.Event()
    entered, refused = [], []

    @breaker
    async def function():
        entered.append(1)
        await everybody_asked.wait()

    async def work():
        try:
            await function()
        except CircuitOpenError as error:
            refused.append(error)
            if len(refused) == 20 - probes:
                everybody_asked.set()

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(work)
    assert (len(entered), len(refused)) == (probes, 20 - probes)
    assert breaker.current_state == "closed"


THREADS, CALLS = 64, 1000


def hammer(guarded):
    """Make 64,000 calls from 64 threads, every seventh of which fails; return how many failed, and what was refused."""

    def work(number):
        failed = refused = 0
        for call in range(CALLS):
            try:
                guarded((number * CALLS + call) % 7 == 0)
            except ConnectionError:
                failed += 1
            except OverloadedError:
                refused += 1
        return failed, refused

    outcomes = in_threads(THREADS, work)
    return sum(failed for failed, _ in outcomes), sum(refused for _, refused in outcomes)


def fails_when(told_to):
    if told_to:
        raise ConnectionError


FAILURES = sum(number % 7 == 0 for number in range(THREADS * CALLS))


def test_counts_are_exact_in_a_circuit():
    breaker = CircuitBreaker(failure_ratio=1.0, window=3600.0, consecutive_failures=10**9)
    assert hammer(breaker(fails_when)) == (FAILURES, 0)
    assert breaker._circuit.counts(breaker._runtime.now()) == (THREADS * CALLS - FAILURES, FAILURES)


def test_counts_are_exact_in_a_bulkhead():
    bulkhead = Bulkhead(8, queue=THREADS)
    inside = []

    @bulkhead
    def function(told_to):
        inside.append(1)
        assert len(inside) <= 8
        inside.pop()
        fails_when(told_to)

    assert hammer(function) == (FAILURES, 0)
    assert bulkhead.slots.taken == 0
    assert not bulkhead.slots.line.waiters


def test_counts_are_exact_in_a_bulkhead_that_refuses():
    bulkhead = Bulkhead(2)
    entered = []

    @bulkhead
    def function(told_to):
        entered.append(told_to)

    failed, refused = hammer(function)
    assert failed == 0
    assert len(entered) + refused == THREADS * CALLS
    assert bulkhead.slots.taken == 0


def test_counts_are_exact_in_a_budget():
    budget = RetryBudget(0.0, min_per_second=10.0, ttl=1000.0)  # a reserve of exactly 10,000
    sends = []

    @Retry(2, wait=0.0, budget=budget)
    def function(told_to):
        sends.append(1)
        fails_when(told_to)

    assert hammer(function) == (FAILURES, 0)
    assert len(sends) == THREADS * CALLS + min(FAILURES, 10_000)


def test_counts_are_exact_through_all_of_them():
    breaker = CircuitBreaker(failure_ratio=1.0, window=3600.0, consecutive_failures=10**9)
    bulkhead = Bulkhead(4, queue=THREADS)
    sends = []

    @Pipeline(Retry(2, wait=0.0, budget=False), breaker, bulkhead)
    def function(told_to):
        sends.append(1)
        fails_when(told_to)

    assert hammer(function) == (FAILURES, 0)
    assert len(sends) == THREADS * CALLS + FAILURES
    assert breaker._circuit.counts(breaker._runtime.now()) == (THREADS * CALLS - FAILURES, 2 * FAILURES)
    assert bulkhead.slots.taken == 0
