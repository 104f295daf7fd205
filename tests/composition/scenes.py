"""Every policy in a situation in which a call of it suspends wherever it can: for cutting it there."""

import math
from abc import ABC, abstractmethod
from types import MappingProxyType

from resilience import (
    AdaptiveLimit,
    Aimd,
    Bulkhead,
    Chaos,
    CircuitBreaker,
    Fallback,
    Gradient2,
    Guard,
    Hedge,
    KeyedCircuitBreaker,
    NamedPipeline,
    OverloadedError,
    Pipeline,
    Policy,
    RateLimit,
    Registry,
    Retry,
    RetryBudget,
    SingleFlight,
    Throttle,
    Timeout,
)
from resilience.core.call import ambient
from resilience.policies.rate_limit import Bucket
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.stand_in import here

LONG = 1e6
"""Seconds; nothing of what is counted is forgotten meanwhile."""


class Scene(ABC):
    """One call; who else is there, before and after it; and what of the policy's state can be seen."""

    policy_class = None
    waits = False
    """It can be cut before the function has been called."""
    ends = "reply"
    """What comes of it uncut: a reply, or a type of exception."""

    def __init__(self):
        self.runtime = here(ANYIO)
        self.calls = self.sends = self.failed = self.succeeded = self.running = 0
        self.served = []
        self.kept_ambient = True
        self.policy = self.make()

    # What each scene says of its own.

    @abstractmethod
    def make(self):
        """Return the policy that is cut."""

    others = ()
    """Who else calls: (when, name), in seconds from 0; the call itself comes at 0.25."""

    takes = MappingProxyType({})
    """How long they take, where that is not a second."""

    def state(self):
        """Return what must be as if the call had not been, as soon as it has been cut."""
        return {}

    def expected(self, without):
        """Return the state that is expected where the call was cut, from the scene in which it was not made."""
        return without.state()

    def ending(self):
        """Return what has become of the others."""
        return self.served

    async def function(self, *_):
        """Do what is guarded, in the call."""
        self.sends += 1
        await self.runtime.sleep(1.0)
        await self.runtime.sleep(1.0)
        return "reply"

    async def other(self, name):
        """Do what is guarded, in the calls of others."""
        self.served.append(name)
        await self.runtime.sleep(self.takes.get(name, 1.0))
        return "reply"

    # The play.

    def guarded(self, function, *args):
        return self.policy.acall(function, *args)

    async def run(self):
        before = ambient.get()
        self.calls += 1  # not where it is cut before it has begun
        try:
            return await self.guarded(self.counted, "call")
        finally:
            self.kept_ambient = ambient.get() is before

    async def counted(self, *args):
        self.running += 1
        try:
            return await self.function(*args)
        finally:
            self.running -= 1

    async def call_later(self, when, name):
        await self.runtime.sleep(when)
        await self.guarded(self.other, name)

    def suspended(self):  # noqa: B027 - most scenes need none
        """Nothing to do in between."""


class Passing(Scene):
    policy_class = Policy

    def make(self):
        return Policy()


class Retried(Scene):
    """The first send fails, and the second comes after a pause."""

    policy_class = Retry

    def make(self):
        self.budget = RetryBudget(0.25, min_per_second=4.0 / LONG, ttl=LONG)
        return Retry(3, wait=1.0, budget=self.budget)

    async def function(self, *_):
        reply = await super().function()
        if self.sends == 1:
            self.failed += 1
            raise ConnectionError
        return reply

    def state(self):
        return {"balance": self.budget.state.balance(self.runtime.now())}

    def expected(self, without):
        balance = without.state()["balance"] + 0.25 * self.calls - max(0, self.sends - 1)
        return {"balance": balance}


class InCircuit(Scene):
    policy_class = CircuitBreaker
    options = MappingProxyType({})

    def make(self):
        return CircuitBreaker(window=LONG, **self.options)

    others = ((0.0, "before"), (0.5, "beside"))

    def state(self):
        now, circuit = self.runtime.now(), self.policy._circuit
        seen = {"state": circuit.state, "counts": circuit.counts(now), "probes": len(circuit._probes)}
        if self.options:
            seen |= {"flying": len(circuit._flying), "ramp": circuit._ramp, "slow": circuit.slow_counts(now)}
        return seen


