"""What users of Polly, resilience4j, failsafe, Hystrix and Sentinel complain of, by issue: it does not happen here."""

import threading

import httpx
import pytest

import resilience
from resilience.core.errors import CircuitOpenError, DeadlineExceededError, OverloadedError
from resilience.pipeline import Pipeline
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.circuit import Circuit
from resilience.policies.hedge import Hedge
from resilience.policies.permits import CircuitOptions, Permit
from resilience.policies.retry import Retry
from resilience.policies.timeout import Timeout
from resilience.runtimes.entry import deadline
from resilience.runtimes.virtual import VirtualCancelled, VirtualRuntime
from tests.composition.fake_time import BlockingOnFakeTime, on


def fails():
    raise ConnectionError


def half_open(**options):
    breaker = CircuitBreaker(**options)
    breaker.half_open()
    return breaker


def test_polly_1979_a_probe_that_says_nothing_neither_closes_nor_wedges():
    breaker = half_open(exclude=KeyError)
    for _ in range(3):
        with pytest.raises(KeyError):
            breaker.call({}.__getitem__, "an error that was excluded")
        assert breaker.current_state == "half-open"
    assert breaker.call(int) == 0
    assert breaker.current_state == "closed"


def test_polly_1979_nor_does_one_that_is_cancelled():
    runtime = VirtualRuntime()
    breaker = half_open()
    with on(runtime):
        task = runtime.spawn(lambda: breaker.acall(runtime.sleep, 9.0))
        runtime.advance(1.0)
        runtime.cancel(task)
        runtime.advance(0.0)
        assert isinstance(task.error, VirtualCancelled)
        assert breaker.current_state == "half-open"
        runtime.run(lambda: breaker.acall(runtime.sleep, 0.0))
    assert breaker.current_state == "closed"


def test_polly_217_a_straggler_from_before_the_trip_does_not_close():
    runtime = VirtualRuntime()
    breaker = CircuitBreaker()
    with on(runtime):
        runtime.spawn(lambda: breaker.acall(runtime.sleep, 3.0))
        runtime.advance(1.0)
        breaker.open()
        breaker.half_open()
        runtime.advance(5.0)
    assert breaker.current_state == "half-open"


def test_resilience4j_935_a_probe_that_never_returns_loses_its_place():
    circuit = Circuit(CircuitOptions())
    circuit.force("half-open", 0.0)
    circuit.admit(0.0)
    assert not circuit.would_admit(29.0)
    assert circuit.would_admit(31.0)


def test_failsafe_391_half_open_admits_exactly_its_probes():
    circuit = Circuit(CircuitOptions(probes=3))
    circuit.force("half-open", 0.0)
    admitted, start = [], threading.Barrier(20)

    def ask():
        start.wait()
        admitted.append(isinstance(circuit.admit(1.0), Permit))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(admitted) == 3


def test_sentinel_1638_a_probe_that_is_turned_away_further_in_does_not_wedge():
    bulkhead = Bulkhead(1)
    bulkhead.slots.take()
    breaker = half_open()
    pipeline = Pipeline(breaker, bulkhead)
    for _ in range(3):
        with pytest.raises(OverloadedError):
            pipeline.call(int)
        assert breaker.current_state == "half-open"
    bulkhead.slots.give_back()
    assert pipeline.call(int) == 0
    assert breaker.current_state == "closed"


def test_hystrix_1647_closing_is_no_stampede():
    runtime = VirtualRuntime()
    breaker = half_open(slow_start=60.0)
    inside, most = [0], [0]

    async def work():
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        await runtime.sleep(1.0)
        inside[0] -= 1

    with on(runtime):
        runtime.run(lambda: breaker.acall(work))
        for _ in range(1000):
            runtime.spawn(lambda: breaker.acall(work))
        runtime.advance(0.5)
    assert most[0] <= 2


