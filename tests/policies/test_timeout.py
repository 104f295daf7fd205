"""A limit on the whole inside, however it was begun."""

import contextlib
import threading
from contextvars import copy_context

import anyio
import pybreaker
import pytest

from resilience.core.call import ambient
from resilience.core.errors import DeadlineExceededError, OverloadedError
from resilience.core.outcome import Sent
from resilience.pipeline import Pipeline
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.policy import Policy
from resilience.policies.retry import Retry
from resilience.policies.timeout import Timeout
from resilience.runtimes.blocking import run_blocking
from resilience.runtimes.entry import deadline
from resilience.runtimes.virtual import VirtualRuntime
from resilience.testing.virtual import virtual
from tests.composition.fake_time import BlockingOnFakeTime, on

A_MOMENT = 0.001
PATIENCE = 60.0


def test_a_thread_is_left_behind_when_its_time_is_up():
    proceed = threading.Event()
    ended = threading.Event()

    @Timeout(A_MOMENT)
    def function():
        proceed.wait(PATIENCE)
        ended.set()

    with pytest.raises(DeadlineExceededError, match=r"took longer than its 0\.001 s") as caught:
        function()
    assert caught.value.sent is Sent.MAYBE
    assert "function" in caught.value.service
    assert not ended.is_set()
    proceed.set()
    assert ended.wait(PATIENCE)


async def test_a_task_is_cancelled_when_its_time_is_up(anyio_backend):
    ended = []

    @Timeout(A_MOMENT)
    async def function():
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(1)

    with pytest.raises(DeadlineExceededError):
        await function()
    assert ended


async def test_work_that_takes_its_cancellation_for_an_answer(anyio_backend):
    @Timeout(A_MOMENT)
    async def function():
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            return "saved"

    assert await function() == "saved"


@pytest.mark.parametrize("how", ["raises", "answers"])
async def test_limits_further_out_are_none_the_wiser_for_what_work_makes_of_its_cancellation(anyio_backend, how):
    @Timeout(A_MOMENT)
    async def driver():
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            if how == "raises":
                raise KeyError(how) from None
            return how

    @Timeout(3 * A_MOMENT)
    async def handler():
        with contextlib.suppress(KeyError):
            assert await driver() == how
        await anyio.sleep_forever()

    for _ in range(2):
        with anyio.fail_after(PATIENCE), pytest.raises(DeadlineExceededError):
            await handler()
    with anyio.move_on_after(A_MOMENT) as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught


def test_work_that_takes_its_cancellation_for_an_answer_on_virtual_time():
    runtime = VirtualRuntime()

    @Timeout(1.0)
    async def function():
        try:
            await runtime.sleep(9.0)
        except BaseException:
            return "saved"

    with on(runtime):
        assert runtime.run(function) == "saved"


@pytest.mark.parametrize("error", [TimeoutError("mine"), TimeoutError(), DeadlineExceededError("mine"), KeyError("x")])
def test_errors_of_the_work_itself_pass_through(error):
    def function():
        raise error

    with on(BlockingOnFakeTime()), pytest.raises(type(error)) as caught:
        Timeout(5.0).call(function)
    assert caught.value is error


def test_an_error_of_the_work_itself_passes_through_however_late():
    with on(BlockingOnFakeTime()) as runtime:

        def function():
            runtime.clock += 9.0
            raise TimeoutError("mine")

        with pytest.raises(TimeoutError, match="mine") as caught:
            Timeout(5.0).call(function)
    assert type(caught.value) is TimeoutError


def test_the_earlier_of_deadline_and_timeout_wins():
    runtime = VirtualRuntime()

    async def ended(limit, around):
        began = runtime.now()
        with deadline(around), pytest.raises(DeadlineExceededError):
            await Timeout(limit).acall(runtime.sleep, 50.0)
        return runtime.now() - began

    async def main():
        assert await ended(2.0, 5.0) == 2.0
        assert await ended(5.0, 2.0) == 2.0

    with on(runtime):
        runtime.run(main)


def test_what_is_called_inside_sees_the_deadline():
    seen = []

    class Look(Policy):
        async def around(self, call, proceed):
            seen.append(call.remaining())
            return await proceed(call)

    runtime = BlockingOnFakeTime()
    with on(runtime):
        Timeout(5.0).call(lambda: Look().call(lambda: seen.append(ambient.get().deadline)))
        Look().call(lambda: None)
    assert seen == [5.0, 1005.0, float("inf")]


class LeavingBehind(BlockingOnFakeTime):
    """Threads for real; their time is up as soon as the work inside has begun to hang."""

    def __init__(self, hanging):
        super().__init__()
        self.hanging = hanging
        self.threads = []

    async def limit(self, seconds, work):
        async def step():
            return await work()

        thread = threading.Thread(target=copy_context().run, args=(run_blocking, step()))
        self.threads.append(thread)
        thread.start()
        assert self.hanging.wait(PATIENCE)
        self.hanging.clear()
        self.clock += seconds
        raise TimeoutError


@pytest.mark.parametrize("listeners", [(), (pybreaker.CircuitBreakerListener(),)])
@pytest.mark.parametrize(("seconds", "state"), [(1.0, "open"), (0.04, "closed")])
def test_a_circuit_hears_of_a_thread_that_is_left_behind(seconds, state, listeners):
    """As of a task that is cut: else a function that hangs for ever would never open it."""
    hanging, proceed = threading.Event(), threading.Event()
    breaker = CircuitBreaker(consecutive_failures=1, listeners=listeners)

    @Pipeline(Timeout(seconds), breaker)
    def function():
        hanging.set()
        proceed.wait(PATIENCE)

    with on(LeavingBehind(hanging)) as runtime:
        with pytest.raises(DeadlineExceededError):
            function()
        assert breaker.current_state == state
        proceed.set()
        for thread in runtime.threads:
            thread.join()
        assert breaker.current_state == state, "what it still brings is too late"


