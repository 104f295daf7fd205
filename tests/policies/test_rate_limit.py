"""RateLimit: who may go, who waits, who is refused."""

import math

import anyio
import pytest
from anyio.lowlevel import checkpoint

from resilience.core.errors import ConfigurationError, DeadlineExceededError, OverloadedError
from resilience.pipeline import Pipeline
from resilience.policies.rate_limit import Bucket, RateLimit, TooMany, Turn
from resilience.policies.timeout import Timeout
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.entry import deadline
from resilience.runtimes.virtual import VirtualRuntime
from tests.composition.cancelling import on_anyio, on_asyncio
from tests.composition.fake_time import BlockingOnFakeTime, Noted, on
from tests.composition.hammering import in_threads


def test_the_burst_goes_at_once_and_the_rest_is_refused_with_the_time_to_wait():
    runtime = BlockingOnFakeTime()
    limit = RateLimit(10, burst=3)
    with on(runtime):
        assert [limit.call(int) for _ in range(3)] == [0, 0, 0]
        with pytest.raises(OverloadedError, match="exceeds 10 calls per second") as caught:
            limit.call(int)
        assert caught.value.retry_after == pytest.approx(0.1)
        runtime.clock += 0.101
        limit.call(int)
        with pytest.raises(OverloadedError):
            limit.call(int)
        runtime.clock += 100.0
        assert sum(1 for _ in range(3) if limit.call(int) == 0) == 3, "no more than the burst piles up"
        with pytest.raises(OverloadedError):
            limit.call(int)


def test_the_default_burst_is_a_second():
    assert RateLimit(50).burst == 50
    assert RateLimit(0.5).burst == 1


def test_calls_wait_for_their_turn_in_order():
    runtime = VirtualRuntime()
    limit = RateLimit(10, burst=1, wait=0.35)
    went = []

    async def call(name):
        async def function():
            went.append((name, round(runtime.now() - 1000.0, 6)))

        try:
            await limit.acall(function)
        except OverloadedError as error:
            went.append((name, round(error.retry_after, 6)))

    with on(runtime):
        for name in "abcde":
            runtime.spawn(lambda name=name: call(name))
        runtime.advance(10.0)
    assert went == [("a", 0.0), ("e", 0.4), ("b", 0.1), ("c", 0.2), ("d", 0.3)]


def test_nobody_waits_beyond_the_deadline():
    runtime = BlockingOnFakeTime()
    limit = RateLimit(1, wait=math.inf)
    with on(runtime):
        limit.call(int)
        with deadline(0.5), pytest.raises(OverloadedError):
            limit.call(int)
        with deadline(1.5):
            limit.call(int)
    assert runtime.asked == [1.0]


def test_a_call_that_is_cut_while_it_waits_gives_its_turn_back():
    runtime = VirtualRuntime()
    limit = RateLimit(1, burst=1, wait=5.0)
    went = []

    async def function():
        went.append(runtime.now())

    with on(runtime):
        runtime.run(lambda: limit.acall(function))
        cut = runtime.spawn(lambda: limit.acall(function))
        runtime.spawn(lambda: limit.acall(function))
        runtime.advance(0.5)
        runtime.cancel(cut)
        runtime.advance(0.0)
        runtime.spawn(lambda: limit.acall(function))
        runtime.advance(10.0)
    assert went == [1000.0, 1001.0, 1002.0], "the newcomer has the turn that came free"


def test_a_call_cut_by_its_timeout_in_the_line_was_not_sent():
    runtime = VirtualRuntime()
    limit = RateLimit(1, wait=5.0)
    with on(runtime):
        runtime.run(lambda: limit.acall(runtime.sleep, 0.0))
        with pytest.raises((OverloadedError, DeadlineExceededError)):
            runtime.run(lambda: Pipeline(Timeout(0.5), limit).acall(runtime.sleep, 0.0))


def test_a_turn_that_has_come_is_not_given_back():
    bucket = Bucket(1.0, 1)
    turn = bucket.take(0.0, 0.0)
    assert turn == Turn(0.0)
    bucket.give_back(turn, 0.0)
    assert bucket.take(0.0, 0.0) == TooMany(1.0)
    later, last = bucket.take(0.0, 1.0), bucket.take(0.0, 2.0)
    bucket.give_back(later, 0.5)
    assert bucket.take(1.5, 9.0) == Turn(3.0), "a freed turn whose time has passed is gone: somebody goes at 2"
    assert last == Turn(2.0)


