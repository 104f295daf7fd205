"""What type checkers make of guarded functions. Run by mypy and pyright (``make types``), not by pytest."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, assert_type

import pybreaker
import tenacity

import resilience

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class User:
    """What the functions below return."""


@resilience.Retry(max_attempts=5, on=(ConnectionError, TimeoutError))
def fetch(user_id: int, *, fresh: bool = False) -> User:
    """Return a user."""
    return User()


@resilience.CircuitBreaker(name="users")
async def fetch_async(user_id: int, *, fresh: bool = False) -> User:
    """Return a user, in time."""
    return User()


guarded = resilience.Pipeline(resilience.Timeout(2.0), resilience.Retry(), resilience.CircuitBreaker())


@guarded
async def charge(order: str) -> bytes:
    """Return a receipt."""
    return order.encode()


def plain(number: int) -> str:
    """Return text."""
    return str(number)


async def awaited(number: int) -> str:
    """Return text, in time."""
    return str(number)


class Repository:
    """Its methods are guarded."""

    @resilience.Bulkhead(5, queue=10)
    def find(self, name: str) -> list[User]:
        """Return users."""
        return [User() for _ in name]

    @resilience.Timeout(timedelta(seconds=2))
    async def find_async(self, name: str) -> list[User]:
        """Return users, in time."""
        return [User() for _ in name]


async def check() -> None:
    """Say what each of them is."""
    assert_type(fetch(1), User)
    assert_type(fetch(user_id=1, fresh=True), User)
    assert_type(await fetch_async(1), User)
    assert_type(await charge("order"), bytes)
    assert_type(Repository().find("ann"), list[User])
    assert_type(await Repository().find_async("ann"), list[User])
    assert_type(guarded.call(plain, 1), str)
    assert_type(await guarded.acall(awaited, 1), str)
    breaker = resilience.CircuitBreaker()
    assert_type(breaker.call(plain, 1), str)
    assert_type(await breaker.acall(awaited, 1), str)
    assert_type(breaker.current_state, str)
    as_pybreaker: pybreaker.CircuitBreaker = breaker
    as_pybreaker.open()
    with breaker.calling():
        pass
    with resilience.deadline(2.0) as instant:
        assert_type(instant, float)
    in_time: Callable[[int], Coroutine[Any, Any, str]] = resilience.deadline(2.0)(awaited)
    assert_type(await in_time(1), str)
    function: Callable[[int], str] = resilience.Policy()(plain)
    coroutine_function: Callable[[int], Coroutine[Any, Any, str]] = resilience.Policy()(awaited)
    assert_type(function(1), str)
    assert_type(await coroutine_function(1), str)


def refused() -> None:
    """Whatever is wrong is an error here, and would be unused if it were not."""
    fetch("one")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    fetch(1, stale=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    guarded.call(plain, "one")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    guarded.call(plain)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    resilience.Bulkhead("many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    resilience.Bulkhead(1, 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    resilience.Timeout(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    resilience.CircuitBreaker(0.5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    resilience.Pipeline(plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def accepted() -> None:
    """Everything the signatures promise."""
    resilience.Retry(wait=0.5, stop=tenacity.stop_after_delay(3), on=503, budget=False)
    resilience.Retry(wait=resilience.full_jitter(0.1, 2.0), on=lambda reply: reply is None)
    resilience.Retry(wait=tenacity.wait_exponential(), on=(KeyError, 503), budget=resilience.RetryBudget(0.1))
    resilience.CircuitBreaker(exclude=KeyError, open_for=timedelta(seconds=1))
    resilience.CircuitBreaker(exclude=[KeyError, lambda error: False], listeners=[pybreaker.CircuitBreakerListener()])
