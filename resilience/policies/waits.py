"""How long to wait before the next attempt: tenacity's wait values, and our own full jitter."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import tenacity
from tenacity.wait import wait_base, wait_fixed

from resilience.core.errors import ConfigurationError
from resilience.core.units import seconds as in_seconds
from resilience.runtimes.entry import is_async

if TYPE_CHECKING:
    from collections.abc import Callable


class Progress(tenacity.RetryCallState):
    """What tenacity's `wait` and `stop` values read: attempt number, elapsed time, outcome; on our clock."""

    def __init__(self, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any], draw: Callable[[], float]) -> None:  # noqa: ANN401
        super().__init__(retry_object=None, fn=fn, args=args, kwargs=kwargs)  # type: ignore[arg-type]  # unused by values
        self.draw = draw
        """The runtime's random numbers, so that virtual time stays reproducible."""


@dataclass(frozen=True)
class FullJitter(wait_base):
    """Wait a random time up to ``min(cap, base * 2 ** retries)``."""

    base: float
    cap: float

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        """Return seconds from 0 to the bound of this retry."""
        draw = retry_state.draw if isinstance(retry_state, Progress) else random.random
        # 2**60 s is beyond any cap; the bound keeps the power finite.
        return draw() * min(self.cap, self.base * 2.0 ** min(retry_state.attempt_number - 1, 60))


def full_jitter(base: float | timedelta = 0.05, cap: float | timedelta = 1.0) -> FullJitter:
    """Return the wait AWS's simulation found best under contention: uniform between 0 and an exponential bound.

    `base` and `cap` in seconds, above 0, `cap` not below `base`; the n-th retry waits up to ``min(cap, base·2ⁿ⁻¹)``.
    A tenacity wait value: it can be added to others.
    """
    first, most = in_seconds("base", base), in_seconds("cap", cap)
    if most < first:
        argument, expected = "cap", f"seconds not below base={first:g}"
        raise ConfigurationError(argument, cap, expected)
    return FullJitter(first, most)


def as_wait(value: object, /) -> wait_base:
    """Accept seconds, ``timedelta``, or any tenacity wait."""
    if isinstance(value, wait_base):
        return value
    if isinstance(value, int | float | timedelta) and not isinstance(value, bool):
        return wait_fixed(in_seconds("wait", value, zero=True))
    # tenacity takes plain functions of the state too
    if callable(value) and not isinstance(value, type) and not is_async(value):
        return _Function(cast("Callable[[tenacity.RetryCallState], float]", value))
    argument, expected = "wait", "seconds from 0, full_jitter(base, cap), or a tenacity wait"
    raise ConfigurationError(argument, value, expected)


@dataclass(frozen=True)
class _Function(wait_base):
    fn: Callable[[tenacity.RetryCallState], float]

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        return self.fn(retry_state)
