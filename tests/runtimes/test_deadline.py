"""``deadline()`` in sync and async code: nested, inherited, and noticed."""

import threading

import anyio
import pytest

from resilience.core.call import ambient
from resilience.core.errors import ConfigurationError, DeadlineExceededError
from resilience.core.outcome import Sent
from resilience.policies.policy import Policy
from resilience.policies.retry import Retry
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.entry import deadline
from resilience.runtimes.virtual import VirtualRuntime
from tests.composition.fake_time import BlockingOnFakeTime, on

A_MOMENT = 0.001
PATIENCE = 60.0


def test_the_earlier_of_nested_deadlines_wins():
    with on(BlockingOnFakeTime()):
        with deadline(5.0) as outer:
            with deadline(2.0) as inner:
                assert (outer, inner) == (1005.0, 1002.0)
            with deadline(60.0) as later:
                assert later == 1005.0
            assert ambient.get().deadline == 1005.0
        assert ambient.get().deadline == float("inf")


def test_nothing_is_begun_after_it():
    began = []
    with on(BlockingOnFakeTime()) as runtime, deadline(2.0):
        runtime.clock += 2.0
        with pytest.raises(DeadlineExceededError) as caught:
            Policy().call(began.append, 1)
    assert caught.value.sent is Sent.NO
    assert "append has passed" in str(caught.value)
    assert not began


async def test_nothing_asynchronous_is_begun_after_it(anyio_backend):
    with deadline(A_MOMENT) as instant:
        while ANYIO.now() < instant:
            await anyio.lowlevel.checkpoint()
        with pytest.raises(DeadlineExceededError) as caught:
            await Policy().acall(anyio.sleep, 0)
    assert caught.value.sent is Sent.NO


async def test_async_work_is_cut_by_it(anyio_backend):
    with deadline(A_MOMENT), pytest.raises(DeadlineExceededError) as caught:
        await Policy()(anyio.sleep_forever)()
    assert caught.value.sent is Sent.MAYBE


async def test_a_timeout_of_the_work_itself_passes_through(anyio_backend):
    async def function():
        raise TimeoutError("mine")

    with deadline(PATIENCE), pytest.raises(TimeoutError, match="mine"):
        await Policy().acall(function)


async def test_tasks_begun_inside_inherit_it(anyio_backend):
    seen = []

    async def look():
        seen.append(ambient.get().deadline)

    with deadline(PATIENCE) as instant:
        async with anyio.create_task_group() as group:
            group.start_soon(look)
    assert seen == [instant]
    assert ambient.get() is None


def test_threads_have_their_own():
    seen = []
    with deadline(PATIENCE):
        thread = threading.Thread(target=lambda: seen.append(ambient.get()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_concurrent_virtual_tasks_have_their_own():
    runtime = VirtualRuntime()
    ended = {}

    async def one(seconds):
        with deadline(seconds):
            with pytest.raises(DeadlineExceededError):
                await Retry().acall(runtime.sleep, 100.0)
            ended[seconds] = runtime.now()

    async def main():
        for seconds in (3.0, 1.0, 2.0):
            runtime.spawn(lambda seconds=seconds: one(seconds))
        await runtime.sleep(50.0)

    with on(runtime):
        runtime.run(main)
    assert ended == {1.0: 1001.0, 2.0: 1002.0, 3.0: 1003.0}


def test_bad_durations_are_refused_before_anything_is_entered():
    for wrong in (0, -1.0, float("nan"), float("inf"), True, "2", None):
        with pytest.raises(ConfigurationError) as caught:
            deadline(wrong)
        assert caught.value.argument == "seconds"


def test_a_decorated_function_has_its_time_anew_with_each_call():
    @deadline(5.0)
    def function(word: str) -> tuple[str, float]:
        """Say it."""
        return word, ambient.get().deadline

    with on(BlockingOnFakeTime()) as runtime:
        assert function("one") == ("one", 1005.0)
        runtime.clock += 2.0
        assert function("two") == ("two", 1007.0)
    assert (function.__name__, function.__doc__) == ("function", "Say it.")


async def test_a_decorated_coroutine_function_keeps_it_while_it_runs(anyio_backend):
    """Not while its coroutine is made."""
    seen = []

    @deadline(PATIENCE)
    async def function():
        await anyio.lowlevel.checkpoint()
        seen.append(ambient.get().deadline - ANYIO.now())

    coroutine = function()
    assert ambient.get() is None
    await coroutine
    assert 0.0 < seen[0] <= PATIENCE
    assert ambient.get() is None


def test_generators_are_refused():
    with pytest.raises(ConfigurationError):

        @deadline(5.0)
        def function():
            yield 1


def test_one_deadline_is_entered_once_at_a_time():
    with on(BlockingOnFakeTime()) as runtime:
        again = deadline(5.0)
        with again:
            with pytest.raises(RuntimeError, match="of its own"), again:
                raise AssertionError
            assert ambient.get().deadline == 1005.0
        runtime.clock += 1.0
        with again as instant:
            assert instant == 1006.0