class InDeepCircuit(InCircuit):
    """It has just been closed, and starts slowly."""

    options = MappingProxyType({"slow_after": 100.0, "slow_start": LONG, "probes": 3})

    def make(self):
        breaker = super().make()
        breaker.half_open()
        breaker.close()
        return breaker


class Probing(InCircuit):
    """Half-open: the call is the probe."""

    others = ()

    def make(self):
        breaker = super().make()
        breaker.half_open()
        return breaker


class ProbingDeep(Probing):
    options = MappingProxyType({"slow_after": 100.0, "slow_start": LONG})


class InKeyedCircuits(Scene):
    policy_class = KeyedCircuitBreaker
    others = ((0.0, "call"), (0.5, "other"))

    def make(self):
        return KeyedCircuitBreaker(lambda name: name, window=LONG)

    def state(self):
        now = self.runtime.now()
        return {
            key: (entry.inside, entry.breaker.current_state, entry.breaker._circuit.counts(now))
            for key, entry in self.policy._entries.items()
        }


class InTime(Scene):
    policy_class = Timeout

    def make(self):
        return Timeout(100.0)


class OutOfTime(InTime):
    ends = TimeoutError

    def make(self):
        return Timeout(1.5)


class InLine(Scene):
    """One is inside, another stands in the line before the call, and a third behind it."""

    policy_class = Bulkhead
    waits = True
    options = MappingProxyType({"queue": 3})
    others = ((0.0, "inside"), (0.125, "before"), (0.5, "behind"))
    takes = MappingProxyType({"before": 10.0, "behind": 10.0})

    def make(self):
        return Bulkhead(1, **self.options)

    @property
    def slots(self):
        return self.policy.slots

    def state(self):
        return {"taken": self.slots.taken, "waiting": len(self.slots.line.waiters)}


class InLineByRank(InLine):
    options = MappingProxyType({"queue": 3, "priority": ["behind", "call", "before", "inside"].index})


class InLineNewestFirst(InLine):
    options = MappingProxyType({"queue": 3, "lifo_after": 0.5})


class InFullLine(InLine):
    """The line is full: whoever is behind takes the call's place."""

    options = MappingProxyType({"queue": 2, "priority": ["inside", "call", "before", "behind"].index})
    ends = OverloadedError


class InNamedPipeline(InLine):
    policy_class = NamedPipeline

    def make(self):
        self.bulkhead = Bulkhead(1, queue=3)
        return Registry({"name": Pipeline(self.bulkhead)}).pipeline("name")

    @property
    def slots(self):
        return self.bulkhead.slots


class Limited(Scene):
    """One a second: two have gone before, and another comes when the call has had its turn."""

    policy_class = RateLimit
    waits = True
    others = ((0.0, "first"), (0.125, "second"), (5.0, "later"))

    def make(self):
        return RateLimit(1.0, burst=1, wait=60.0)

    async def function(self, *_):
        self.went = self.runtime.now()
        return await super().function()

    def state(self, *went):
        """Return when the next turns come, in seconds from now; `went`: after one more that went then."""
        twin, bucket, now = Bucket(1.0, 1), self.policy.bucket, self.runtime.now()
        twin._due, twin._freed = bucket._due, sorted(bucket._freed)
        for when in went:
            twin.take(when, math.inf)
        return {"turns": [round(twin.take(now, math.inf).at - now, 6) for _ in range(3)]}

    def expected(self, without):
        return without.state(*([self.went] if self.sends else []))


class Throttled(Scene):
    policy_class = Throttle
    others = ((0.0, "before"), (0.5, "beside"))

    def make(self):
        return Throttle(window=LONG)

    def state(self):
        acceptance = self.policy.acceptance
        return {name: sum(getattr(acceptance, name)) for name in ("_asked", "_accepted", "_open")}


class AdaptivelyLimited(Scene):
    policy_class = AdaptiveLimit
    law = Aimd(initial=9, least=1, most=9)
    others = ((0.0, "before"), (0.5, "beside"))

    def make(self):
        return AdaptiveLimit(self.law)

    def state(self):
        return {"taken": self.policy.inside.taken, "limit": self.policy.inside._limit.limit}


class AdaptivelyLimitedByGradient(AdaptivelyLimited):
    law = Gradient2(initial=9, least=1, most=9)

    def state(self):
        limit = self.policy.inside._limit
        return super().state() | {"learnt": (limit._count, round(limit._sum, 6))}


