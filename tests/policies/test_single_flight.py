"""SingleFlight: one call for all who ask the same at the same time, and what happens when that one is cut."""

import threading
import traceback

import anyio
import pytest

from resilience.core.call import Call, ambient
from resilience.core.errors import ConfigurationError, DeadlineExceededError, OverloadedError
from resilience.core.outcome import Ok, Sent
from resilience.pipeline import Pipeline
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.fallback import Fallback
from resilience.policies.hedge import Hedge
from resilience.policies.policy import Policy
from resilience.policies.rate_limit import RateLimit
from resilience.policies.retry import Retry
from resilience.policies.single_flight import Flights, SingleFlight
from resilience.policies.timeout import Timeout
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.blocking import BLOCKING
from resilience.runtimes.entry import chain_for, deadline
from resilience.runtimes.virtual import VirtualCancelled, VirtualRuntime
from tests.composition.cancelling import on_anyio, on_asyncio, on_virtual_time
from tests.composition.fake_time import BlockingOnFakeTime, on
from tests.composition.hammering import in_threads


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


def test_what_was_begun_inside_a_flight_shares_those_that_come_after_it():
    single, runtime, calls, begun = SingleFlight(), VirtualRuntime(), [], []

    async def function():
        calls.append(None)
        if not begun:
            begun.extend(runtime.spawn(afterwards) for _ in range(2))
        await runtime.sleep(1.0)
        return object()

    async def afterwards():
        await runtime.sleep(5.0)
        return await single.acall(function)

    with on(runtime):
        runtime.spawn(lambda: single.acall(function))
        runtime.advance(100.0)
    assert begun[0].result is begun[1].result
    assert len(calls) == 2


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
        (1.0, KeyError, False),
        (0.25, KeyError, True),
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


class Busy(Source):
    """Fails until so many seconds have passed."""

    def __init__(self, runtime, seconds):
        super().__init__(runtime)
        self.until = runtime.now() + seconds

    async def __call__(self, *args):
        self.result = ConnectionError("busy") if self.runtime.now() < self.until else "reply"
        return (await super().__call__(*args))[0]


def led(pipeline, source, *, leader, follower=50.0):
    """Have one call lead with so many seconds, and another follow; no policy further out cuts them. What they got."""
    runtime = source.runtime
    chain = chain_for(pipeline, blocking=False)

    def ask(seconds):
        return runtime.spawn(lambda: chain(Call(runtime, (source, (), {}), now, now + seconds, "source")))

    now = runtime.now()
    with on(runtime):
        tasks = [ask(leader), ask(follower)]
        runtime.advance(100.0)
    return [task.result if task.error is None else task.error for task in tasks]


@pytest.mark.parametrize("outside", [(), (Timeout(60.0),), (Retry(2),), (Hedge(after=60.0, budget=False),)])
def test_a_leader_whose_time_is_up_in_a_line_keeps_that_to_itself(outside):
    runtime, bulkhead = VirtualRuntime(), Bulkhead(1, queue=5)
    with on(runtime):
        runtime.spawn(lambda: bulkhead.acall(runtime.sleep, 5.0))
        runtime.advance(0.1)
    failed, answered = led(Pipeline(SingleFlight(), *outside, bulkhead), Source(runtime), leader=0.5)
    assert isinstance(failed, OverloadedError)
    assert answered == ["reply", 1]


@pytest.mark.parametrize("outside", [(), (Timeout(60.0),), (Retry(9, wait=4.0),), (Hedge(after=60.0, budget=False),)])
def test_a_leader_that_has_no_time_for_another_attempt_keeps_that_to_itself(outside):
    source = Busy(VirtualRuntime(), 1.5)
    failed, answered = led(Pipeline(SingleFlight(), *outside, Retry(9, wait=4.0, budget=False)), source, leader=3.0)
    assert isinstance(failed, ConnectionError)
    assert answered == "reply"


def test_a_leader_whose_turn_comes_after_its_deadline_keeps_that_to_itself():
    runtime, rate = VirtualRuntime(), RateLimit(0.1, wait=60.0)
    pipeline = Pipeline(SingleFlight(), Bulkhead(1, queue=5), rate)
    with on(runtime):
        runtime.spawn(lambda: rate.acall(runtime.sleep, 0.0))
        runtime.spawn(lambda: pipeline.policies[1].acall(runtime.sleep, 1.0))
        runtime.advance(0.5)
    failed, answered = led(pipeline, Source(runtime), leader=5.0)
    assert isinstance(failed, OverloadedError)
    assert "exceeds" in str(failed)
    assert answered == ["reply", 1]


@pytest.mark.parametrize("leader", [3.0, 30.0])
def test_an_attempt_that_had_too_little_time_says_nothing_about_the_next(leader):
    """The inner one stops for the limit of an attempt; the outer goes on, and fails for another reason."""
    pipeline = Pipeline(SingleFlight(), Retry(2, wait=0.0, budget=False), Retry(2, wait=leader - 1.0, budget=False))
    source = Source(VirtualRuntime(), ConnectionError("down"))
    failed, also = led(pipeline, source, leader=leader)
    assert failed is also
    assert len(source.calls) == 2


