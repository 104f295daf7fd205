"""SingleFlight: one call for all who ask the same at the same time, and what happens when that one is cut."""

import threading

import anyio
import pytest

from resilience.core.call import Call, ambient
from resilience.core.errors import ConfigurationError, DeadlineExceededError
from resilience.core.outcome import Sent
from resilience.pipeline import Pipeline
from resilience.policies.policy import Policy
from resilience.policies.single_flight import Flights, SingleFlight
from resilience.policies.timeout import Timeout
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.blocking import BLOCKING
from resilience.runtimes.entry import deadline
from resilience.runtimes.virtual import VirtualCancelled, VirtualRuntime
from tests.composition.cancelling import on_anyio, on_asyncio, on_virtual_time
from tests.composition.fake_time import BlockingOnFakeTime, on


class Source:
    def __init__(self, runtime, result="reply"):
        self.runtime, self.result, self.calls = runtime, result, []

    async def __call__(self, *args):
        self.calls.append(args)
        await self.runtime.sleep(1.0)
        if isinstance(self.result, Exception):
            raise self.result
        return [self.result, len(self.calls)]


def together(single, source, *arguments):
    """Call once per tuple of arguments, all at the same time; return what each came to."""
    runtime = source.runtime
    with on(runtime):
        tasks = [runtime.spawn(lambda args=args: single.acall(source, *args)) for args in arguments]
        runtime.advance(100.0)
    assert all(task.done for task in tasks)
    return [task.result if task.error is None else task.error for task in tasks]


def test_equal_calls_share_one_answer():
    single, source = SingleFlight(), Source(VirtualRuntime())
    one, two, other = together(single, source, (1,), (1,), (2,))
    assert one is two
    assert other is not one
    assert source.calls == [(1,), (2,)]
    assert len(single.flights) == 0
    together(single, source, (1,))
    assert len(source.calls) == 3, "what has landed is not shared"


def test_failures_are_shared():
    error = KeyError("no such")
    source = Source(VirtualRuntime(), error)
    assert together(SingleFlight(), source, (), (), ()) == [error] * 3
    assert len(source.calls) == 1


def test_a_key_says_what_equal_is():
    single, source = SingleFlight(key=lambda name, _page: name), Source(VirtualRuntime())
    together(single, source, ("a", 1), ("a", 2), ("b", 1))
    assert source.calls == [("a", 1), ("b", 1)]
    assert SingleFlight(key=lambda *, name: name).call(lambda *, name: f"{name}!", name="a") == "a!"


def test_what_cannot_be_compared_goes_alone():
    source = Source(VirtualRuntime())
    together(SingleFlight(), source, ([1],), ([1],))
    assert len(source.calls) == 2


class Unrepeatable(Policy):
    async def around(self, call, proceed):
        call.repeatable = False
        return await proceed(call)


def test_what_is_not_repeatable_goes_alone():
    source = Source(VirtualRuntime())
    together(Pipeline(Unrepeatable(), SingleFlight()), source, (), ())
    assert len(source.calls) == 2


def test_a_clients_calls_go_alone():
    """A response can be read once."""
    runtime, single = VirtualRuntime(), SingleFlight()
    source = Source(runtime)

    async def proceed(_call):
        return await source()

    for _ in range(2):
        runtime.spawn(lambda: single.around(Call(runtime, "an httpx.Request", runtime.now()), proceed))
    runtime.advance(10.0)
    assert len(source.calls) == 2


def test_a_call_that_asks_for_its_own_answer_does_not_wait_for_itself():
    calls = []
    keyed = SingleFlight(key=lambda *_: "same")

    def recursive(depth):
        calls.append(depth)
        return depth if depth == 0 else keyed.call(recursive, depth - 1)

    assert keyed.call(recursive, 3) == 0
    assert calls == [3, 2, 1, 0]


