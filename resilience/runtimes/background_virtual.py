"""The background thread's twin on virtual time: same jobs, no thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from resilience.runtimes.jobs import attempt, pause, weakly
from resilience.runtimes.submission import AbandonedError, Submission

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resilience.runtimes.virtual import Task, VirtualGate, VirtualRuntime

T = TypeVar("T")


class VirtualBackground:
    """Hands out leases whose jobs run as tasks of a :class:`VirtualRuntime`."""

    def __init__(self, runtime: VirtualRuntime) -> None:
        self._runtime = runtime

    def acquire(self, owner: object = None, /) -> VirtualLease:  # noqa: ARG002 - tests release what they acquire
        """Return a lease; it ends by `release`."""
        return VirtualLease(self._runtime)


class VirtualJob:
    """One job that comes again, on virtual time."""

    def __init__(
        self, runtime: VirtualRuntime, seconds: Callable[[], float], work: Callable[[], Awaitable[None]], name: str
    ) -> None:
        self.name = name
        self.cancelled = False
        self._runtime = runtime
        self._seconds = weakly(seconds, self.cancel)
        self._work = weakly(work, self.cancel)
        self._hurried = False
        self._gate: VirtualGate | None = None
        self._task: Task = runtime.spawn(self._run, name=name)

    def cancel(self) -> None:
        """Stop the job, also in the middle; it is not started again. A job that cancels itself ends after this run."""
        self.cancelled = True
        runtime = self._runtime
        if runtime._running is not self._task:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - same package
            runtime.cancel(self._task)

    def hurry(self) -> None:
        """Run the job as soon as possible: now, or again at once if it is running."""
        self._hurried = True
        if self._gate is not None:
            self._gate.open()

    async def _run(self) -> None:
        failing = False
        while not self.cancelled:
            self._hurried = False
            work, seconds = self._work(), self._seconds()
            if work is None or seconds is None:
                return
            failing = await attempt(self.name, work, failing=failing)
            wait = pause(self.name, seconds)
            del work, seconds
            if not self._awake():
                self._gate = self._runtime.gate()
                await self._gate.wait(wait)
                self._gate = None

    def _awake(self) -> bool:
        return self.cancelled or self._hurried


class VirtualLease:
    """A ``Background`` on virtual time."""

    def __init__(self, runtime: VirtualRuntime) -> None:
        self.released = False
        self._runtime = runtime
        self._ends: list[Callable[[], None]] = []

    def every(self, seconds: Callable[[], float], job: Callable[[], Awaitable[None]], /, *, name: str) -> VirtualJob:
        """Run `job` at once and again, each time `seconds()` after it ended."""
        made = VirtualJob(self._runtime, seconds, job, name)
        self._ends.append(made.cancel)
        if self.released:
            made.cancel()
        return made

    def submit(self, work: Callable[[], Awaitable[T]], /, *, name: str = "work") -> Submission[T]:
        """Run `work` once."""
        task: Task | None = None

        async def run() -> None:
            try:
                submission.settle(await work())
            except Exception as error:  # noqa: BLE001 - handed to whoever waits
                submission.fail(error)
            finally:
                message = f"{name}: cancelled"
                submission.fail(AbandonedError(message))

        def cancel() -> None:
            if task is not None:
                self._runtime.cancel(task)

        submission: Submission[Any] = Submission(cancel)
        task = self._runtime.spawn(run, name=name)
        self._ends.append(cancel)
        if self.released:
            cancel()
        return submission

    def release(self) -> None:
        """End all of it."""
        self.released = True
        for end in self._ends:
            end()
