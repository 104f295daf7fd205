"""How many are inside, who waits, and who is turned away."""

import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

from resilience.core.errors import OverloadedError
from resilience.core.slots import Line, Slots
from resilience.pipeline import Pipeline
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.timeout import Timeout
from resilience.runtimes.blocking import BLOCKING
from resilience.runtimes.entry import deadline
from resilience.runtimes.virtual import VirtualRuntime
from resilience.testing import virtual
from tests.composition.fake_time import BlockingOnFakeTime, Noted, on

PATIENCE = 30.0


def test_beyond_the_limit_calls_are_turned_away():
    bulkhead = Bulkhead(1)

    @bulkhead
    def function():
        with pytest.raises(OverloadedError) as caught:
            function()
        return caught.value

    error = function()
    assert str(error).startswith("bulkhead of 1 around test_beyond_the_limit")
    assert str(error).endswith("is full")
    assert error.service.endswith("function")
    assert bulkhead.slots.taken == 0


def test_a_failed_call_gives_its_place_back():
    bulkhead = Bulkhead(1)
    for error in (KeyError, KeyboardInterrupt):
        with pytest.raises(error):
            bulkhead.call(lambda error=error: (_ for _ in ()).throw(error))
        assert bulkhead.slots.taken == 0


def test_threads_wait_in_line():
    bulkhead = Bulkhead(1, queue=2)
    inside, proceed = threading.Event(), threading.Event()

    def hold():
        inside.set()
        assert proceed.wait(PATIENCE)
        return "first"

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(bulkhead.call, hold)
        assert inside.wait(PATIENCE)
        others = [pool.submit(bulkhead.call, lambda: "waited") for _ in range(2)]
        while len(bulkhead.slots.line.waiters) < 2:
            pass
        with pytest.raises(OverloadedError, match="and 2 more wait"):
            bulkhead.call(lambda: "too many")
        proceed.set()
        assert [future.result() for future in (first, *others)] == ["first", "waited", "waited"]
    assert bulkhead.slots.taken == 0


async def test_threads_and_tasks_wait_in_one_line(anyio_backend):
    bulkhead = Bulkhead(1, queue=2)
    assert bulkhead.slots.take()
    order = []

    async def task():
        order.append("task")

    async with anyio.create_task_group() as group:
        group.start_soon(bulkhead.acall, task)
        while len(bulkhead.slots.line.waiters) < 1:
            await anyio.lowlevel.checkpoint()
        group.start_soon(anyio.to_thread.run_sync, bulkhead.call, lambda: order.append("thread"))
        while len(bulkhead.slots.line.waiters) < 2:
            await anyio.lowlevel.checkpoint()
        bulkhead.slots.give_back()
    assert order == ["task", "thread"]
    assert bulkhead.slots.taken == 0


def test_waiting_ends_with_the_deadline():
    runtime = VirtualRuntime()
    bulkhead = Bulkhead(1, queue=1)

    async def hold():
        await runtime.sleep(10.0)

    async def late():
        with deadline(3.0), pytest.raises(OverloadedError, match=r"in (the )?line"):
            await bulkhead.acall(hold)
        assert runtime.now() == 1003.0

    async def main():
        holder = runtime.spawn(lambda: bulkhead.acall(hold))
        await runtime.sleep(0.0)
        await late()
        assert not bulkhead.slots.line.waiters
        assert not holder.done

    with on(runtime):
        runtime.run(main)
        runtime.advance(10.0)
    assert bulkhead.slots.taken == 0


def test_a_slot_that_comes_free_while_the_waiter_looks_is_taken_without_waiting():
    class Released(Line):
        """The holder lets go after the caller has found the bulkhead full, and before it stands in line."""

        def join(self, *arguments, **options):
            bulkhead.slots.give_back()
            return super().join(*arguments, **options)

    bulkhead = Bulkhead(1, queue=1)
    object.__setattr__(bulkhead, "slots", Slots(1, Released()))
    assert bulkhead.slots.take()
    assert bulkhead.call(lambda: "reply") == "reply"
    assert bulkhead.slots.taken == 0


def test_a_thread_waits_no_longer_than_the_deadline():
    bulkhead = Bulkhead(1, queue=1)
    assert bulkhead.slots.take()
    with virtual(), deadline(0.001), pytest.raises(OverloadedError, match="the deadline passed in the line"):
        bulkhead.call(pytest.fail)
    assert not bulkhead.slots.line.waiters


@pytest.mark.parametrize(("frees_after", "state"), [(None, "closed"), (0.0, "open"), (0.5, "open")])
def test_a_cut_in_the_line_blames_nobody_and_a_cut_inside_does(frees_after, state):
    """Circuit outside, bulkhead inside: a call that never got in says nothing about what it wanted to reach."""
    runtime = VirtualRuntime()
    bulkhead, breaker = Bulkhead(1, queue=1), CircuitBreaker(consecutive_failures=1)
    pipeline = Pipeline(Timeout(1.0), breaker, bulkhead)

    async def main():
        assert bulkhead.slots.take()
        if frees_after == 0.0:
            bulkhead.slots.give_back()
        task = runtime.spawn(lambda: pipeline.acall(runtime.sleep, 50.0))
        if frees_after:
            await runtime.sleep(frees_after)
            bulkhead.slots.give_back()
        await runtime.sleep(2.0)
        assert task.error is not None

    with on(runtime):
        runtime.run(main)
    assert breaker.current_state == state


class InVain(BlockingOnFakeTime):
    """No gate opens before its time is up."""

    def gate(self):
        runtime = self

        class Gate:
            async def wait(self, timeout, /):
                runtime.clock += timeout
                return False

            def open(self):
                """Nobody is there any more."""

        return Gate()


def test_who_is_given_up_for_its_deadline_says_so():
    noted, bulkhead = Noted(), Bulkhead(1, queue=1)
    assert bulkhead.slots.take()
    with on(InVain()):
        with deadline(0.5), pytest.raises(OverloadedError, match="the deadline passed in the line"):
            Pipeline(noted, bulkhead).call(int)
        full = Bulkhead(1)
        assert full.slots.take()
        with deadline(0.5), pytest.raises(OverloadedError):
            Pipeline(noted, full).call(int)
    assert noted.stopped_for == [1000.5, None], "the other has not waited"


def test_who_leaves_the_line_with_a_slot_hands_it_on():
    slots = Slots(1)
    assert slots.take()
    first, second = (slots.line.join(BLOCKING.gate(), (slots,), longest=2) for _ in range(2))
    slots.give_back()
    assert first.slots is slots
    slots.line.leave(first)
    assert second.slots is slots
    slots.line.leave(second)
    assert slots.taken == 0
