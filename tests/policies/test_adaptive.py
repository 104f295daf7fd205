"""AdaptiveLimit on virtual time: healthy traffic is never shed, congestion is answered, counts are exact."""

import contextlib
import math
import threading

import pytest
from anyio.lowlevel import checkpoint

from resilience.core.errors import CircuitOpenError, ConfigurationError, OverloadedError
from resilience.core.outcome import BAD, GOOD
from resilience.pipeline import Pipeline
from resilience.policies.adaptive import AdaptiveLimit
from resilience.policies.laws import Aimd, Gradient2
from resilience.policies.timeout import Timeout
from resilience.runtimes.entry import deadline
from resilience.runtimes.virtual import VirtualRuntime
from tests.composition.cancelling import on_anyio
from tests.composition.fake_time import BlockingOnFakeTime, Cut, on
from tests.policies.inner import Judged, Odd, fails, turned_away

LAWS = {"aimd": Aimd(slow=0.5), "gradient2": Gradient2(window=0.1)}


class Server:
    """Serves `capacity` at once, each in 0.1 s; the rest waits in its line."""

    def __init__(self, runtime, capacity):
        self.runtime, self.capacity = runtime, capacity
        self.free_at = [0.0] * capacity
        self.answered = 0

    async def __call__(self):
        self.free_at.sort()
        begin = max(self.runtime.now(), self.free_at[0])
        self.free_at[0] = begin + 0.1
        await self.runtime.sleep(begin + 0.1 - self.runtime.now())
        self.answered += 1


async def offer(runtime, limit, server, rate, seconds):
    """Offer `rate` calls per second, whatever becomes of them; return how many were shed."""
    shed = 0

    async def one():
        nonlocal shed
        try:
            await limit.acall(server)
        except OverloadedError:
            shed += 1

    for _ in range(int(rate * seconds)):
        runtime.start(one)
        await runtime.sleep(1.0 / rate)
    return shed


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_healthy_traffic_is_never_shed(law):
    runtime = VirtualRuntime()
    limit = AdaptiveLimit(law)
    with on(runtime):
        # 15 in flight of the initial 20; the server could serve 50.
        assert runtime.run(lambda: offer(runtime, limit, Server(runtime, 50), 150.0, 60.0)) == 0
        runtime.advance(1.0)
    assert limit.inside.taken == 0
    assert limit.inside.limit >= 20


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_the_limit_grows_with_what_the_server_can_take(law):
    runtime = VirtualRuntime()
    limit = AdaptiveLimit(law)
    with on(runtime):
        runtime.run(lambda: offer(runtime, limit, Server(runtime, 150), 1000.0, 20.0))
        assert limit.inside.limit > 90
        assert runtime.run(lambda: offer(runtime, limit, Server(runtime, 150), 800.0, 5.0)) == 0


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_an_overloaded_server_keeps_its_latency(law):
    runtime = VirtualRuntime()
    limit = AdaptiveLimit(law)
    server = Server(runtime, 40)
    with on(runtime):
        # Up to capacity first, then twice the load.
        assert runtime.run(lambda: offer(runtime, limit, server, 150.0, 20.0)) == 0
        shed = runtime.run(lambda: offer(runtime, limit, server, 800.0, 30.0))
        assert shed > 7_000
        backlog = max(0.0, min(server.free_at) - runtime.now())
        assert backlog < 0.5, "a line in the server, but a short one"


def test_failures_and_slow_answers_count_and_rejections_do_not():
    def overloaded():
        raise OverloadedError("inside")

    def open_():
        raise CircuitOpenError("inside")

    class Busy:
        status_code = 429
        headers = {}  # noqa: RUF012

    runtime = BlockingOnFakeTime()
    for function, limit_after in ((overloaded, 100), (open_, 100), (fails, 90), (Busy, 90), (int, 100)):
        limit = AdaptiveLimit(Aimd(initial=100))
        with on(runtime), contextlib.suppress(OverloadedError, CircuitOpenError, ConnectionError):
            limit.call(function)
        assert limit.inside.limit == limit_after
        assert limit.inside.taken == 0


