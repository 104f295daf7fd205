"""Hundreds of calls, cancelled at random under contention: afterwards everything is as if they had never been."""

import contextlib
import random

import anyio
import pytest

from resilience.pipeline import Pipeline
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.budget import RetryBudget
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.retry import Retry
from resilience.policies.timeout import Timeout
from resilience.runtimes.anyio import ANYIO

CALLS = 900


@pytest.mark.parametrize("seed", [1, 2])
async def test_900_random_cancellations_leak_nothing(anyio_backend, seed):
    chance = random.Random(seed)
    budget = RetryBudget(0.0, min_per_second=100.0)
    bulkhead = Bulkhead(7, queue=CALLS)
    breaker = CircuitBreaker(consecutive_failures=CALLS, failure_ratio=1.0, minimum_calls=10 * CALLS)
    inside, extra, ended = [0], [0], [0]

    def guard(sends):
        @Pipeline(Timeout(300.0), Retry(3, wait=1e-6, budget=budget), breaker, bulkhead)
        async def function():
            sends.append(1)
            extra[0] += len(sends) > 1
            inside[0] += 1
            assert inside[0] <= 7
            try:
                for _ in range(chance.randrange(6)):
                    await anyio.lowlevel.checkpoint()
                if chance.random() < 0.3:
                    raise ConnectionError
            finally:
                inside[0] -= 1

        return function

    async def call(scopes):
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            with contextlib.suppress(ConnectionError):
                await guard([])()
        scopes.remove(scope)
        ended[0] += 1

    async def cancel_some(scopes):
        while ended[0] < CALLS:
            if scopes and chance.random() < 0.7:
                chance.choice(scopes).cancel()
            await anyio.lowlevel.checkpoint()

    scopes = []
    async with anyio.create_task_group() as group:
        for _ in range(CALLS):
            group.start_soon(call, scopes)
        group.start_soon(cancel_some, scopes)
    assert ended == [CALLS]
    assert inside == [0]
    assert bulkhead.slots.taken == 0
    assert not bulkhead.slots.line.waiters
    assert budget.state.balance(ANYIO.now()) == 1000.0 - extra[0]
    assert breaker.current_state == "closed"
    await bulkhead.acall(anyio.lowlevel.checkpoint)
