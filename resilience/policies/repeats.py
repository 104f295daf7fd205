"""Whether a failed call is repeated, and after which wait: one decision per failure, without a clock of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import tenacity

from resilience.core.call import Elsewhere
from resilience.core.outcome import Err, Ok, Sent
from resilience.policies.waits import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity.wait import wait_base

    from resilience.core.outcome import Verdict
    from resilience.policies.retry import Retry


@dataclass(frozen=True, slots=True)
class Again:
    """Make another attempt after `delay` seconds; `elsewhere`: at an endpoint not yet tried.

    `free`: nothing was sent, and another endpoint that answers takes over, so that no server sees an extra send.
    """

    delay: float
    elsewhere: bool
    free: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """Make no other attempt, and why: ``attempts``, ``deadline``, ``budget``, ``retry-after``, ``not repeatable`` …"""

    why: str


class RetryState:
    """What one call's next step is, after a failure. Pure: `now` comes in, nothing waits."""

    __slots__ = ("_options", "_progress", "_repeats", "attempts", "lost", "paid")

    def __init__(self, options: Retry, *, started: float, request: object, draw: Callable[[], float]) -> None:
        self._options = options
        no_function: Any = (None, (), {})
        fn, args, kwargs = cast("Any", request) if isinstance(request, tuple) else no_function
        self._progress = Progress(fn, args, kwargs, draw)
        self._progress.start_time = started
        self._repeats = 0
        self.attempts = 0
        """Failed attempts so far."""
        self.paid: float | None = None
        """When the attempt that comes next was paid for; None for one that costs nothing."""
        self.lost: Ok[Any] | None = None
        """The latest reply that can no longer be handed over."""

    def next(
        self,
        outcome: Ok[Any] | Err,
        verdict: Verdict,
        /,
        *,
        now: float,
        deadline: float,
        repeatable: bool,
        elsewhere: Elsewhere,
        sends_left: float,
    ) -> Again | Stop:
        """Decide after one more failure. `elsewhere`: is an endpoint ready that was not tried?"""
        self.attempts += 1
        if not verdict.retry:
            return Stop("final")
        if verdict.sent is not Sent.NO and not repeatable:
            return Stop("not repeatable")
        if sends_left < 1:
            return Stop("attempts")
        if verdict.elsewhere and elsewhere is Elsewhere.NOWHERE:
            return Stop("no other endpoint")
        progress = self._progress
        progress.attempt_number = self.attempts
        progress.outcome_timestamp = now
        progress.outcome = _future(self.attempts, outcome)
        options = self._options
        wait: wait_base = options.wait  # type: ignore[assignment]  # plain values since __post_init__
        limit: float = options.max_retry_after  # type: ignore[assignment]
        delay = 0.0
        moves_on = elsewhere is not Elsewhere.NOWHERE and not verdict.binds_service
        if not moves_on:
            # Back-off grows with the repetitions, not with the attempts that went to fresh endpoints for free.
            self._repeats += 1
            progress.attempt_number = self._repeats
            delay = max(0.0, float(wait(progress)))
            progress.attempt_number = self.attempts
            after = verdict.retry_after
            if after is not None:
                if after > limit:
                    return Stop("retry-after")
                delay = max(delay, after)
        if not now + delay < deadline:
            return Stop("deadline")
        progress.upcoming_sleep = delay
        if options.stop is not None and options.stop(progress):
            return Stop("stop")
        progress.idle_for += delay
        return Again(delay, moves_on, free=moves_on and verdict.sent is Sent.NO and elsewhere is Elsewhere.ANSWERING)


def _future(number: int, outcome: Ok[Any] | Err) -> tenacity.Future:
    future = tenacity.Future(number)
    if isinstance(outcome, Err):
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome.value)
    return future
