"""The real runtimes without their sleeps: nothing is waited for, and everything else is as it was."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from anyio.lowlevel import checkpoint

from resilience.core.call import Ambient, ambient
from resilience.runtimes.anyio import AnyioRuntime
from resilience.runtimes.blocking import BlockingRuntime

if TYPE_CHECKING:
    from collections.abc import Generator

    from resilience.core.ports import Runtime


@dataclass
class Slept:
    """What would have been slept, in order; seconds."""

    seconds: list[float] = field(default_factory=list[float])


class FastBlocking(BlockingRuntime):
    """Threads that do not sleep."""

    __slots__ = ("slept", "tasks")

    def __init__(self, slept: Slept) -> None:
        self.slept = slept
        self.tasks = FastAnyio(slept)

    def in_place_of(self, runtime: Runtime, /) -> Runtime:
        """Return itself for threads, and its twin for tasks."""
        return self if isinstance(runtime, BlockingRuntime) else self.tasks

    async def sleep(self, seconds: float, /) -> None:
        """Note it, and go on."""
        self.slept.seconds.append(seconds)


class FastAnyio(AnyioRuntime):
    """Tasks that do not sleep."""

    __slots__ = ("slept",)

    def __init__(self, slept: Slept) -> None:
        self.slept = slept

    async def sleep(self, seconds: float, /) -> None:
        """Note it, let others run, and go on."""
        self.slept.seconds.append(seconds)
        await checkpoint()


@contextmanager
def without_sleep() -> Generator[Slept]:
    """Have the code inside wait for nothing; the deadline around it stays."""
    outer = ambient.get()
    slept = Slept()
    token = ambient.set(replace(outer or Ambient(), runtime=FastBlocking(slept)))
    try:
        yield slept
    finally:
        ambient.reset(token)