@pytest.mark.parametrize(
    "inside",
    [(Timeout(0.5),), (Timeout(1.5), Retry(9, wait=2.0, budget=False)), (Timeout(0.5), Bulkhead(1, queue=5))],
)
def test_a_limit_further_in_is_everybodys(inside):
    """Else all would fail with it one after the other."""
    runtime = VirtualRuntime()
    source = Source(runtime, ConnectionError("down"))
    if len(inside) > 1 and isinstance(inside[1], Bulkhead):
        with on(runtime):
            runtime.spawn(lambda: inside[1].acall(runtime.sleep, 5.0))
            runtime.advance(0.1)
    failed, also = led(Pipeline(SingleFlight(), *inside), source, leader=40.0)
    assert isinstance(failed, Exception)
    assert failed is also


@pytest.mark.parametrize(
    ("inside", "shared"),
    [((), False), ((Timeout(60.0),), False), ((Timeout(1.5),), True)],
)
def test_in_threads_too_a_leader_without_time_for_another_attempt_keeps_that_to_itself(inside, shared):
    runtime, single, seen = BlockingOnFakeTime(), SingleFlight(), []
    pipeline = Pipeline(single, *inside, Retry(9, wait=4.0, budget=False))

    def function():
        seen.extend(single.flights._flights.values())
        runtime.clock += 1.0
        raise ConnectionError("down")

    with on(runtime), deadline(3.0), pytest.raises(ConnectionError):
        pipeline.call(function)
    assert len(seen) == 1
    assert (seen[0].outcome is not None) is shared


def test_a_follower_without_time_does_not_lead():
    runtime, single, calls = BlockingOnFakeTime(), SingleFlight(), []
    errors = []

    def function():
        calls.append(1)
        while not next(iter(single.flights._flights.values())).gates:
            threading.Event().wait(1e-3)
        runtime.clock += 1000.0  # nobody has any time left
        raise ConnectionError("down")

    def ask(_):
        with on(runtime), deadline(500.0):
            try:
                single.call(function)
            except Exception as error:
                errors.append(error)

    in_threads(2, ask)
    assert calls == [1]
    assert sorted(type(error).__name__ for error in errors) == ["ConnectionError", "DeadlineExceededError"]
    assert next(error for error in errors if isinstance(error, TimeoutError)).sent is Sent.NO


def test_all_are_told_that_a_fallback_has_answered():
    source = Source(VirtualRuntime(), ConnectionError("down"))
    runtime, pipeline = source.runtime, Pipeline(SingleFlight(), Fallback("default"))
    with on(runtime):
        tasks = [runtime.spawn(lambda: pipeline.aoutcome(source)) for _ in range(3)]
        runtime.advance(10.0)
    assert [task.result for task in tasks] == [Ok("default", source.result)] * 3
    assert len(source.calls) == 1


def test_who_follows_a_call_that_was_answered_is_told_of_no_fallback():
    source = Source(VirtualRuntime())
    runtime, pipeline = source.runtime, Pipeline(SingleFlight(), Fallback("default"))
    with on(runtime):
        tasks = [runtime.spawn(lambda: pipeline.aoutcome(source)) for _ in range(2)]
        runtime.advance(10.0)
    assert [task.result for task in tasks] == [Ok(["reply", 1])] * 2


def test_one_failure_for_many_does_not_grow_with_them():
    lengths = set()
    for callers in (2, 3, 50):
        source = Busy(VirtualRuntime(), 60.0)
        errors = together(Pipeline(Retry(2, wait=0.0, budget=False), SingleFlight()), source, *[()] * callers)
        assert len(source.calls) == 2
        assert set(errors) == {source.result}
        assert source.result.__notes__ == ["attempt 1: ConnectionError", "attempt 2: ConnectionError"]
        lengths.add(len(traceback.extract_tb(source.result.__traceback__)))
    assert len(lengths) == 1


def test_who_follows_sees_where_the_leader_failed():
    source = Source(VirtualRuntime(), ConnectionError("down"))
    single, seen = SingleFlight(), []

    async def ask():
        try:
            await single.acall(source)
        except ConnectionError as error:
            seen.append([frame.name for frame in traceback.extract_tb(error.__traceback__)])

    with on(source.runtime):
        for _ in range(2):
            source.runtime.spawn(ask)
        source.runtime.advance(10.0)
    for names in seen:
        assert names[0] == "ask"
        assert names[-2:] == ["_lead", "__call__"]
    assert len(seen[0]) == len(seen[1])


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


@pytest.mark.parametrize(("time", "sends"), [(0.25, 1), (0.5, 0), (0.75, 0)])
def test_who_has_no_time_left_when_the_leader_has_none_either_sends_nothing(time, sends):
    single, sent = SingleFlight(key=lambda: "same"), []

    class Late(BlockingOnFakeTime):
        """The leader is out of time when another is about to wait for it."""

        def gate(self):
            self.clock += time
            single.flights.land((function, "same"), flight, None)
            return super().gate()

    def function():
        sent.append("reply")

    flight, _ = single.flights.enter((function, "same"))
    with on(Late()), deadline(0.5):
        error = single.outcome(function)
    assert len(sent) == sends
    if not sends:
        assert isinstance(error.error, DeadlineExceededError)
        assert (error.error.sent, error.error.service) == (Sent.NO, function.__qualname__)


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
