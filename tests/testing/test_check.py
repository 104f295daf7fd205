"""``check_policy``: what is the same everywhere passes, and each kind of mistake is told."""

import anyio
import pytest

import resilience
from resilience.testing import check_policy

FINE = {
    "nothing": resilience.Policy,
    "retry": lambda: resilience.Retry(3, wait=0.5),
    "jitter": resilience.Retry,
    "circuit": lambda: resilience.CircuitBreaker(consecutive_failures=2, open_for=0.5),
    "timeout": lambda: resilience.Timeout(0.3),
    "bulkhead": lambda: resilience.Bulkhead(1),
    "hedge": lambda: resilience.Hedge(after=0.2),
    "rate": lambda: resilience.RateLimit(1, wait=2),
    "throttle": resilience.Throttle,
    "adaptive": resilience.AdaptiveLimit,
    "single flight": resilience.SingleFlight,
    "fallback": lambda: resilience.Fallback("reply"),
    "all": lambda: resilience.Pipeline(resilience.Timeout(5), resilience.Retry(3, wait=0.25), resilience.Bulkhead(1)),
}


@pytest.mark.parametrize("name", FINE)
def test_our_own_are_the_same_everywhere(name):
    found = check_policy(FINE[name])
    assert found.runtimes == ("threads", "asyncio", "trio", "simulator")
    assert found.cancelled > 0


def test_a_dataclass_will_do_as_it_is():
    assert check_policy(resilience.Retry(2, wait=0.1)).stories


class Awaits(resilience.Policy):
    """Waits by something that is no runtime's."""

    async def around(self, call, proceed):
        await anyio.sleep(0.1)
        return await proceed(call)


class Swallows(resilience.Policy):
    """Answers for a cancellation."""

    async def around(self, call, proceed):
        try:
            return await proceed(call)
        except BaseException:
            return "reply"


class Turns(resilience.Policy):
    """Makes an error of a cancellation."""

    async def around(self, call, proceed):
        try:
            return await proceed(call)
        except Exception:
            raise
        except BaseException as error:
            message = "turned"
            raise RuntimeError(message) from error


class Leaks(resilience.Policy):
    """Keeps the place of a call that was cancelled."""

    def __init__(self):
        self.inside = 0

    async def around(self, call, proceed):
        if self.inside:
            raise resilience.OverloadedError("full")
        self.inside += 1
        try:
            reply = await proceed(call)
        except Exception:
            self.inside -= 1
            raise
        self.inside -= 1
        return reply


class Waits(Leaks):
    """Makes the next call wait for one that was cancelled."""

    async def around(self, call, proceed):
        if self.inside:
            await call.runtime.gate().wait(float("inf"))
        return await super().around(call, proceed)


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (Awaits, "threads: "),
        (Swallows, "as if nothing had happened"),
        (Turns, "raised RuntimeError: turned in the place of the cancellation"),
        (Leaks, "the next call came to OverloadedError: full"),
        (Waits, "everybody waited for something that did not come"),
    ],
)
def test_mistakes_are_told(policy, told):
    with pytest.raises(AssertionError, match=told):
        check_policy(policy)


@pytest.mark.parametrize("make", [5, resilience.CircuitBreaker(), lambda: 5, int])
def test_what_is_no_policy_is_refused(make):
    with pytest.raises(resilience.ConfigurationError):
        check_policy(make)
