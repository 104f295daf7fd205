"""The real runtimes on a clock of their own: waits are asked for, noted, and over at once."""

import random
from contextlib import contextmanager

from anyio.lowlevel import checkpoint

from resilience.core.call import Ambient, ambient
from resilience.policies.policy import Policy
from resilience.runtimes.anyio import AnyioRuntime
from resilience.runtimes.blocking import BlockingRuntime
from resilience.runtimes.virtual import VirtualRuntime


class Cut(BaseException):
    """What reaches the work when its time is up, as a cancellation does."""


class FakeTime:
    """`now`, `random`, `sleep` and `limit` without time passing; `asked` lists what was slept, in order."""

    def __init__(self, *, start=1000.0, seed=0):
        self.clock = start
        self.asked = []
        self.limits = []
        self.now = lambda: self.clock
        self.random = random.Random(seed).random

    async def pass_on(self):
        """Let others run, where there are others."""

    async def sleep(self, seconds, /):
        self.asked.append(seconds)
        await self.pass_on()
        until = self.clock + seconds
        if self.limits and until >= min(self.limits):
            self.clock = min(self.limits)
            raise Cut
        self.clock = until

    async def limit(self, seconds, work, /):
        self.limits.append(self.clock + seconds)
        try:
            return await work()
        except Cut:
            if self.clock < self.limits[-1]:
                raise  # of a limit further out
            raise TimeoutError from None
        finally:
            self.limits.pop()


class BlockingOnFakeTime(FakeTime, BlockingRuntime):
    pass


class AnyioOnFakeTime(FakeTime, AnyioRuntime):
    async def pass_on(self):
        await checkpoint()


class NotedVirtualRuntime(VirtualRuntime):
    """Virtual time that notes what was slept."""

    def __init__(self, *, seed=0):
        super().__init__(seed=seed)
        self.asked = []

    async def sleep(self, seconds, /):
        self.asked.append(seconds)
        await super().sleep(seconds)


class Noted(Policy):
    """Notes of each call for which deadline it was given up, if for one."""

    def __init__(self):
        self.stopped_for = []

    async def around(self, call, proceed):
        try:
            return await proceed(call)
        finally:
            self.stopped_for.append(call.stopped_for)


@contextmanager
def on(runtime):
    """Have everything inside run on this runtime."""
    token = ambient.set(Ambient(runtime=runtime))
    try:
        yield runtime
    finally:
        ambient.reset(token)
