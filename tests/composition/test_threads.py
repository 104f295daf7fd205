"""Many at once: nothing is held while a call is in flight, and half-open lets in exactly its probes."""

import threading

import anyio
import pytest

from resilience.core.errors import CircuitOpenError
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.retry import Retry
from tests.composition.hammering import PATIENCE, in_threads


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