def test_a_hung_call_teaches_when_the_deadline_cuts_it_and_not_when_the_caller_does():
    runtime = VirtualRuntime()
    limit = AdaptiveLimit(Aimd(initial=100))
    with on(runtime):
        task = runtime.spawn(lambda: limit.acall(runtime.sleep, 60.0))
        runtime.advance(1.0)
        runtime.cancel(task)
        runtime.advance(1.0)
        assert (limit.inside.limit, limit.inside.taken) == (100, 0)
        with pytest.raises(TimeoutError):
            runtime.run(lambda: Pipeline(Timeout(1.0), limit).acall(runtime.sleep, 60.0))
        assert (limit.inside.limit, limit.inside.taken) == (90, 0)


def test_the_error_says_how_many():
    limit = AdaptiveLimit(Aimd(initial=1, least=1))
    with pytest.raises(OverloadedError, match="one too many: 1 are in flight"):
        limit.call(limit.call, int)


def test_sixty_four_threads_keep_exact_counts():
    limit = AdaptiveLimit(Aimd(initial=8, least=8, most=8))
    most, done, shed = [0], [], []
    lock = threading.Lock()

    def function():
        with lock:
            most[0] = max(most[0], limit.inside.taken)
        done.append(1)

    def work():
        for _ in range(300):
            try:
                limit.call(function)
            except OverloadedError:
                shed.append(1)

    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) + len(shed) == 64 * 300
    assert most[0] <= 8
    assert limit.inside.taken == 0


class Story:
    def __init__(self):
        self.limit = AdaptiveLimit()

    async def run(self):
        async def function():
            await checkpoint()
            await checkpoint()

        await self.limit.acall(function)

    def suspended(self):
        """Nothing to do in between."""


async def test_cut_anywhere(anyio_backend):
    for at in range(1, 10):
        story = Story()
        suspensions, _ = await on_anyio(story, at)
        assert story.limit.inside.taken == 0
        if at > suspensions:
            break


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: AdaptiveLimit("aimd"), "law"),
        (lambda: AdaptiveLimit(Aimd), "law"),
        (lambda: AdaptiveLimit(20), "law"),
        (lambda: Aimd(initial=0), "initial"),
        (lambda: Aimd(initial=10), "initial"),
        (lambda: Aimd(initial=201), "initial"),
        (lambda: Aimd(least=0), "least"),
        (lambda: Aimd(most=19), "most"),
        (lambda: Aimd(backoff=1.0), "backoff"),
        (lambda: Aimd(backoff=0.4), "backoff"),
        (lambda: Aimd(backoff=math.nan), "backoff"),
        (lambda: Aimd(slow=0), "slow"),
        (lambda: Gradient2(tolerance=0.9), "tolerance"),
        (lambda: Gradient2(smoothing=0), "smoothing"),
        (lambda: Gradient2(smoothing=1.1), "smoothing"),
        (lambda: Gradient2(queue=-1), "queue"),
        (lambda: Gradient2(window=0), "window"),
        (lambda: Gradient2(memory=0), "memory"),
        (lambda: Gradient2(initial=2.5), "initial"),
    ],
)
def test_bad_arguments_are_named(make, argument):
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("verdict", "function", "limit_after"),
    [
        (None, fails, 90),
        (GOOD, fails, 100),  # not the far side's fault, says who knows
        (BAD, fails, 90),
        (BAD, int, 90),
        (BAD, turned_away, 100),  # the verdict is of an attempt before
        (GOOD, turned_away, 100),
    ],
)
def test_the_verdict_of_an_inner_room_counts_unless_the_call_was_turned_away(verdict, function, limit_after):
    limit = AdaptiveLimit(Aimd(initial=100))
    with contextlib.suppress(OverloadedError, ConnectionError):
        Pipeline(limit, Judged(verdict)).call(function)
    assert limit.inside.limit == limit_after


def test_what_cannot_be_judged_gives_its_place_back_and_teaches_nothing():
    limit = AdaptiveLimit(Aimd(initial=100))
    with pytest.raises(LookupError):
        limit.call(lambda: (_ for _ in ()).throw(Odd("x")))
    assert (limit.inside.taken, limit.inside.limit) == (0, 100)


@pytest.mark.parametrize(("error", "limit_after"), [(Cut, 90), (KeyboardInterrupt, 100), (SystemExit, 100)])
def test_whoever_ends_the_program_after_the_deadline_does_not_blame_the_far_side(error, limit_after):
    runtime = BlockingOnFakeTime()
    limit = AdaptiveLimit(Aimd(initial=100))

    def function():
        runtime.clock += 2.0
        raise error

    with on(runtime), deadline(1.0), pytest.raises(error):
        limit.call(function)
    assert limit.inside.limit == limit_after