def test_resilience4j_1597_calls_that_hang_open_it_while_they_hang():
    runtime = VirtualRuntime()
    breaker = CircuitBreaker(slow_after=2.0, minimum_calls=5)
    with on(runtime):
        for _ in range(5):
            runtime.spawn(lambda: breaker.acall(runtime.sleep, 1e9))
        runtime.advance(2.0)
        with pytest.raises(CircuitOpenError):
            runtime.run(lambda: breaker.acall(runtime.sleep, 0.0))


def test_extensions_7686_retries_of_a_dead_backend_are_a_fifth_more():
    runtime = BlockingOnFakeTime()
    sent = []

    def dead():
        sent.append(1)
        raise ConnectionError

    retry = Retry(4, wait=0.0)
    with on(runtime):
        for _ in range(1000):
            with pytest.raises(ConnectionError):
                retry.call(dead)
    assert len(sent) <= 1.2 * 1000 + 30


class Busy:
    status_code = 503

    def __init__(self, seconds):
        self.headers = {"retry-after": str(seconds)}


def test_extensions_7701_nobody_sleeps_on_a_retry_after_beyond_the_deadline():
    runtime = BlockingOnFakeTime()
    with on(runtime), deadline(10.0):
        assert Retry(3, on=503).call(Busy, 20).status_code == 503
    assert runtime.asked == []


def test_extensions_7001_nobody_comes_back_before_the_retry_after():
    runtime = BlockingOnFakeTime()
    with on(runtime):
        Retry(3, on=503, wait=0.0).call(Busy, 2)
    assert runtime.asked == [2.0, 2.0]


def test_extensions_5248_a_post_that_may_have_been_processed_is_sent_once():
    asked = []

    def answer(request):
        asked.append(request)
        raise httpx.ReadTimeout("no answer", request=request)

    with resilience.Client(transport=httpx.MockTransport(answer)) as client, pytest.raises(httpx.ReadTimeout):
        client.post("http://service.test/", content=b"order")
    assert len(asked) == 1


def test_failsafe_hedging_the_first_to_fail_does_not_win():
    runtime = VirtualRuntime()
    calls = []

    async def function():
        calls.append(1)
        if len(calls) == 2:
            raise ConnectionError
        await runtime.sleep(1.0)
        return "reply"

    with on(runtime):
        assert runtime.run(lambda: Hedge(after=0.1).acall(function)) == "reply"


def test_polly_hedging_nobody_waits_for_losers_to_be_cancelled():
    runtime = VirtualRuntime()
    calls = []

    async def function():
        calls.append(1)
        if len(calls) > 1:
            return "reply"
        try:
            await runtime.sleep(10.0)
        finally:
            async with runtime.shield():
                await runtime.sleep(10.0)

    with on(runtime):
        assert runtime.run(lambda: Hedge(after=0.1).acall(function)) == "reply"
        assert runtime.now() == pytest.approx(1000.1)
        runtime.advance(60.0)


def test_polly_1584_a_time_limit_is_told_from_a_cancellation():
    runtime = VirtualRuntime()
    with on(runtime):
        task = runtime.spawn(lambda: Timeout(5.0).acall(runtime.sleep, 60.0))
        runtime.advance(1.0)
        runtime.cancel(task)
        runtime.advance(0.0)
        assert isinstance(task.error, VirtualCancelled)
        with pytest.raises(DeadlineExceededError):
            runtime.run(lambda: Timeout(5.0).acall(runtime.sleep, 60.0))


def test_resilience4j_650_unused_circuits_do_not_pile_up():
    keyed = resilience.KeyedCircuitBreaker(lambda number: number, most=100)
    for number in range(10_000):
        keyed.call(int, number)
    assert len(keyed.circuits) == 100


def test_extensions_6163_the_order_is_explained():
    description = Pipeline(Timeout(10.0), Retry(), CircuitBreaker()).describe()
    assert all(policy.reason for policy in description.policies)
