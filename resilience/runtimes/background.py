"""The library's one daemon thread: refreshes and probes run here as ordinary asyncio code, whoever the callers are.

Nobody runs it: it starts with the first job, ends with the last lease, comes back in a forked child, and never keeps a
process alive. A job that hangs holds up only itself.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar

from resilience.runtimes.jobs import Job, Once, weakly

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resilience.runtimes.submission import Submission

T = TypeVar("T")

_LAST_WORDS = 1.0
"""Seconds that cancelled tasks get for their clean-up when the thread ends."""


class Life:
    """One life of the thread: a loop that runs until it is told to stop."""

    def __init__(self) -> None:
        # Not a loop of the policy's making: what the application has chosen for itself need not survive a fork.
        self.loop = asyncio.SelectorEventLoop()
        self.thread = threading.Thread(target=self.run, name="resilience-background", daemon=True)

    def post(self, act: Callable[..., object], *args: object) -> None:
        """Have `act` called on the thread, if it still lives; in a context of its own.

        What the caller's says (on which event loop it runs, until when, for which request) is not true of a job.
        """
        try:
            self.loop.call_soon_threadsafe(act, *args, context=Context())
        except RuntimeError:  # closed
            return

    def run(self) -> None:
        """Live."""
        loop = self.loop
        try:
            loop.run_forever()
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            if tasks:
                loop.run_until_complete(asyncio.wait(tasks, timeout=_LAST_WORDS))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()


class BackgroundThread:
    """Hands out leases; the thread lives from the first job until nobody holds a lease."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._leases: set[Lease] = set()
        self._life: Life | None = None
        self._last: threading.Thread | None = None
        self._lost: list[object] = []
        """What a parent process was running: kept, since clean-up would act on its epoll set, which a fork shares."""
        self._watched = False
        self._told: set[Callable[[], Callable[[], None] | None]] = set()

    def after_fork(self, method: Callable[[], None], /) -> None:
        """Have a bound method called in every forked child, while its object lives; after the jobs have begun again."""
        held = weakly(method, lambda: self._told.discard(held))
        self._told.add(held)
        self._watch()

    def acquire(self, owner: object = None, /) -> Lease:
        """Return a lease: a ``Background`` of one's own. It ends by `release`, or when `owner` is collected."""
        lease = Lease(self)
        self._leases.add(lease)
        if owner is not None:
            weakref.finalize(owner, lease.release).atexit = False
        return lease

    @property
    def running(self) -> bool:
        """Is there a thread now?"""
        return self._life is not None

    def join(self, timeout: float | None = None) -> None:
        """Wait until the latest thread has ended, after the last lease has: for tests."""
        if self._last is not None:
            self._last.join(timeout)

    def start(self) -> Life:
        """Return the running life, beginning one if need be; to be called with `lock` held."""
        if self._life is None:
            self._watch()
            self._life = life = self.new_life()
            self._last = life.thread
        return self._life

    def _watch(self) -> None:
        if not self._watched and hasattr(os, "register_at_fork"):
            self._watched = True
            itself = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _restart(itself()))

    def new_life(self) -> Life:
        """Start a thread."""
        # In a context of its own: the loop would keep the first caller's, and with it a call and its service, for good.
        life = Context().run(Life)
        try:
            life.thread.start()
        except RuntimeError:  # the machine has no thread to spare now
            life.loop.close()
            raise
        return life

    def poke(self, act: Callable[..., object], *args: object) -> None:
        """Have `act` called on the thread, if there is one. Takes no lock: finalizers may call it anywhere."""
        life = self._life
        if life is not None:
            life.post(act, *args)

    def give_up(self, lease: Lease) -> None:
        """Forget a lease, and stop when it was the last. Takes no lock either."""
        self._leases.discard(lease)
        life = self._life
        if life is not None:
            life.post(self._stop_unless_needed, life)

    def _stop_unless_needed(self, life: Life) -> None:
        with self.lock:
            if self._leases or self._life is not life:
                return
            self._life = None
        life.loop.stop()

    def restart(self) -> None:
        """Begin anew in a forked child, where the thread is gone: jobs run again, submissions have failed."""
        self.lock = threading.Lock()
        if self._life is not None:
            self._lost.append(self._life)
            self._life = self._last = None
        for lease in list(self._leases):
            self._lost += lease.restart()
        for reference in list(self._told):
            method = reference()
            if method is not None:
                method()


def _restart(background: BackgroundThread | None) -> None:
    if background is not None:
        background.restart()


class Lease:
    """A ``Background`` of one owner: jobs that come again and work done once, all ended by `release`."""

    def __init__(self, thread: BackgroundThread) -> None:
        self.released = False
        self.poke = thread.poke
        self._thread = thread
        self._work: set[Job | Once[Any]] = set()

    def every(self, seconds: Callable[[], float], job: Callable[[], Awaitable[None]], /, *, name: str) -> Job:
        """Run `job` at once and again, each time `seconds()` (may be infinite) after it ended, whatever it raised.

        Bound methods do not keep their object alive: when it is collected, the job ends. So keep the object.
        After `release` nothing is started.
        """
        made = Job(self, seconds, job, name)
        self._add(made)
        return made

    def submit(self, work: Callable[[], Awaitable[T]], /, *, name: str = "work") -> Submission[T]:
        """Run `work` once; wait for it from anywhere with ``await submission.wait(runtime, timeout)``.

        It fails with RuntimeError when the lease ends first, or the process forks (in the child).
        """
        made = Once(self, work, name)
        self._add(made)
        return made.submission

    def release(self) -> None:
        """End all of it. Callable from any thread, any number of times; takes no lock and returns at once."""
        self.released = True
        for work in list(self._work):
            work.cancel()
        self._thread.give_up(self)

    def restart(self) -> list[asyncio.Task[None]]:
        """Go on in a forked child; return the parent's tasks."""
        orphans: list[asyncio.Task[None]] = []
        for work in list(self._work):
            task = work.orphan()
            if task is not None:
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio's own use of it
                orphans.append(task)
            if isinstance(work, Once):
                self._work.discard(work)
            else:
                self._add(work)
        return orphans

    def forget(self, work: Job | Once[Any], /) -> None:
        """Drop what has ended."""
        self._work.discard(work)

    def _add(self, work: Job | Once[Any]) -> None:
        if self.released:
            work.cancel()
            if isinstance(work, Once):
                work.refuse("the client is closed")
            return
        with self._thread.lock:
            life = self._thread.start()
            self._work.add(work)
            life.post(work.begin, life.loop)
        if self.released:  # meanwhile, when there may have been no thread yet to be told so
            self._thread.give_up(self)


BACKGROUND = BackgroundThread()
"""The one of this process; idle until a client needs it."""
