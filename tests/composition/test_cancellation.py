"""Cancelled at every suspension point in turn: permits, counts and budgets are as if the call had never been."""

import contextlib

import anyio
import pytest

from resilience.core.call import ambient
from resilience.pipeline import Pipeline
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.budget import RetryBudget
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.policy import Policy
from resilience.policies.retry import Retry
from resilience.policies.timeout import Timeout
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.entry import deadline
from resilience.runtimes.virtual import VirtualRuntime
from tests.composition.cancelling import on_anyio, on_asyncio, on_virtual_time, stepped

A_MOMENT = 1e-6
FAR = 300.0


class Story:
    """One call through everything at once: it queues, fails, backs off, and succeeds, suspending wherever it can."""

    def __init__(self, *, state="closed", limited=True):
        self.budget = RetryBudget(0.2, min_per_second=1.0)
        self.bulkhead = Bulkhead(1, queue=3)
        self.breaker = CircuitBreaker(consecutive_failures=10, minimum_calls=100, probes=1)
        if state != "closed":
            self.breaker.state = state
        self.limited = limited
        self.sends = 0
        self.calls = 0
        self.extra = 0
        policies = (Retry(4, wait=A_MOMENT, budget=self.budget), self.breaker, self.bulkhead)
        limit = (Timeout(FAR),) * limited
        self.guarded = Pipeline(*limit, *policies, *limit)(self.function)

    async def function(self):
        self.sends += 1
        self.extra += self.sends > 1
        runtime = self.runtime()
        await runtime.sleep(A_MOMENT)
        await runtime.sleep(A_MOMENT)
        if self.sends % 3 and self.breaker.current_state == "closed":
            raise ConnectionError
        return "reply"

    @staticmethod
    def runtime():
        around = ambient.get()
        return ANYIO if around is None or around.runtime is None else around.runtime

    async def run(self):
        self.calls += 1
        self.sends = 0
        with deadline(FAR) if self.limited else contextlib.nullcontext():
            # The slot is taken when the call arrives, and comes free once it queues.
            self.held = self.bulkhead.slots.take()
            try:
                return await self.guarded()
            finally:
                self.let_go()

    def suspended(self):
        if self.bulkhead.slots.line.waiters:
            self.let_go()

    def let_go(self):
        if self.held:
            self.held = False
            self.bulkhead.slots.give_back()

    def check(self, now):
        slots = self.bulkhead.slots
        assert slots.taken == 0
        assert not slots.line.waiters
        assert self.budget.state.balance(now) == pytest.approx(10.0 + 0.2 * self.calls - self.extra)
        circuit = self.breaker._circuit
        assert circuit.would_admit(now), "no probe's place was lost"


def every_suspension(run):
    """Run once without a cut to learn how often it suspends, then once per suspension; `run(at)` checks for itself."""
    suspensions, cancelled = run(0)
    assert not cancelled
    assert suspensions >= 3
    cut = sum(run(at)[1] for at in range(1, suspensions + 1))
    assert cut >= suspensions - 1, "a cut at the last moment may come too late; every other one counts"


async def whole(story):
    return await stepped(story, 0, None)


@pytest.mark.parametrize("state", ["closed", "half-open"])
@pytest.mark.parametrize(("backend", "how"), [("asyncio", on_anyio), ("asyncio", on_asyncio), ("trio", on_anyio)])
@pytest.mark.parametrize("limited", [True, False])
def test_cut_anywhere_nothing_leaks(backend, how, state, limited):
    def run(at):
        story = Story(state=state, limited=limited)
        suspensions, cancelled = anyio.run(how, story, at, backend=backend)
        assert story.sends >= (not cancelled)
        story.check(ANYIO.now())
        # And everything still works.
        story.breaker.close()
        assert anyio.run(whole, story, backend=backend) == "reply"
        story.check(ANYIO.now())
        return suspensions, cancelled

    every_suspension(run)


@pytest.mark.parametrize("state", ["closed", "half-open"])
@pytest.mark.parametrize("limited", [True, False])
def test_cut_anywhere_on_virtual_time(state, limited):
    def run(at):
        story = Story(state=state, limited=limited)
        suspensions, cancelled = on_virtual_time(story, at)
        story.check(1001.0)
        return suspensions, cancelled

    every_suspension(run)


async def queue_up(group, bulkhead, fn, *args):
    """Start a call and let it take its place in the line."""
    ahead = len(bulkhead.slots.line.waiters)
    group.start_soon(bulkhead.acall, fn, *args)
    while len(bulkhead.slots.line.waiters) == ahead:
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("handed", [True, False])
async def test_a_call_cut_in_the_line_lets_the_next_one_in(handed):
    bulkhead = Bulkhead(1, queue=2)
    order = []

    async def note(name):
        order.append(name)

    assert bulkhead.slots.take()
    async with anyio.create_task_group() as group, anyio.create_task_group() as doomed:
        await queue_up(doomed, bulkhead, note, "cut")
        await queue_up(group, bulkhead, note, "next")
        if handed:  # the slot is the first one's already, when it is cut before it can run
            bulkhead.slots.give_back()
        doomed.cancel_scope.cancel()
        if not handed:
            await anyio.lowlevel.cancel_shielded_checkpoint()
            bulkhead.slots.give_back()
    assert order == ["next"]
    assert bulkhead.slots.taken == 0


def test_virtual_cancel_before_the_first_step():
    runtime = VirtualRuntime()
    policy = Policy()
    task = runtime.spawn(lambda: policy.acall(runtime.sleep, 1.0))
    runtime.cancel(task)
    runtime.advance(2.0)
    assert task.done
    assert task.error is not None