def test_who_leads_one_flight_shares_the_others():
    single, source = SingleFlight(), Source(VirtualRuntime())

    async def page(_number):
        return await single.acall(source)

    with on(source.runtime):
        tasks = [source.runtime.spawn(lambda number=number: single.acall(page, number)) for number in range(2)]
        source.runtime.advance(10.0)
    assert len(source.calls) == 1
    assert tasks[0].result is tasks[1].result


def test_a_flight_inside_another_of_the_same_key_is_shared_with_those_who_come_to_it_alone():
    outer, inner, source = SingleFlight(), SingleFlight(), Source(VirtualRuntime())
    both = Pipeline(outer, inner)
    with on(source.runtime):
        tasks = [source.runtime.spawn(lambda policy=policy: policy.acall(source)) for policy in (both, inner)]
        source.runtime.advance(10.0)
    assert len(source.calls) == 1
    assert tasks[0].result is tasks[1].result


def test_when_the_leader_is_cut_another_leads():
    runtime = VirtualRuntime()
    single, source = SingleFlight(), Source(runtime)
    with on(runtime):
        leader, one, two = (runtime.spawn(lambda: single.acall(source)) for _ in range(3))
        runtime.advance(0.5)
        runtime.cancel(leader)
        runtime.advance(10.0)
    assert isinstance(leader.error, VirtualCancelled)
    assert len(source.calls) == 2
    assert one.result is two.result
    assert len(single.flights) == 0


def test_when_the_leader_is_out_of_time_another_leads():
    runtime = VirtualRuntime()
    single, source = SingleFlight(), Source(runtime)

    async def lead():
        with deadline(0.5):
            return await single.acall(source)

    with on(runtime):
        leader = runtime.spawn(lead)
        runtime.advance(0.1)
        follower = runtime.spawn(lambda: single.acall(source))
        runtime.advance(10.0)
    assert isinstance(leader.error, DeadlineExceededError)
    assert follower.result == ["reply", 2]


def test_a_leader_whose_work_was_out_of_time_before_its_deadline_shares_that():
    source = Source(VirtualRuntime(), TimeoutError("its own"))
    assert together(SingleFlight(), source, (), ()) == [source.result] * 2
    assert len(source.calls) == 1


def test_a_follower_waits_until_its_own_deadline_only():
    runtime = VirtualRuntime()
    single, source = SingleFlight(), Source(runtime)

    async def follow():
        try:
            with deadline(0.25):
                await single.acall(source)
        finally:
            ended.append(runtime.now())

    ended = []
    with on(runtime):
        leader = runtime.spawn(lambda: single.acall(source))
        runtime.advance(0.25)
        follower = runtime.spawn(follow)
        runtime.advance(10.0)
    assert isinstance(follower.error, DeadlineExceededError)
    assert ended == [1000.5]
    assert leader.result == ["reply", 1]


def test_a_timeout_outside_cuts_a_follower():
    runtime = VirtualRuntime()
    single, source = SingleFlight(), Source(runtime)
    with on(runtime):
        leader = runtime.spawn(lambda: single.acall(source))
        runtime.advance(0.25)
        follower = runtime.spawn(lambda: Pipeline(Timeout(0.25), single).acall(source))
        runtime.advance(10.0)
    assert isinstance(follower.error, DeadlineExceededError)
    assert leader.result == ["reply", 1]


@pytest.mark.parametrize(
    ("took", "kind", "shared"),
    [
        (1.0, TimeoutError, False),
        (0.5, TimeoutError, False),
        (0.25, TimeoutError, True),
        (1.0, KeyError, True),
    ],
)
def test_what_a_leader_raises_because_its_time_is_up_is_its_own(took, kind, shared):
    runtime = BlockingOnFakeTime()
    single = SingleFlight()
    seen = []

    def function():
        seen.extend(single.flights._flights.values())
        runtime.clock += took
        raise kind("at last")

    with on(runtime), deadline(0.5), pytest.raises(kind):
        single.call(function)
    assert seen[0].over
    assert (seen[0].outcome is not None) is shared