def test_the_last_of_the_line_leave_no_trace():
    bucket = Bucket(1.0, 3)
    first, second, third = [bucket.take(0.0, 9.0) for _ in range(6)][3:]
    assert [turn.at for turn in (first, second, third)] == [1.0, 2.0, 3.0]
    bucket.give_back(second, 0.5)
    bucket.give_back(third, 0.5)
    assert bucket.take(0.5, 9.0) == second
    bucket.give_back(second, 0.5)
    bucket.give_back(first, 0.5)
    assert [bucket.take(4.0, 0.0) for _ in range(4)] == [Turn(4.0)] * 3 + [TooMany(1.0)]


def test_sixty_four_threads_take_exactly_the_burst():
    runtime = BlockingOnFakeTime()
    limit = RateLimit(1e-6, burst=1000)
    outcomes = []

    def work(_):
        with on(runtime):
            for _ in range(100):
                try:
                    outcomes.append(limit.call(int))
                except OverloadedError:
                    outcomes.append(None)

    in_threads(64, work)
    assert len(outcomes) == 6400
    assert outcomes.count(0) == 1000


class Story:
    def __init__(self):
        self.limit = RateLimit(1e-3, burst=1, wait=math.inf)

    async def run(self):
        await self.limit.acall(checkpoint)
        self.suspended = self.waiting.set
        await self.limit.acall(checkpoint)

    def suspended(self):
        """Nothing to do in between."""


@pytest.mark.parametrize("how", [on_anyio, on_asyncio])
async def test_cut_in_the_line(anyio_backend_name, how):
    if anyio_backend_name == "trio" and how is on_asyncio:
        how = on_anyio
    story = Story()
    story.waiting = anyio.Event()
    suspensions, cancelled = await how(story, 2)
    assert cancelled
    assert suspensions == 2
    assert story.waiting.is_set()
    now = ANYIO.now()
    assert story.limit.bucket.take(now, math.inf).at <= now + 1000.0, "the turn that it had"


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"rate": 0}, "rate"),
        ({"rate": -1}, "rate"),
        ({"rate": math.nan}, "rate"),
        ({"rate": math.inf}, "rate"),
        ({"rate": True}, "rate"),
        ({"rate": "10"}, "rate"),
        ({"rate": 1, "burst": 0}, "burst"),
        ({"rate": 1, "burst": 1.5}, "burst"),
        ({"rate": 1, "wait": -1}, "wait"),
        ({"rate": 1, "wait": math.nan}, "wait"),
    ],
)
def test_bad_arguments_are_named(arguments, argument):
    with pytest.raises(ConfigurationError) as caught:
        RateLimit(**arguments)
    assert caught.value.argument == argument


def test_a_turn_that_was_given_back_can_be_taken_at_its_very_instant():
    bucket = Bucket(1.0, 1)
    assert bucket.take(0.0, 0.0) == Turn(0.0)
    later, last = bucket.take(0.0, 1.0), bucket.take(0.0, 2.0)
    bucket.give_back(later, 0.5)
    assert bucket.take(1.0, 0.0) == Turn(1.0)
    assert bucket.take(1.0, 0.0) == TooMany(2.0), "somebody goes at 2"
    assert last == Turn(2.0)


def test_the_error_says_whose_calls_are_too_many():
    limit = RateLimit(1e-6)
    limit.call(int)
    with pytest.raises(OverloadedError, match="^int exceeds"):
        limit.call(int)


@pytest.mark.parametrize(
    ("seconds", "error", "message"),
    [
        (0.9, OverloadedError, "exceeds 1 calls per second"),
        (1.0, OverloadedError, "stood in line until its time was up"),
        (1.5, DeadlineExceededError, "took longer than its 1.5 s"),
    ],
)
def test_only_a_call_whose_turn_came_before_its_time_was_up_was_sent(seconds, error, message):
    runtime = VirtualRuntime()
    limit = RateLimit(1, burst=1, wait=5.0)
    with on(runtime):
        runtime.run(lambda: limit.acall(runtime.sleep, 0.0))
        with pytest.raises(error, match=message):
            runtime.run(lambda: Pipeline(Timeout(seconds), limit).acall(runtime.sleep, 60.0))


def test_who_could_have_waited_but_for_its_deadline_is_given_up_for_that():
    runtime, noted, limit = BlockingOnFakeTime(), Noted(), RateLimit(2, burst=1, wait=0.5)
    with on(runtime):
        limit.call(int)
        with deadline(0.25), pytest.raises(OverloadedError):
            Pipeline(noted, limit).call(int)
        assert runtime.now() == 1000.0
        limit.call(int)
        limit.bucket.take(1000.5, 9.0)
        with pytest.raises(OverloadedError):
            Pipeline(noted, limit).call(int)
    assert noted.stopped_for == [1000.25, None], "the other would have had to wait for longer than it may"
