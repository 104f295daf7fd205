"""What `overhead.py` measures: each policy of each library around a function that does nothing.

A guard is built from the function it wraps, once for `def` and once for `async def`; libraries are imported when
built, so one that is not installed costs only its own rows. Options differ only where the libraries do: three
attempts, a limit of 100.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Function = Callable[[], Any]
Wrap = Callable[[Function], Function]

ATTEMPTS = 3
LIMIT = 100
SECONDS = 30.0
OURS = "resilience"
PEER = "nopanic"
BARE = "bare"


@dataclass(frozen=True, slots=True)
class Guard:
    """One row: what is wrapped around the function, in which group it is compared, and for which kinds of function."""

    group: str
    library: str
    wrap: Wrap
    modes: tuple[str, ...] = ("sync", "async")

    @property
    def name(self) -> str:
        """Unique within a mode."""
        return f"{self.group} · {self.library}"


def _ours(*policies: str) -> Wrap:
    def wrap(fn: Function) -> Function:
        import resilience  # noqa: PLC0415

        build: dict[str, Callable[[], Any]] = {
            "retry": lambda: resilience.Retry(ATTEMPTS),
            "retry+budget": lambda: resilience.Retry(ATTEMPTS, budget=resilience.RetryBudget()),
            "circuit": resilience.CircuitBreaker,
            "bulkhead": lambda: resilience.Bulkhead(LIMIT),
            "timeout": lambda: resilience.Timeout(SECONDS),
        }
        parts = [build[policy]() for policy in policies]
        return (parts[0] if len(parts) == 1 else resilience.Pipeline(*parts))(fn)

    return wrap


def _ours_call(*policies: str) -> Wrap:
    """Wrap by the same pipeline's `.call(fn)` and `.acall(fn)` instead of as a decorator."""

    def wrap(fn: Function) -> Function:
        import resilience  # noqa: PLC0415

        parts = {
            "retry+budget": resilience.Retry(ATTEMPTS, budget=resilience.RetryBudget()),
            "circuit": resilience.CircuitBreaker(),
            "bulkhead": resilience.Bulkhead(LIMIT),
        }
        pipeline = resilience.Pipeline(*(parts[policy] for policy in policies))
        return functools.partial(pipeline.acall if inspect.iscoroutinefunction(fn) else pipeline.call, fn)

    return wrap


def _nopanic(*policies: str) -> Wrap:
    def wrap(fn: Function) -> Function:
        import nopanic  # noqa: PLC0415

        build: dict[str, Callable[[], Any]] = {
            "retry": lambda: nopanic.retry(ATTEMPTS),
            "retry+budget": lambda: nopanic.retry(ATTEMPTS, budget=nopanic.RetryBudget()),
            "circuit": nopanic.circuit_breaker,
            "bulkhead": lambda: nopanic.bulkhead(LIMIT),
            "timeout": lambda: nopanic.timeout(SECONDS),
        }
        parts = [build[policy]() for policy in policies]
        return (parts[0] if len(parts) == 1 else nopanic.compose(*parts))(fn)

    return wrap


def _interlock(*policies: str) -> Wrap:
    def wrap(fn: Function) -> Function:
        from interlock import CircuitBreaker  # noqa: PLC0415
        from interlock.pipeline import BulkheadStrategy, CircuitBreakerStrategy, Pipeline, TimeoutStrategy  # noqa: PLC0415

        def retry() -> Any:  # noqa: ANN401 - needs tenacity, so imported only for its own rows
            from interlock.integrations.tenacity import RetryStrategy  # noqa: PLC0415

            return RetryStrategy(attempts=ATTEMPTS)

        if policies == ("circuit",):
            return CircuitBreaker(name="bench")(fn)
        build: dict[str, Callable[[], Any]] = {
            "retry": retry,
            "circuit": lambda: CircuitBreakerStrategy(CircuitBreaker(name="bench")),
            "bulkhead": lambda: BulkheadStrategy(LIMIT),
            "timeout": lambda: TimeoutStrategy(SECONDS),
        }
        return Pipeline(*(build[policy]() for policy in policies))(fn)

    return wrap


