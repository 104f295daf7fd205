"""``check_policy``: what is the same everywhere passes, and each kind of mistake is told."""

import asyncio
import threading
import time

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
    "retry around circuit": lambda: resilience.Pipeline(resilience.Retry(), resilience.CircuitBreaker()),
    "as documented": lambda: resilience.Pipeline(
        resilience.Timeout(2.0),
        resilience.Retry(),
        resilience.CircuitBreaker(),
        resilience.Bulkhead(20),
        resilience.Timeout(0.5),
    ),
    "the last good answer": lambda: resilience.Pipeline(
        resilience.Fallback(last_good=5.0), resilience.RateLimit(0.5, burst=1)
    ),
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

    places = 1

    def __init__(self):
        self.inside = 0

    async def around(self, call, proceed):
        if self.inside == self.places:
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


class LeaksOneOfTen(Leaks):
    """Has more places than one to lose."""

    places = 10


class Sleeps(resilience.Policy):
    """Blocks its thread for a day, and with it the event loop."""

    async def around(self, call, proceed):
        time.sleep(86_400)  # noqa: ASYNC251 - the mistake
        return await proceed(call)


class Misses(resilience.Policy):
    """Has a mistake that is the same everywhere."""

    async def around(self, call):
        return call


class Shares(resilience.Policy):
    """Keeps of the object what is of the call."""

    async def around(self, call, proceed):
        self.call = call
        reply = await proceed(self.call)
        assert self.call is call
        return reply


class LocksLoop(resilience.Policy):
    """Waits by what is asyncio's, where two meet."""

    def __init__(self):
        self.lock = asyncio.Lock()

    async def around(self, call, proceed):
        async with self.lock:
            return await proceed(call)


class Forgets(resilience.Policy):
    """Does not wait for the call."""

    async def around(self, call, proceed):
        made = proceed(call)
        made.close()


class Answers(resilience.Policy):
    """Answers before the call has been made."""

    async def around(self, call, proceed):
        call.runtime.start(lambda: proceed(call))
        return "reply"


class Shortens(resilience.Policy):
    """Leaves its own deadline with the call."""

    async def around(self, call, proceed):
        call.deadline = min(call.deadline, call.runtime.now() + 0.3)
        return await proceed(call)


class ShortensIfCancelled(resilience.Policy):
    """Restores the deadline unless it is cancelled."""

    async def around(self, call, proceed):
        before, call.deadline = call.deadline, 0.0
        try:
            reply = await proceed(call)
        except Exception:
            call.deadline = before
            raise
        call.deadline = before
        return reply


class Stays(resilience.Policy):
    """Waits for ever where a call has failed."""

    async def around(self, call, proceed):
        try:
            return await proceed(call)
        except ConnectionError:
            await call.runtime.gate().wait(float("inf"))


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (Awaits, "threads: "),
        (Swallows, "as if nothing had happened"),
        (Turns, "raised RuntimeError: turned in the place of the cancellation"),
        (Leaks, "the next call came to OverloadedError: full instead of 'reply'"),
        (LeaksOneOfTen, "the next call came to OverloadedError: full"),
        (Sleeps, "time.sleep stops all tasks at once: await call.runtime.sleep"),
        (Awaits, "it awaits something besides proceed"),
        (Misses, "it raises TypeError: .*around"),
        (Shares, r"(?s)it raises AssertionError: .*test_check.py:\d+. .calls at the same time.$"),
        (LocksLoop, "it awaits something besides proceed"),
        (Forgets, "calls proceed.* and does not await it"),
        (Answers, "answers before proceed.call. has ended"),
        (Shortens, "changes call.deadline and does not restore it .success, slow success"),
        (ShortensIfCancelled, "cancelled at suspension 1 on trio: it changes call.deadline"),
        (Stays, "everybody waits for something that does not come .failure"),
        (Waits, "everybody waited for something that did not come"),
    ],
)
def test_mistakes_are_told(policy, told):
    with pytest.raises(AssertionError, match=told):
        check_policy(policy)


class Locks(resilience.Policy):
    """Holds a lock while the call goes on."""

    def __init__(self):
        self.lock = threading.Lock()

    async def around(self, call, proceed):
        with self.lock:
            return await proceed(call)


class Keeps(Locks):
    """Does not give a lock back when the call fails."""

    async def around(self, call, proceed):
        self.lock.acquire()
        reply = await proceed(call)
        self.lock.release()
        return reply


class Queues(Locks):
    """Waits for what nobody brings, by a queue."""

    async def around(self, call, proceed):
        threading.Event().wait()
        return await proceed(call)


@pytest.mark.parametrize("policy", [Locks, Keeps, Queues])
def test_a_thread_that_is_blocked_for_good_is_told(policy, monkeypatch):
    monkeypatch.setattr("resilience.runtimes.watched._PATIENCE", 0.2)
    with pytest.raises(AssertionError, match=rf"test_check.py:\d+ in {policy.__name__}.around: does it hold a lock"):
        check_policy(policy)


class Maps(resilience.Policy):
    """Makes something else of an answer."""

    async def around(self, call, proceed):
        return (await proceed()).upper()


class Refuses(resilience.Policy):
    """Lets nothing through."""

    async def around(self, call, proceed):
        raise resilience.OverloadedError("closed for today")


class CleansUp(resilience.Policy):
    """Takes its time at the end, whatever happens."""

    async def around(self, call, proceed):
        try:
            return await proceed(call)
        finally:
            async with call.runtime.shield():
                await call.runtime.sleep(0.1)


class KnowsTheLast(resilience.Policy):
    """Answers with what it knows, and asks again for the next."""

    def __init__(self):
        self.known = None

    async def around(self, call, proceed):
        async def ask():
            self.known = await proceed(call)

        if self.known is None:
            await ask()
        else:
            call.runtime.start(ask)
        return self.known


class Limits(resilience.Policy):
    """Gives the call less time, and its own back afterwards; answers itself when that is over."""

    async def around(self, call, proceed):
        before = call.deadline
        call.deadline = min(before, call.runtime.now() + 0.3)
        try:
            return await call.runtime.limit(call.remaining(), lambda: proceed(call))
        except TimeoutError:
            return "late"
        finally:
            call.deadline = before


@pytest.mark.parametrize("policy", [Maps, Refuses, CleansUp, KnowsTheLast, Limits])
def test_what_is_no_mistake_passes(policy):
    assert check_policy(policy).runtimes == ("threads", "asyncio", "trio", "simulator")


async def test_it_may_be_called_in_a_task(anyio_backend):
    assert check_policy(resilience.Policy).cancelled > 0


@pytest.mark.parametrize("make", [5, resilience.CircuitBreaker(), lambda: 5, int])
def test_what_is_no_policy_is_refused(make):
    with pytest.raises(resilience.ConfigurationError):
        check_policy(make)
