"""Hedge where work really runs side by side: threads, asyncio, trio; and cut anywhere."""

import contextvars
import threading

import anyio
import pytest

from resilience.pipeline import Pipeline
from resilience.policies.budget import RetryBudget
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.hedge import Hedge
from resilience.policies.policy import Policy
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.blocking import BLOCKING, run_blocking
from resilience.runtimes.stand_in import here
from resilience.runtimes.virtual import VirtualRuntime
from resilience.testing.virtual import virtual
from tests.composition.cancelling import on_anyio, on_asyncio, on_virtual_time

SOON = 1e-4
NEVER = 3600.0
where = contextvars.ContextVar("where", default="nowhere")


async def test_tasks_race(anyio_backend):
    sends = []
    cut = anyio.Event()
    token = where.set("here")

    async def function():
        sends.append(where.get())
        if len(sends) == 1:
            try:
                await anyio.sleep(NEVER)
            finally:
                cut.set()
        return len(sends)

    assert await Hedge(after=SOON).acall(function) == 2
    await cut.wait()
    assert sends == ["here", "here"]
    where.reset(token)


async def test_an_endless_clean_up_holds_up_nobody(anyio_backend):
    """The loser's clean-up ends with the event loop at the latest."""
    sends = []

    async def function():
        sends.append(1)
        if len(sends) == 1:
            try:
                await anyio.sleep(NEVER)
            finally:
                with anyio.CancelScope(shield=True):
                    await let_go.wait()
                    sends.append("clean")
                    done.set()
        return "reply"

    let_go, done = anyio.Event(), anyio.Event()
    assert await Hedge(after=SOON).acall(function) == "reply"
    assert sends == [1, 1]
    let_go.set()
    await done.wait()
    assert sends == [1, 1, "clean"]


def test_threads_race_and_losers_are_left_to_end_by_themselves():
    sends = []
    let_go, ended = threading.Event(), threading.Event()
    token = where.set("here")

    def function():
        sends.append(where.get())
        if len(sends) == 1:
            let_go.wait()
            ended.set()
        return len(sends)

    assert Hedge(after=SOON).call(function) == 2
    assert not ended.is_set()
    let_go.set()
    assert ended.wait()
    assert sends == ["here", "here"]
    where.reset(token)


class Endpoints(Policy):
    """What the innermost rooms of a client do: they give a call the means to drop replies and to end lost sends."""

    def __init__(self):
        self.dropped = []
        self.dropping = threading.Event()
        self.abandoned = []

    async def around(self, call, proceed):
        async def discard(reply):
            self.dropped.append(reply)
            self.dropping.set()

        kind = type("WithEndpoints", (type(call),), {"__slots__": ()})
        kind.discard = staticmethod(discard)
        kind.abandon = staticmethod(self.abandoned.append)
        call.__class__ = kind
        return await proceed(call)


def test_a_threads_late_answer_is_dropped_and_its_socket_may_be_shut():
    endpoints = Endpoints()
    let_go = threading.Event()
    sends = []

    def function():
        sends.append(1)
        if len(sends) == 1:
            let_go.wait()
            return "late"
        return "reply"

    assert Pipeline(endpoints, Hedge(after=SOON)).call(function) == "reply"
    (lost,) = endpoints.abandoned
    assert lost.lost
    let_go.set()
    assert endpoints.dropping.wait()
    assert endpoints.dropped == ["late"]


@pytest.mark.parametrize("kind", [ConnectionError, KeyError, KeyboardInterrupt])
async def test_errors_come_out_as_they_are(anyio_backend, kind):
    error = kind("said")

    async def function():
        raise error

    with pytest.raises(kind) as caught:
        await Hedge(after=NEVER).acall(function)
    assert caught.value is error


@pytest.mark.parametrize("kind", [ConnectionError, KeyError, SystemExit])
def test_errors_come_out_of_threads_as_they_are(kind):
    error = kind("said")

    def function():
        raise error

    with pytest.raises(kind) as caught:
        Hedge(after=NEVER).call(function)
    assert caught.value is error


async def test_work_that_is_cancelled_from_inside_says_so(anyio_backend):
    """As it would without a hedge: the caller sees the cancellation."""
    with anyio.CancelScope() as scope:

        async def function():
            scope.cancel()
            await anyio.sleep(NEVER)

        await Hedge(after=NEVER).acall(function)
    assert scope.cancelled_caught