def test_a_thread_that_follows_waits_until_its_deadline_only():
    runtime = BlockingOnFakeTime()
    leading, let_go = threading.Event(), threading.Event()

    def key():
        runtime.clock += 1.0  # by the time it would wait, a deadline of a second has passed
        return "same"

    single = SingleFlight(key=key)

    def function():
        leading.set()
        let_go.wait()

    def lead():
        with on(runtime):
            single.call(function)

    leader = threading.Thread(target=lead)
    leader.start()
    leading.wait()
    with on(runtime), deadline(0.5), pytest.raises(DeadlineExceededError) as caught:
        single.call(function)
    assert caught.value.sent is Sent.NO
    assert caught.value.service == function.__qualname__
    assert function.__qualname__ in str(caught.value)
    let_go.set()
    leader.join()


def test_who_comes_to_wait_when_the_flight_is_over_need_not():
    flights, gate = Flights(), BLOCKING.gate()
    flight, leads = flights.enter("key")
    assert leads
    assert flights.enter("key") == (flight, False)
    flights.land("key", flight, None)
    assert not flights.wait(flight, gate)
    assert flights.enter("key")[1]


def test_sixty_four_threads_and_one_call():
    single = SingleFlight()
    calls, answers = [], []
    everybody, let_go = threading.Barrier(64), threading.Event()

    def function():
        calls.append(1)
        let_go.wait()
        return object()

    def work():
        everybody.wait()
        answers.append(single.call(function))

    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    while not (len(single.flights) and len(next(iter(single.flights._flights.values())).gates) == 63):
        threading.Event().wait(1e-3)
    let_go.set()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert len(answers) == 64
    assert len(set(map(id, answers))) == 1


def test_threads_never_get_an_old_answer_and_leave_nothing_behind():
    single = SingleFlight()
    counter = iter(range(1_000_000)).__next__

    def work():
        latest = -1
        for _ in range(200):
            answer = single.call(counter)
            assert answer > latest
            latest = answer

    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(single.flights) == 0


class Story:
    """A leader and a follower; the follower is the one that is cut."""

    def __init__(self, runtime):
        self.runtime = runtime
        self.single = SingleFlight()

    async def function(self):
        for _ in range(3):
            await self.runtime.sleep(1e-6)
        return "reply"

    async def run(self):
        return await self.single.acall(self.function)

    def suspended(self):
        """Nothing to do in between."""


@pytest.mark.parametrize(("backend", "how"), [("asyncio", on_anyio), ("asyncio", on_asyncio), ("trio", on_anyio)])
@pytest.mark.parametrize("first", ["cut", "other"])
def test_cut_anywhere_nothing_leaks(backend, how, first):
    for at in range(12):
        story = Story(ANYIO)
        replies = []

        async def other(story=story, replies=replies):
            replies.append(await story.run())

        async def main(at=at, story=story, other=other):
            async with anyio.create_task_group() as group:
                if first == "other":
                    group.start_soon(other)
                    await anyio.lowlevel.checkpoint()
                    await anyio.lowlevel.checkpoint()
                    return await how(story, at)
                group.start_soon(other)
                return await how(story, at)

        suspensions, _ = anyio.run(main, backend=backend)
        assert replies == ["reply"]
        assert len(story.single.flights) == 0
        if at > suspensions:
            break


def test_cut_anywhere_on_virtual_time():
    class Virtual(Story):
        async def run(self):
            self.runtime = ambient.get().runtime
            return await super().run()

    steps, _ = on_virtual_time(Virtual(None), 0)
    for at in range(1, steps + 1):
        story = Virtual(None)
        on_virtual_time(story, at)
        assert len(story.single.flights) == 0


def test_bad_arguments_are_named():
    with pytest.raises(ConfigurationError) as caught:
        SingleFlight(key="name")
    assert caught.value.argument == "key"
