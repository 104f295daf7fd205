"""Throttle: a healthy backend is asked for everything, an overloaded one for little more than it takes."""

import math
import threading

import pytest

from resilience.core.errors import ConfigurationError, DeadlineExceededError, OverloadedError
from resilience.core.outcome import BAD, GOOD, Blame
from resilience.pipeline import Pipeline
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.rate_limit import Bucket, Turn
from resilience.policies.throttle import Acceptance, Throttle
from resilience.policies.timeout import Timeout
from resilience.runtimes.entry import deadline
from resilience.runtimes.virtual import VirtualRuntime
from tests.composition.fake_time import BlockingOnFakeTime, Cut, on
from tests.policies.inner import Judged, Odd, fails, turned_away


def load(throttle, runtime, functions):
    """Call each in turn; return how many were held back."""
    held = 0
    with on(runtime):
        for function in functions:
            try:
                throttle.call(function)
            except OverloadedError:
                held += 1
            except ConnectionError:
                pass
    return held


def test_a_healthy_backend_is_asked_for_everything():
    assert load(Throttle(), BlockingOnFakeTime(), [int] * 1000) == 0


def test_half_refused_is_still_nothing_held_back():
    assert load(Throttle(), BlockingOnFakeTime(), [int, fails] * 500) == 0


def test_a_dead_backend_is_asked_for_a_fifth():
    throttle = Throttle()
    held = load(throttle, BlockingOnFakeTime(), [fails] * 2000)
    assert 1500 < held < 1650
    assert throttle.acceptance.refusal(1000.0) == 0.8


def test_it_is_asked_for_twice_what_it_accepts():
    """Capacity for 10 calls a second, of 100 offered: SRE's formula lets 20 through."""
    runtime = BlockingOnFakeTime()
    sent = accepted = 0
    capacity = Bucket(10.0, 10)

    def backend():
        nonlocal sent, accepted
        sent += 1
        if not isinstance(capacity.take(runtime.clock, 0.0), Turn):
            raise ConnectionError
        accepted += 1

    throttle = Throttle(window=12.0, most=0.99)
    for _ in range(10_000):
        load(throttle, runtime, [backend])
        runtime.clock += 0.01
    assert accepted == pytest.approx(1000, rel=0.15)
    assert sent == pytest.approx(2 * accepted, rel=0.15)


def test_it_recovers():
    runtime = BlockingOnFakeTime()
    throttle = Throttle(window=12.0)
    assert load(throttle, runtime, [fails] * 100) > 50
    runtime.clock += 13.0
    assert load(throttle, runtime, [int] * 100) == 0


def test_a_status_that_says_enough_is_a_refusal():
    class Response:
        status_code = 429
        headers = {}  # noqa: RUF012

    assert load(Throttle(), BlockingOnFakeTime(), [Response] * 100) > 50


def test_what_says_nothing_does_not_count():
    bulkhead = Bulkhead(1)
    bulkhead.slots.take()
    throttle = Throttle()
    assert load(Pipeline(throttle, bulkhead), BlockingOnFakeTime(), [int] * 100) == 100
    assert throttle.acceptance.refusal(1000.0) == 0.0
    assert sum(throttle.acceptance._asked) == 0


def test_a_cut_call_does_not_count_and_a_hung_one_does():
    runtime = VirtualRuntime()
    throttle = Throttle(window=12.0)
    with on(runtime):
        task = runtime.spawn(lambda: throttle.acall(runtime.sleep, 100.0))
        runtime.advance(0.5)
        assert sum(throttle.acceptance._asked) == 1
        runtime.cancel(task)
        runtime.advance(0.0)
        assert sum(throttle.acceptance._asked) == 0
        for _ in range(10):
            runtime.spawn(lambda: throttle.acall(runtime.sleep, 100.0))
        runtime.advance(0.5)
        assert throttle.acceptance.refusal(runtime.now()) == 0.0, "a burst does not refuse itself"
        runtime.advance(2.0)
        assert throttle.acceptance.refusal(runtime.now()) == 0.8
        runtime.advance(100.0)
        assert throttle.acceptance.refusal(runtime.now()) == 0.0


def test_a_call_that_ends_when_it_is_forgotten_changes_nothing():
    acceptance = Acceptance(2.0, 12.0, 0.8)
    number = acceptance.ask(100.0, 0.9)
    acceptance.settle(number, Blame.BAD, 200.0)
    assert sum(acceptance._asked) == sum(acceptance._open) == 0


def test_sixty_four_threads_keep_exact_counts():
    runtime = BlockingOnFakeTime()
    throttle = Throttle()

    def work():
        load(throttle, runtime, [int, fails, int] * 50)

    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    acceptance = throttle.acceptance
    assert (sum(acceptance._asked), sum(acceptance._accepted), sum(acceptance._open)) == (9600, 6400, 0)


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"k": 1}, "k"),
        ({"k": 101}, "k"),
        ({"k": math.nan}, "k"),
        ({"k": "2"}, "k"),
        ({"k": True}, "k"),
        ({"window": 0}, "window"),
        ({"window": math.inf}, "window"),
        ({"most": 0}, "most"),
        ({"most": 1.0}, "most"),
        ({"most": "0.5"}, "most"),
    ],
)
def test_bad_arguments_are_named(arguments, argument):
    with pytest.raises(ConfigurationError) as caught:
        Throttle(**arguments)
    assert caught.value.argument == argument


