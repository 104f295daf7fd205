"""Gates, limits, races and shields: what every runtime promises, asked of each of them."""

import asyncio
import math
import threading
from contextvars import ContextVar

import anyio
import pytest

from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.blocking import BLOCKING, BlockingGate, run_blocking
from resilience.runtimes.virtual import VirtualCancelled, VirtualRuntime

A_MOMENT = 0.001
PATIENCE = 60.0


async def reply():
    return "reply"


async def fail():
    raise ConnectionError


def on_threads(story, *arguments):
    return run_blocking(story(BLOCKING, *arguments))


def on_asyncio(story, *arguments):
    return anyio.run(story, ANYIO, *arguments, backend="asyncio")


def on_trio(story, *arguments):
    return anyio.run(story, ANYIO, *arguments, backend="trio")


def on_virtual_time(story, *arguments):
    runtime = VirtualRuntime()
    return runtime.run(lambda: story(runtime, *arguments))


everywhere = pytest.mark.parametrize("tell", [on_threads, on_asyncio, on_trio, on_virtual_time])


@everywhere
def test_the_clock_goes_forward_and_chance_is_a_share(tell):
    async def story(runtime):
        before = runtime.now()
        await runtime.sleep(A_MOMENT)
        assert runtime.now() >= before + A_MOMENT
        assert all(0.0 <= runtime.random() < 1.0 for _ in range(100))

    tell(story)


@everywhere
def test_a_gate_opened_before_and_after(tell):
    async def story(runtime):
        gate = runtime.gate()
        assert not await gate.wait(A_MOMENT)
        assert not await gate.wait(0.0)
        assert not await gate.wait(-1.0)
        gate.open()
        gate.open()
        assert await gate.wait(PATIENCE)
        forever = runtime.gate()
        forever.open()
        assert await forever.wait(math.inf)

    tell(story)


def test_a_gate_is_opened_by_another_thread():
    async def story(runtime):
        gate = runtime.gate()
        threading.Thread(target=gate.open).start()
        assert await gate.wait(math.inf)

    for tell in (on_threads, on_asyncio, on_trio):
        tell(story)


def test_a_blocking_gate_that_two_threads_open_at_once():
    class Lock:
        """Released by somebody else between the look and the release."""

        def locked(self):
            return True

        def release(self):
            raise RuntimeError

    gate = BlockingGate()
    gate._lock = Lock()
    gate.open()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_gate_outlives_its_loop(backend):
    async def make():
        return ANYIO.gate()

    gate = anyio.run(make, backend=backend)
    gate.open()  # nobody waits any more, and nobody is bothered


@everywhere
def test_a_limit_that_is_kept(tell):
    async def story(runtime):
        assert await runtime.limit(PATIENCE, reply) == "reply"
        assert await runtime.limit(math.inf, reply) == "reply"
        for seconds in (PATIENCE, math.inf):
            with pytest.raises(ConnectionError):
                await runtime.limit(seconds, fail)

    tell(story)


@everywhere
def test_a_limit_that_is_not(tell):
    proceed = threading.Event()

    async def story(runtime):
        async def hang():
            if runtime is BLOCKING:
                proceed.wait(PATIENCE)
            else:
                await runtime.sleep(PATIENCE)

        for seconds in (A_MOMENT, 0.0, -1.0):
            with pytest.raises(TimeoutError):
                await runtime.limit(seconds, hang)

    tell(story)
    proceed.set()


@everywhere
def test_context_reaches_limited_work(tell):
    variable = ContextVar("variable", default="lost")

    async def story(runtime):
        variable.set("kept")

        async def look():
            return variable.get()

        assert await runtime.limit(PATIENCE, look) == "kept"
        assert await runtime.first(look, look) == "kept"

    tell(story)


@everywhere
def test_the_first_to_succeed_wins(tell):
    never = threading.Event()

    async def story(runtime):
        async def hang():
            if runtime is BLOCKING:
                never.wait(PATIENCE)
            else:
                await runtime.sleep(PATIENCE)

        assert await runtime.first(fail, reply, hang) == "reply"
        with pytest.raises(ConnectionError):
            await runtime.first(fail, fail)

    tell(story)
    never.set()


@pytest.mark.parametrize("tell", [on_asyncio, on_trio])
def test_two_that_succeed_at_once_make_one_winner(tell):
    async def story(runtime):
        ready = anyio.Event()

        async def both():
            ready.set()
            await ready.wait()
            return "reply"

        assert await runtime.first(both, both) == "reply"

    tell(story)


