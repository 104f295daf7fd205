"""What one service's name stands for now: the last good answer, kept fresh in the background.

A warm call never waits for a lookup. The first one does, inside its dial: below where mocks patch httpx, so that tests
need no name to exist. Lookups run on the library's background thread, one at a time per name, however many wait.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol

from resilience.core.errors import NoEndpointsError, ResilienceError
from resilience.core.events import ResolutionFailed
from resilience.discovery.failures import ResolutionError
from resilience.discovery.freshness import Change, Freshness
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.submission import AbandonedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resilience.core.events import Event
    from resilience.core.ports import Handle, Resolver, Runtime
    from resilience.core.resolution import Resolution, Target
    from resilience.discovery.failures import Kind
    from resilience.runtimes.submission import Submission

# Seconds that a lookup may take in the background, where nobody waits for it: dnspython's own lifetime.
LOOKUP = 5.0
# Seconds more that a resolver gets which does not keep to that: else one that hangs would never be asked again.
OVERDUE = 0.5


class Lease(Protocol):
    """What the directory needs of the background thread."""

    def every(self, seconds: Callable[[], float], job: Callable[[], Awaitable[None]], /, *, name: str) -> Handle:
        """Run a job again and again."""
        ...

    def submit(self, work: Callable[[], Awaitable[None]], /, *, name: str = ...) -> Submission[None]:
        """Run it once."""
        ...


class Directory:
    """One name's addresses. `adopt` is told of each new answer, and of None when nothing stands any more."""

    def __init__(
        self,
        target: Target,
        resolver: Resolver,
        lease: Lease,
        runtime: Runtime,
        adopt: Callable[[Resolution | None], None],
        emit: Callable[[Event], None],
        background: Runtime = ANYIO,
    ) -> None:
        self.target = target
        self.name = str(target)
        self._resolver = resolver
        self._lease = lease
        self._clock = runtime
        self._background = background
        """The runtime that jobs run on: the background thread's, or virtual in tests."""
        self._adopt = adopt
        self._emit = emit
        self._lock = threading.Lock()
        self._asking: Submission[None] | None = None
        self._handle: Handle | None = None
        self._closed = False
        self._error: ResilienceError | None = None
        self._addresses = 0
        bounds = {
            name: getattr(resolver, name) for name in ("min_ttl", "max_ttl", "stale_for") if hasattr(resolver, name)
        }
        self.freshness = Freshness(**bounds)

    # What calls do.

    def used(self, now: float, /) -> float:
        """Note a call; return for how many seconds it should wait for fresh answers: 0 nearly always."""
        wait = self.freshness.used(now)
        if self._handle is not None and (wait or now >= self.freshness.due):
            self._handle.hurry()
        return wait

    async def fresh(self, runtime: Runtime, seconds: float, /) -> None:
        """Wait for fresh answers after a long pause, but not long: stale ones will do."""
        try:
            await self._ask().wait(runtime, seconds)
        except (TimeoutError, ResilienceError, OSError, AbandonedError):
            return

    async def first(self, runtime: Runtime, seconds: float, /) -> None:
        """Wait for the first answer. Raises NoEndpointsError, or TimeoutError after `seconds`."""
        now = self._clock.now()
        known = self._error
        if known is not None and now < self.freshness.due:
            raise self._again(known)
        try:
            await self._ask().wait(runtime, seconds)
        except AbandonedError as error:
            message = f"cannot {error}"
            raise NoEndpointsError(message, service=self.name, causes=(error,)) from error
        if self._error is not None:
            raise self._again(self._error)

    def unresolved(self, now: float, /) -> bool:
        """Tell whether calls are turned away now since no answer stands, and it is too early to ask again."""
        return self._error is not None and not self._addresses and now < self.freshness.due

    async def renewed(self, runtime: Runtime, seconds: float, /) -> None:
        """Wait for the answers that failed dials have asked for, but not long, and not for nameservers that fail."""
        until = self._clock.now() + seconds
        for _ in range(2):  # the lookup that was under way may have been asked before the dials failed
            now = self._clock.now()
            if self.freshness.failing is None and self.freshness.due <= now < until:
                await self.fresh(runtime, until - now)

    def dial_failed(self) -> None:
        """Ask again early, at most once a second: an address did not take a connection, so perhaps it has moved."""
        if self.freshness.dial_failed(self._clock.now()) and self._handle is not None:
            self._handle.hurry()

    def close(self) -> None:
        """Stop refreshing. A call that still waits for an answer gets it, but nobody keeps it fresh any more."""
        with self._lock:
            self._closed = True
            handle = self._handle
        if handle is not None:
            handle.cancel()

    def tell(self, adopt: Callable[[Resolution | None], None], /) -> None:
        """Tell somebody else of each new answer from now on."""
        self._adopt = adopt

    # What the background does.

    def _ask(self) -> Submission[None]:
        with self._lock:
            asking = self._asking
            if asking is None or asking.done:
                asking = self._asking = self._lease.submit(self._look_up, name=f"resolve {self.name}")
            return asking

    async def _refresh(self) -> None:
        if self.freshness.is_due(self._clock.now()):
            # By the same door as calls that wait: one lookup at a time, whoever has asked for it.
            with suppress(TimeoutError, RuntimeError):
                await self._ask().wait(self._background, LOOKUP + 1)

    async def _look_up(self) -> None:
        now, random = self._clock.now, self._clock.random
        freshness = self.freshness
        freshness.asked(now())
        resolve = partial(self._resolver.resolve, self.target, deadline=now() + LOOKUP)
        try:
            resolution = await self._background.limit(LOOKUP + OVERDUE, resolve)
            replicas = len(resolution.replicas)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - any resolver's; a lookup that fails is no crash
            self._failed(error)
            return
        if not replicas:
            self._failed(ResolutionError(self.name, "empty"))
            return
        self._error = None
        self._addresses = replicas
        try:
            self._adopt(resolution)  # first: calls wait until the answer is no longer due, and go by what was adopted
        finally:  # a balancer may raise: asking at once again, and again, would not mend it
            freshness.answered(resolution.ttl, now=now(), random=random())
            self._keep_fresh()

    def _failed(self, error: BaseException) -> None:
        now = self._clock.now()
        failure = error if isinstance(error, ResolutionError) else _as_failure(self.name, error)
        change = self.freshness.failed(failure.kind, ttl=failure.ttl, now=now, random=self._clock.random())
        self._error = failure
        if change is Change.EMPTY:
            self._addresses = 0
            self._adopt(None)
        self._emit(ResolutionFailed(self.name, failure.kind, max(0.0, self.freshness.due - now), self._addresses))
        self._keep_fresh()

    def _keep_fresh(self) -> None:
        with self._lock:
            if self._handle is None and not self._closed:
                self._handle = self._lease.every(self._wait, self._refresh, name=f"refresh {self.name}")

    def _wait(self) -> float:
        return self.freshness.wait(self._clock.now())

    def _again(self, error: ResilienceError) -> ResilienceError:
        """Return a copy, as of now: one exception raised again and again would collect every caller's traceback."""
        kind = type(error)
        twin = kind.__new__(kind, *error.args)
        twin.args = error.args
        due = max(0.0, self.freshness.due - self._clock.now())  # until then nobody is asked, and this is the answer
        twin.__dict__.update(error.__dict__, service=self.name, retry_after=due)
        return twin


def _as_failure(name: str, error: BaseException) -> ResolutionError:
    kind: Kind = "timeout" if isinstance(error, TimeoutError) else "servfail"
    detail = "" if kind == "timeout" and not str(error) else f"{type(error).__name__}: {error}"
    return ResolutionError(name, kind, detail, causes=(error,))