@pytest.mark.parametrize("width", [0.25, 1.0, 10.0])
@pytest.mark.parametrize("pause", range(1, 16))
def test_the_window_holds_twelve_twelfths_neither_more_nor_less(pause, width):
    acceptance = Acceptance(2.0, 12.0 * width, 0.99)
    for number in range(30):
        now = (number + 0.5) * width
        acceptance.settle(acceptance.ask(now, 0.995), Blame.BAD, now)
        asked = min(number + 1, 12)
        assert acceptance.refusal(now) == pytest.approx(asked / (asked + 1))
    left = max(0, 12 - pause)
    assert acceptance.refusal((29.5 + pause) * width) == pytest.approx(left / (left + 1))


def test_a_new_one_has_asked_nobody():
    acceptance = Acceptance(2.0, 12.0, 0.9)
    assert acceptance.refusal(0.0) == acceptance.refusal(5.0) == 0.0
    acceptance.settle(acceptance.ask(5.0, 0.5), Blame.BAD, 5.0)
    assert acceptance.refusal(5.0) == 0.5


def test_a_rejection_within_counts_by_its_own_verdict_and_the_far_sides_by_its():
    throttle = Throttle()
    runtime = BlockingOnFakeTime()
    load(throttle, runtime, [turned_away] * 20)
    assert throttle.acceptance.refusal(0.0) == 0.0
    load(throttle, runtime, [fails] * 20)
    assert throttle.acceptance.refusal(0.0) == 0.8


def test_a_call_that_its_deadline_cuts_after_it_had_its_time_counts_as_refused():
    runtime = VirtualRuntime()
    for seconds, refusal in ((1.0, 0.8), (0.01, 0.0)):
        throttle = Throttle(window=12.0)
        guarded = Pipeline(Timeout(seconds), throttle)
        with on(runtime):
            for _ in range(10):
                with pytest.raises((DeadlineExceededError, OverloadedError)):
                    runtime.run(lambda guarded=guarded: guarded.acall(runtime.sleep, 100.0))
        assert throttle.acceptance.refusal(runtime.now()) == refusal


@pytest.mark.parametrize(
    ("verdict", "function", "refusal"),
    [
        (None, fails, 0.8),
        (GOOD, fails, 0.0),  # not the far side's fault, says who knows
        (BAD, fails, 0.8),
        (BAD, int, 0.8),
        (BAD, turned_away, 0.0),  # the verdict is of an attempt before
        (GOOD, turned_away, 0.0),
    ],
)
def test_the_verdict_of_an_inner_room_counts_unless_the_call_was_turned_away(verdict, function, refusal):
    throttle = Throttle()
    load(Pipeline(throttle, Judged(verdict)), BlockingOnFakeTime(), [function] * 20)
    assert throttle.acceptance.refusal(1000.0) == refusal


def test_what_cannot_be_judged_says_nothing():
    throttle = Throttle()
    with pytest.raises(LookupError):
        throttle.call(lambda: (_ for _ in ()).throw(Odd("x")))
    assert sum(throttle.acceptance._asked) == sum(throttle.acceptance._open) == 0


@pytest.mark.parametrize(("error", "refusal"), [(Cut, 0.5), (KeyboardInterrupt, 0.0), (SystemExit, 0.0)])
def test_whoever_ends_the_program_after_the_deadline_does_not_blame_the_far_side(error, refusal):
    runtime = BlockingOnFakeTime()
    throttle = Throttle()

    def function():
        runtime.clock += 2.0
        raise error

    with on(runtime), deadline(1.0), pytest.raises(error):
        throttle.call(function)
    assert throttle.acceptance.refusal(runtime.clock) == refusal


def test_the_error_says_whose_calls_are_held_back():
    throttle, runtime = Throttle(), BlockingOnFakeTime()
    load(throttle, runtime, [fails] * 100)
    with on(runtime), pytest.raises(OverloadedError, match="^int was held back"):
        for _ in range(100):
            throttle.call(int)


def test_the_first_call_of_all_is_forgotten_after_a_window_too():
    acceptance = Acceptance(2.0, 12.0, 0.9)
    acceptance.settle(acceptance.ask(0.5, 0.5), Blame.BAD, 0.5)
    assert acceptance.refusal(11.9) == 0.5
    assert acceptance.refusal(12.0) == 0.0


@pytest.mark.parametrize("blame", Blame)
def test_what_ends_when_it_has_just_been_forgotten_is_not_put_down_to_what_is_asked_then(blame):
    acceptance = Acceptance(2.0, 12.0, 0.9)
    number = acceptance.ask(0.5, 0.5)
    acceptance.settle(acceptance.ask(12.5, 0.5), Blame.BAD, 12.5)
    acceptance.settle(number, blame, 12.5)
    assert acceptance.refusal(12.5) == 0.5