def test_what_is_left_behind_takes_no_sends_from_those_further_out():
    hanging, proceed = threading.Event(), threading.Event()
    began = []

    @Pipeline(Retry(3, wait=0.0, budget=False), Timeout(1.0), Retry(2, wait=0.0, budget=False))
    def function():
        began.append(1)
        hanging.set()
        proceed.wait(PATIENCE)

    with on(LeavingBehind(hanging)), pytest.raises(DeadlineExceededError):
        function()
    proceed.set()
    assert len(began) == 3


def test_an_attempt_begun_just_before_the_deadline_is_not_to_blame():
    runtime = VirtualRuntime()
    breaker = CircuitBreaker(consecutive_failures=2)

    @Pipeline(Timeout(1.0), Retry(wait=0.0), breaker)
    async def function():
        await runtime.sleep(0.97)
        raise ConnectionError

    with on(runtime), pytest.raises(DeadlineExceededError):
        runtime.run(function)
    assert (breaker.fail_counter, breaker.current_state) == (1, "closed")


def test_having_stood_in_a_line_once_excuses_no_later_attempt():
    runtime = VirtualRuntime()
    bulkhead = Bulkhead(1, queue=1)

    class LateRelease(Policy):
        """Frees the slot between the two attempts."""

        attempts = 0

        async def around(self, call, proceed):
            self.attempts += 1
            if self.attempts == 2:
                bulkhead.slots.give_back()
            return await proceed(call)

    @Pipeline(Retry(2, wait=0.0, on=(OverloadedError, TimeoutError)), LateRelease(), Timeout(1.0), bulkhead)
    async def function():
        await runtime.sleep(5.0)

    assert bulkhead.slots.take()
    with on(runtime), pytest.raises(DeadlineExceededError) as caught:
        runtime.run(function)
    assert [record.error for record in caught.value.attempts] == ["OverloadedError", "DeadlineExceededError"]


def test_what_was_sent_is_not_denied_by_standing_in_a_line_later():
    """`OverloadedError` says that nothing was sent; here the first attempt was, and the second stood in line."""
    runtime = VirtualRuntime()
    bulkhead = Bulkhead(1, queue=3)
    sends = []

    async def function():
        sends.append(runtime.now())
        raise ConnectionError

    async def other():
        await runtime.sleep(0.5)
        await bulkhead.acall(runtime.sleep, 100.0)

    pipeline = Pipeline(Timeout(5.0), Retry(3, wait=1.0), bulkhead)
    with on(runtime):
        runtime.spawn(other)
        call = runtime.spawn(lambda: pipeline.acall(function))
        runtime.advance(10.0)
    assert len(sends) == 1
    assert isinstance(call.error, DeadlineExceededError)
    assert call.error.sent is Sent.MAYBE


def test_in_threads_neither():
    bulkhead = Bulkhead(1, queue=3)
    sends = []

    def function():
        sends.append(1)
        bulkhead.slots.taken += 1  # somebody else is inside from now on
        raise ConnectionError

    with virtual() as clock:
        with pytest.raises(DeadlineExceededError) as caught:
            Pipeline(Timeout(5.0), Retry(3, wait=1.0), bulkhead).call(function)
        assert clock.elapsed == 5.0
    assert caught.value.sent is Sent.MAYBE
    assert len(sends) == 1


def test_a_timeout_leaves_circuits_further_out_to_themselves():
    breaker = CircuitBreaker(consecutive_failures=1)
    with on(BlockingOnFakeTime()) as runtime, pytest.raises(DeadlineExceededError):
        Pipeline(Timeout(9.0), breaker, Timeout(1.0)).call(lambda: run_blocking(runtime.sleep(5.0)))
    assert breaker.current_state == "open"


def test_no_work_is_begun_when_there_is_no_time_left():
    runtime = BlockingOnFakeTime()
    began = []

    class Slow(Policy):
        async def around(self, call, proceed):
            runtime.clock += 2.0
            return await proceed(call)

    with on(runtime), deadline(2.0), pytest.raises(DeadlineExceededError) as caught:
        Pipeline(Slow(), Timeout(5.0)).call(began.append, 1)
    assert caught.value.sent is Sent.NO
    assert not began


def test_an_inner_timeout_is_worth_another_attempt_until_the_outer_one_is_over():
    runtime = VirtualRuntime()
    began = []

    @Pipeline(Timeout(2.5), Retry(10, wait=0.0, budget=False), Timeout(1.0))
    async def function():
        began.append(runtime.now())
        await runtime.sleep(50.0)

    async def main():
        with pytest.raises(DeadlineExceededError):
            await function()
        return runtime.now()

    with on(runtime):
        assert runtime.run(main) == 1002.5
    assert began == [1000.0, 1001.0, 1002.0]


def test_a_retry_around_a_timeout_knows_what_happened_inside_it():
    """A thread's work has its own copy of the call: what is learnt there comes back when it ends in time."""
    runtime = BlockingOnFakeTime()
    sends = []

    @Pipeline(Retry(5, wait=0.0, budget=False), Timeout(60.0), Retry(2, wait=0.0, budget=False))
    def function():
        sends.append(1)
        raise ConnectionError

    with on(runtime), pytest.raises(ConnectionError):
        function()
    assert len(sends) == 5


def test_a_timeout_that_cannot_be_waited_for_by_the_system():
    assert Timeout(1e300).call(lambda: "reply") == "reply"