def _tenacity(fn: Function) -> Function:
    import tenacity  # noqa: PLC0415

    stop, wait = tenacity.stop_after_attempt(ATTEMPTS), tenacity.wait_random_exponential(0.05, 1.0)
    return tenacity.retry(stop=stop, wait=wait, reraise=True)(fn)


def _stamina(fn: Function) -> Function:
    import stamina  # noqa: PLC0415

    return stamina.retry(on=ConnectionError, attempts=ATTEMPTS)(fn)


def _pybreaker(fn: Function) -> Function:
    import pybreaker  # noqa: PLC0415

    return functools.partial(pybreaker.CircuitBreaker().call, fn)


def _by_hand(*, timeout: bool = False) -> Wrap:
    """Put tenacity around pybreaker around a semaphore: what people write today."""

    def wrap(fn: Function) -> Function:
        import pybreaker  # noqa: PLC0415

        breaker = pybreaker.CircuitBreaker()
        if not inspect.iscoroutinefunction(fn):
            slots = threading.BoundedSemaphore(LIMIT)

            @_tenacity
            def guarded() -> object:
                with breaker.calling(), slots:
                    return fn()

            return guarded

        places = asyncio.Semaphore(LIMIT)

        @_tenacity
        async def aguarded() -> object:
            with breaker.calling():
                async with places:
                    return await fn()

        async def in_time() -> object:
            async with asyncio.timeout(SECONDS):
                return await aguarded()

        return in_time if timeout else aguarded

    return wrap


HEADLINE = "retry+budget, circuit, bulkhead"
WITH_TIMEOUT = f"timeout, {HEADLINE}"
_STACK = ("retry+budget", "circuit", "bulkhead")
_ASYNC = ("async",)

GUARDS = (
    Guard("retry", PEER, _nopanic("retry")),
    Guard("retry", OURS, _ours("retry")),
    Guard("retry", "tenacity", _tenacity),
    Guard("retry", "stamina", _stamina),
    Guard("retry, budget", PEER, _nopanic("retry+budget")),
    Guard("retry, budget", OURS, _ours("retry+budget")),
    Guard("circuit", PEER, _nopanic("circuit")),
    Guard("circuit", OURS, _ours("circuit")),
    Guard("circuit", "pybreaker .call", _pybreaker, ("sync",)),
    Guard("circuit", "interlock-cb", _interlock("circuit")),
    Guard("bulkhead", PEER, _nopanic("bulkhead")),
    Guard("bulkhead", OURS, _ours("bulkhead")),
    Guard("bulkhead", "interlock-cb", _interlock("bulkhead")),
    Guard("timeout", PEER, _nopanic("timeout")),
    Guard("timeout", OURS, _ours("timeout")),
    Guard("timeout", "interlock-cb", _interlock("timeout")),
    Guard(HEADLINE, PEER, _nopanic(*_STACK)),
    Guard(HEADLINE, OURS, _ours(*_STACK)),
    Guard(HEADLINE, f"{OURS} .call", _ours_call(*_STACK)),
    Guard(HEADLINE, "interlock-cb (no budget)", _interlock("retry", "circuit", "bulkhead")),
    Guard(HEADLINE, "tenacity + pybreaker by hand (no budget)", _by_hand()),
    Guard(WITH_TIMEOUT, PEER, _nopanic("timeout", *_STACK), _ASYNC),
    Guard(WITH_TIMEOUT, OURS, _ours("timeout", *_STACK), _ASYNC),
    Guard(WITH_TIMEOUT, "interlock-cb (no budget)", _interlock("timeout", "retry", "circuit", "bulkhead"), _ASYNC),
    Guard(WITH_TIMEOUT, "tenacity + pybreaker by hand (no budget)", _by_hand(timeout=True), _ASYNC),
)
GROUPS = tuple(dict.fromkeys(guard.group for guard in GUARDS))
