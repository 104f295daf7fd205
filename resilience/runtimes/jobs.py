"""What runs on the background thread: jobs that come again, and work that is done once."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import weakref
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from resilience.runtimes.submission import AbandonedError, Submission

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., Any]")

_LOG = logging.getLogger("resilience.background")
AFTER_A_BROKEN_PAUSE = 30.0
"""Seconds until a job runs again whose own `seconds()` raised: rare enough to do no harm."""
LEAST_PAUSE = 0.01
"""Seconds: a job that finds itself always due must not keep a processor busy."""


class Landlord(Protocol):
    """Where jobs live."""

    @property
    def released(self) -> bool:
        """Has the lease ended? Then nothing begins any more."""
        ...

    def poke(self, act: Callable[..., object], *args: object) -> None:
        """Have `act` called on the thread. Takes no lock: a finalizer may call it in the midst of anything."""
        ...

    def forget(self, job: Any, /) -> None:  # noqa: ANN401 - either kind of job
        """Drop a job that has ended."""
        ...


def weakly(function: F, gone: Callable[[], None], /) -> Callable[[], F | None]:
    """Hold a bound method without keeping its object alive; `gone` is called when that is collected.

    Else the thread would keep every client that was never closed, and each of them the thread.
    """
    if not inspect.ismethod(function):
        return lambda: function
    # Not weakref.WeakMethod: at the interpreter's end it complains on stderr of objects that modules still hold.
    owner, plain = weakref.ref(function.__self__, lambda _: gone()), function.__func__

    def found() -> F | None:
        it = owner()
        return None if it is None else cast("F", plain.__get__(it))

    return found


def pause(name: str, seconds: Callable[[], float]) -> float:
    """Return the seconds until a job's next run, whatever its own answer was."""
    try:
        wait = float(seconds())
    except Exception:  # noqa: BLE001 - logged
        _LOG.warning("the interval of background job %s failed", name, exc_info=True)
        return AFTER_A_BROKEN_PAUSE
    return AFTER_A_BROKEN_PAUSE if math.isnan(wait) else max(LEAST_PAUSE, wait)


async def attempt(name: str, work: Callable[[], Awaitable[None]], *, failing: bool) -> bool:
    """Run a job once; log what it raises, the first time in a row. Tell whether it failed."""
    try:
        await work()
    except (Exception, SystemExit):  # noqa: BLE001 - logged; what ends a process from here would end the thread alone
        if not failing:
            _LOG.warning("background job %s failed", name, exc_info=True)
        return True
    return False


class Job:
    """One job that comes again: the thread's ``Handle``."""

    def __init__(
        self, landlord: Landlord, seconds: Callable[[], float], work: Callable[[], Awaitable[None]], name: str
    ) -> None:
        self.name = name
        self.cancelled = False
        self._landlord = landlord
        self._seconds = weakly(seconds, self.cancel)
        self._work = weakly(work, self.cancel)
        self._wake: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """Stop the job, also in the middle; it is not started again. A job that cancels itself ends after this run."""
        self.cancelled = True
        if not self._inside():
            self._landlord.poke(self._end)

    def hurry(self) -> None:
        """Run the job as soon as possible: now, or again at once if it is running."""
        self._landlord.poke(self._rouse)

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start, on the thread."""
        if self.cancelled or self._landlord.released:
            self._landlord.forget(self)
            return
        self._wake = asyncio.Event()
        self._task = loop.create_task(self._run(self._wake), name=self.name)

    async def _run(self, wake: asyncio.Event) -> None:
        failing = False
        try:
            while not self.cancelled:
                wake.clear()
                work, seconds = self._work(), self._seconds()
                if work is None or seconds is None:
                    return
                failing = await attempt(self.name, work, failing=failing)
                wait = pause(self.name, seconds)
                del work, seconds  # nothing of the owner is held while asleep
                try:
                    async with asyncio.timeout(None if math.isinf(wait) else wait):
                        await wake.wait()
                except TimeoutError:
                    continue
        finally:
            self._landlord.forget(self)

    def orphan(self) -> asyncio.Task[None] | None:
        """Hand over the task that a fork has left without a loop."""
        task, self._task = self._task, None
        return task

    def _end(self) -> None:
        task = self._task
        if task is None:
            self._landlord.forget(self)
        else:
            task.cancel()

    def _inside(self) -> bool:
        try:
            return self._task is not None and asyncio.current_task() is self._task
        except RuntimeError:  # not on an event loop's thread
            return False

    def _rouse(self) -> None:
        if self._wake is not None:
            self._wake.set()


class Once(Generic[T]):
    """One piece of work, done once."""

    def __init__(self, landlord: Landlord, work: Callable[[], Awaitable[T]], name: str) -> None:
        self.name = name
        self.submission: Submission[T] = Submission(self.cancel)
        self._landlord = landlord
        self._work = work
        self._task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """Stop the work in the middle; the submission fails."""
        self._landlord.poke(self._end)

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start, on the thread."""
        if self._landlord.released:
            self.refuse("the client is closed")
            self._landlord.forget(self)
            return
        self._task = loop.create_task(self._run(), name=self.name)

    def orphan(self) -> asyncio.Task[None] | None:
        """Fail the submission and hand over the task: a fork has left it without a loop."""
        self.refuse("the process was forked while this ran in the parent")
        return self._task

    def refuse(self, why: str) -> None:
        """Fail the submission, unless it is settled."""
        message = f"{self.name}: {why}"
        self.submission.fail(AbandonedError(message))

    async def _run(self) -> None:
        try:
            self.submission.settle(await self._work())
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            self.submission.fail(error)
        except SystemExit as error:  # would end the thread, and with it whatever goes on for anybody
            self.refuse(f"it raised SystemExit({error.code!r})")
        finally:
            # Counts only when none of the lines above was reached.
            self.refuse("the client is closed" if self._landlord.released else "cancelled")
            self._landlord.forget(self)

    def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
        else:
            self.refuse("cancelled")