@everywhere
def test_a_shield_without_cancellation(tell):
    async def story(runtime):
        async with runtime.shield():
            await runtime.sleep(0.0)
        return "through"

    assert tell(story) == "through"


async def test_a_shield_lets_clean_up_finish(anyio_backend):
    cleaned = []
    with anyio.CancelScope() as scope:
        try:
            scope.cancel()
            await anyio.lowlevel.checkpoint()
        finally:
            async with ANYIO.shield():
                await anyio.lowlevel.checkpoint()
                cleaned.append(1)
    assert cleaned


async def test_a_limit_cut_from_outside_is_no_timeout(anyio_backend):
    with anyio.CancelScope() as scope:
        scope.cancel()
        await ANYIO.limit(PATIENCE, anyio.sleep_forever)
    assert scope.cancelled_caught


def test_a_limit_on_a_cancelled_asyncio_task_is_no_timeout():
    async def main():
        task = asyncio.create_task(ANYIO.limit(PATIENCE, anyio.sleep_forever))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_a_thread_may_raise_whatever_it_likes():
    async def exits():
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        on_threads(lambda runtime: runtime.limit(PATIENCE, exits))


# Virtual time alone.


def test_virtual_time_jumps_and_is_the_same_every_time():
    def run(seed):
        runtime = VirtualRuntime(seed=seed)
        happened = []

        async def worker(name):
            for _ in range(3):
                await runtime.sleep(runtime.random() * 1000.0)
                happened.append((name, runtime.now()))

        async def main():
            tasks = [runtime.spawn(lambda name=name: worker(name)) for name in "abc"]
            while not all(task.done for task in tasks):
                await runtime.sleep(500.0)

        runtime.run(main)
        return happened

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_virtual_time_does_not_hang():
    runtime = VirtualRuntime()
    with pytest.raises(RuntimeError, match=r"at virtual time 1000\.000 everybody waits"):
        runtime.run(lambda: runtime.gate().wait(math.inf))


def test_virtual_time_knows_its_own():
    class Foreign:
        def __await__(self):
            yield "something"

    async def main():
        await Foreign()

    with pytest.raises(RuntimeError, match="awaited 'something', which is not of the virtual runtime"):
        VirtualRuntime().run(main)


def test_a_shield_needs_a_task():
    async def story():
        async with VirtualRuntime().shield():
            pytest.fail("entered")

    with pytest.raises(RuntimeError, match="no task is running"):
        run_blocking(story())


def test_virtual_cancellation_waits_for_shields():
    runtime = VirtualRuntime()
    happened = []

    async def worker():
        try:
            async with runtime.shield():
                await runtime.sleep(1.0)
                happened.append("cleaned up")
            await runtime.sleep(1.0)
            happened.append("never")
        except VirtualCancelled:
            happened.append("cancelled")
            raise

    task = runtime.spawn(worker)
    runtime.advance(0.5)
    runtime.cancel(task)
    runtime.advance(5.0)
    assert happened == ["cleaned up", "cancelled"]
    assert isinstance(task.error, VirtualCancelled)
    runtime.cancel(task)  # it is done: nothing happens
    runtime.advance(1.0)


def test_virtual_limits_and_races_end_what_they_began():
    runtime = VirtualRuntime()
    ended = []

    async def hang():
        try:
            await runtime.sleep(PATIENCE)
        finally:
            ended.append(runtime.now())

    async def race():
        await runtime.first(hang, hang)

    for work in (race, lambda: runtime.limit(30.0, hang)):
        task = runtime.spawn(work)
        runtime.advance(1.0)
        runtime.cancel(task)
        runtime.advance(0.0)
        assert task.done
    assert ended == [1001.0, 1001.0, 1002.0]


def test_contexts_of_virtual_tasks_are_their_own():
    runtime = VirtualRuntime()
    variable = ContextVar("variable", default="outside")

    async def worker(value):
        variable.set(value)
        await runtime.sleep(1.0)
        return variable.get()

    async def main():
        tasks = [runtime.spawn(lambda value=value: worker(value)) for value in "ab"]
        await runtime.sleep(2.0)
        return [task.result for task in tasks], variable.get()

    assert runtime.run(main) == (["a", "b"], "outside")


def test_a_wake_up_meant_for_an_earlier_suspension_is_ignored():
    runtime = VirtualRuntime()
    gate = runtime.gate()

    async def main():
        assert not await gate.wait(1.0)
        gate.open()  # its waiter has gone on long since
        await runtime.sleep(3.0)
        return runtime.now()

    assert runtime.run(main) == 1004.0
