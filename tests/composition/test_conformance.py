"""Every policy on every runtime: the same story gives the same outcomes, the same calls, the same waits."""

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilience.core.errors import ResilienceError
from resilience.pipeline import Pipeline
from resilience.policies.adaptive import AdaptiveLimit
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.fallback import Fallback
from resilience.policies.guard import Guard
from resilience.policies.hedge import Hedge
from resilience.policies.keyed import KeyedCircuitBreaker
from resilience.policies.laws import Aimd
from resilience.policies.rate_limit import RateLimit
from resilience.policies.retry import Retry
from resilience.policies.single_flight import SingleFlight
from resilience.policies.throttle import Throttle
from resilience.policies.timeout import Timeout
from resilience.runtimes.blocking import run_blocking
from tests.composition.fake_time import AnyioOnFakeTime, BlockingOnFakeTime, NotedVirtualRuntime, on

POLICIES = {
    "retry": lambda: Retry(4, on=(ConnectionError, TimeoutError, lambda reply: reply == "busy")),
    "retry without budget": lambda: Retry(3, wait=0.5, budget=False),
    "circuit": lambda: CircuitBreaker(consecutive_failures=2, open_for=2.0),
    "timeout": lambda: Timeout(1.0),
    "bulkhead": lambda: Bulkhead(1),
    "hedge": lambda: Hedge(after=60.0, extra=2),
    "fallback": lambda: Fallback("default", last_good=1.0, on=(ConnectionError, KeyError)),
    "guard": lambda: Guard(check=lambda reply: reply == "reply"),
    "single flight": SingleFlight,
    "rate limit": lambda: RateLimit(0.5, burst=1, wait=1.5),
    "throttle": lambda: Throttle(k=1.1),
    "bulkhead with priorities": lambda: Bulkhead(1, queue=2, priority=lambda: 1.0, lifo_after=1.0),
    "circuit that minds slow calls": lambda: CircuitBreaker(slow_after=0.5, minimum_calls=3, slow_start=5.0),
    "circuit in the shade": lambda: CircuitBreaker(consecutive_failures=1, shadow=True),
    "circuit by key": lambda: KeyedCircuitBreaker(lambda: "key", consecutive_failures=2, open_for=2.0),
    "adaptive limit": lambda: AdaptiveLimit(Aimd(initial=1, least=1, slow=1.0)),
    "all": lambda: Pipeline(
        Timeout(5.0),
        Retry(3, wait=0.25),
        CircuitBreaker(consecutive_failures=3, open_for=1.0, probes=2),
        Bulkhead(1, queue=1),
        Timeout(1.0),
    ),
}
STEP = st.tuples(
    st.sampled_from([0.0, 0.25, 0.5, 2.0, 7.0]),
    st.sampled_from(["reply", "busy", ConnectionError, KeyError, TimeoutError]),
)
STORY = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 3.0]), st.lists(STEP, min_size=1, max_size=4)), max_size=6)


def told(outcome):
    """What there is to compare of a call's outcome."""
    if not isinstance(outcome, Exception):
        return outcome
    attempts = tuple((record.number, record.error, record.waited) for record in getattr(outcome, "attempts", ()))
    retry_after = outcome.retry_after if isinstance(outcome, ResilienceError) else None
    return type(outcome).__name__, attempts, retry_after, str(outcome)


def behaviour(steps):
    """The steps of one call's attempts; the last one repeats."""
    return steps.pop(0) if len(steps) > 1 else steps[0]


def tell_blocking(make, story, *, decorated=False):
    runtime = BlockingOnFakeTime()
    happened = []
    policy = make()
    with on(runtime):
        for pause, steps in story:
            runtime.clock += pause
            left = list(steps)

            def function(left=left):
                took, result = behaviour(left)
                happened.append(("called", runtime.now()))
                run_blocking(runtime.sleep(took))
                if isinstance(result, type):
                    raise result
                return result

            try:
                outcome = policy(function)() if decorated else policy.call(function)
            except Exception as error:
                outcome = error
            happened.append(told(outcome))
    return happened, runtime.asked


async def tell(make, story, runtime, pass_time, *, decorated=False):
    happened = []
    policy = make()
    for pause, steps in story:
        pass_time(pause)
        left = list(steps)

        async def function(left=left):
            took, result = behaviour(left)
            happened.append(("called", runtime.now()))
            await runtime.sleep(took)
            if isinstance(result, type):
                raise result
            return result

        function.__qualname__ = "tell_blocking.<locals>.function"
        try:
            outcome = await (policy(function)() if decorated else policy.acall(function))
        except Exception as error:
            outcome = error
        happened.append(told(outcome))
    return happened, runtime.asked


def tell_on_loop(make, story, backend, *, decorated=False):
    runtime = AnyioOnFakeTime()

    def pass_time(seconds):
        runtime.clock += seconds

    async def main():
        with on(runtime):
            return await tell(make, story, runtime, pass_time, decorated=decorated)

    return anyio.run(main, backend=backend)


def tell_virtually(make, story):
    runtime = NotedVirtualRuntime()

    def pass_time(seconds):
        runtime._now += seconds

    with on(runtime):
        return runtime.run(lambda: tell(make, story, runtime, pass_time))


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=60)
@given(story=STORY)
def test_all_runtimes_tell_the_same_story(policy, story):
    make = POLICIES[policy]
    blocking = tell_blocking(make, story)
    assert tell_blocking(make, story, decorated=True) == blocking
    assert tell_virtually(make, story) == blocking
    assert tell_on_loop(make, story, "asyncio") == blocking
    assert tell_on_loop(make, story, "asyncio", decorated=True) == blocking
    assert tell_on_loop(make, story, "trio") == blocking


def test_the_story_is_worth_comparing():
    """A fixed story, written out: so that a change to all runtimes at once does not go unseen."""
    story = [
        (0.0, [(0.25, ConnectionError), (0.25, "reply")]),
        (0.0, [(7.0, "never")]),
        (0.0, [(0.0, "reply")]),
        (3.0, [(0.0, "reply")]),
    ]
    happened, asked = tell_blocking(POLICIES["all"], story)
    name = "tell_blocking.<locals>.function"
    assert happened == [
        ("called", 1000.0),
        ("called", 1000.5),
        "reply",
        ("called", 1000.75),
        ("called", 1002.0),
        ("called", 1003.25),
        (
            "DeadlineExceededError",
            ((1, "DeadlineExceededError", 0.0), (2, "DeadlineExceededError", 0.25), (3, "DeadlineExceededError", 0.25)),
            None,
            f"{name} took longer than its 1 s",
        ),
        (
            "CircuitOpenError",
            ((1, "CircuitOpenError", 0.0),),
            1.0,
            f"circuit for {name} is open; next probe in 1.0 s",
        ),
        ("called", 1007.25),
        "reply",
    ]
    assert asked == [0.25, 0.25, 0.25, 7.0, 0.25, 7.0, 0.25, 7.0, 0.0]