class Story:
    """One call whose first send hangs, behind a bulkhead and on a budget."""

    def __init__(self):
        self.budget = RetryBudget(0.0, min_per_second=1.0)
        self.bulkhead = Bulkhead(2)
        self.pipeline = Pipeline(Hedge(after=SOON, budget=self.budget), self.bulkhead)
        self.sends = 0

    async def function(self):
        self.sends += 1
        runtime = here(ANYIO)
        if self.sends == 1:
            await runtime.sleep(NEVER)
        await runtime.sleep(SOON)
        await runtime.sleep(SOON)
        return "reply"

    async def run(self):
        return await self.pipeline.acall(self.function)

    def suspended(self):
        """Nothing to do in between."""

    def check(self, now):
        assert self.bulkhead.slots.taken == 0
        assert not self.bulkhead.slots.line.waiters
        assert self.budget.state.balance(now) == 10.0 - (self.sends == 2)


@pytest.mark.parametrize(("backend", "how"), [("asyncio", on_anyio), ("asyncio", on_asyncio), ("trio", on_anyio)])
def test_cut_anywhere_nothing_leaks(backend, how):
    """Real event loops on a clock that jumps: how often a call suspends is for the program to say, not the machine."""

    def run(at):
        story = Story()

        async def whole():
            suspensions, cancelled = await how(story, at)
            if not cancelled:
                await here(ANYIO).sleep(1.0)  # the loser is cut, and nobody has waited for it
            story.check(clock.now())
            return suspensions, cancelled

        with virtual() as clock:
            suspensions, cancelled = clock.run(whole, backend=backend)
        return suspensions, cancelled

    suspensions, cancelled = run(0)
    assert not cancelled
    assert suspensions >= 2, "it waits for the first send, then for both"
    cuts = [run(at) for at in range(1, suspensions + 1)]
    assert [cancelled for _, cancelled in cuts] == [True] * suspensions


def test_cut_anywhere_on_virtual_time():
    steps, _ = on_virtual_time(Story(), 0)
    assert steps >= 4
    for at in range(1, steps + 1):
        story = Story()
        on_virtual_time(story, at)
        story.check(1001.0)


# What every runtime promises of work that is started beside its caller.


async def test_started_tasks_end_when_told_to(anyio_backend):
    heard = []

    async def work(name):
        try:
            await anyio.sleep(NEVER)
        except BaseException as error:
            heard.append((name, isinstance(error, anyio.get_cancelled_exc_class())))
            raise

    running = ANYIO.start(lambda: work("running"))
    await anyio.lowlevel.checkpoint()
    await anyio.lowlevel.checkpoint()
    running.stop()
    await running.gone()
    await running.gone()
    unstarted = ANYIO.start(lambda: work("unstarted"))
    unstarted.stop()
    await unstarted.gone()
    assert heard == [("running", True)]


async def test_what_started_work_raises_is_dropped(anyio_backend):
    async def work():
        raise KeyboardInterrupt

    started = ANYIO.start(work)
    await started.gone()


def test_started_tasks_end_with_their_loop():
    heard = []

    async def work():
        try:
            await anyio.sleep(NEVER)
        finally:
            heard.append("ended")

    async def main():
        ANYIO.start(work)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()

    anyio.run(main, backend="asyncio")
    anyio.run(main, backend="trio")
    assert heard == ["ended", "ended"]


def test_started_threads_run_and_are_not_waited_for():
    let_go, ended = threading.Event(), threading.Event()

    async def work():
        let_go.wait()
        ended.set()
        raise KeyError

    started = BLOCKING.start(work)
    started.stop()
    run_blocking(started.gone())
    assert not ended.is_set()
    let_go.set()
    assert ended.wait()


def test_started_on_virtual_time():
    runtime = VirtualRuntime()
    heard = []

    async def work(seconds):
        try:
            await runtime.sleep(seconds)
        finally:
            heard.append((seconds, runtime.now()))

    async def main():
        short, long = runtime.start(lambda: work(1.0)), runtime.start(lambda: work(NEVER))
        await short.gone()
        await short.gone()
        await runtime.sleep(1.0)
        long.stop()
        await long.gone()

    runtime.run(main)
    assert heard == [(1.0, 1001.0), (NEVER, 1002.0)]