class Hedged(Scene):
    """The first send hangs; the second replies."""

    policy_class = Hedge

    def make(self):
        self.budget = RetryBudget(0.25, min_per_second=4.0 / LONG, ttl=LONG)
        return Hedge(after=0.5, budget=self.budget)

    async def function(self, *_):
        self.sends += 1
        await self.runtime.sleep(60.0 if self.sends == 1 else 1.0)
        await self.runtime.sleep(1.0)
        return "reply"

    state = Retried.state
    expected = Retried.expected


class FallenBack(Scene):
    """The function fails, and a coroutine function answers for it."""

    policy_class = Fallback
    others = ((0.0, "before"),)

    def make(self):
        return Fallback(function=self.instead, last_good=LONG)

    async def function(self, *_):
        await super().function()
        raise ConnectionError

    async def instead(self, _error):
        await self.runtime.sleep(1.0)
        await self.runtime.sleep(1.0)
        return "reply"

    def state(self):
        return {"kept": len(self.policy.kept._answers)}


class Guarded(Scene):
    policy_class = Guard

    def make(self):
        return Guard(check=lambda answer: answer == "reply")


class Struck(Scene):
    policy_class = Chaos
    waits = True

    def make(self):
        return Chaos(1.0, latency=(1.0, 2.0), seed=1)


class Leading(Scene):
    """The call leads; others follow, and one of them leads when it is cut."""

    policy_class = SingleFlight
    others = ((0.5, "follower"), (0.75, "another"))

    def make(self):
        return SingleFlight(key=lambda *_: "key")

    def guarded(self, function, *args):
        return self.policy.acall(self.either, function, *args)

    @staticmethod
    async def either(function, *args):
        return await function(*args)

    def state(self):
        flights = self.policy.flights._flights.values()
        return {"flights": len(flights), "following": sum(len(flight.gates) for flight in flights)}

    def ending(self):
        return len(self.served)  # whichever of them leads


class Following(Leading):
    """Somebody else leads; the call is one of two that follow."""

    waits = True
    others = ((0.0, "leader"), (0.5, "another"))
    takes = MappingProxyType({"leader": 2.0})

    def state(self):
        return {"flights": len(self.policy.flights)}


class Together(Scene):
    """The standard order. The first send fails, so does its hedge; after a pause one hangs, and its hedge replies."""

    policy_class = Pipeline
    places = 2
    others = ((0.0, "inside"),)
    takes = MappingProxyType({"inside": 1.25})  # or they would be hedged

    def make(self):
        self.budget = RetryBudget(0.25, min_per_second=8.0 / LONG, ttl=LONG)
        self.breaker = CircuitBreaker(window=LONG)
        self.bulkhead = Bulkhead(self.places, queue=3)
        return Pipeline(
            Timeout(100.0),
            Fallback("covered"),
            Retry(4, wait=1.0, budget=self.budget),
            Hedge(after=1.5),
            self.breaker,
            self.bulkhead,
        )

    async def function(self, *_):
        self.sends += 1
        sends = self.sends
        await self.runtime.sleep({3: 10.0, 4: 1.0}.get(sends, 0.5))  # so that the one that hangs is not blamed for it
        if sends < 3:
            self.failed += 1
            raise ConnectionError
        self.succeeded += 1
        return "reply"

    def state(self):
        now = self.runtime.now()
        return {
            "balance": self.budget.state.balance(now),
            "counts": self.breaker._circuit.counts(now),
            "taken": self.bulkhead.slots.taken,
            "waiting": len(self.bulkhead.slots.line.waiters),
        }

    def expected(self, without):
        state = without.state()
        good, bad = state["counts"]
        balance = state["balance"] + 0.25 * self.calls - max(0, self.sends - 1)
        return state | {"balance": balance, "counts": (good + self.succeeded, bad + self.failed)}


class TogetherInLine(Together):
    """One place in the bulkhead: the first send stands in the line, the third again, and its hedge behind it."""

    waits = True
    places = 1
    others = ((0.0, "inside"), (2.5, "inside again"))
    takes = MappingProxyType({"inside": 1.25, "inside again": 1.25})


def every_scene(kind=Scene):
    """Return all scenes there are."""
    for scene in kind.__subclasses__():
        yield scene
        yield from every_scene(scene)


SCENES = tuple(every_scene())
