"""Try again, when that can help, may be done, and can pay off.

The decision is :class:`RetryState`: one per call that failed at least once. A call that succeeds at once never touches
it, nor anything of tenacity.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import tenacity

from resilience.core.attempt import AttemptRecord
from resilience.core.errors import ConfigurationError, RejectedError
from resilience.core.events import RetryScheduled
from resilience.core.outcome import Err, Ok, Sent, Verdict
from resilience.core.units import seconds as in_seconds
from resilience.core.units import whole
from resilience.policies.budget import Budget, RetryBudget
from resilience.policies.matching import Matcher, matcher
from resilience.policies.policy import Policy
from resilience.policies.verdicts import judge_bare
from resilience.policies.waits import Progress, as_wait, full_jitter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from resilience.core.call import Call
    from resilience.core.ports import Proceed


@dataclass(frozen=True, slots=True)
class Again:
    """Make another attempt after `delay` seconds; `elsewhere`: at an endpoint not yet tried."""

    delay: float
    elsewhere: bool


@dataclass(frozen=True, slots=True)
class Stop:
    """Make no other attempt, and why: ``attempts``, ``deadline``, ``budget``, ``retry-after``, ``not repeatable`` …"""

    why: str


class RetryState:
    """What one call's next step is, after a failure. Pure: `now` comes in, nothing waits."""

    __slots__ = ("_options", "_progress", "_repeats", "attempts")

    def __init__(self, options: Retry, *, started: float, request: object, draw: Callable[[], float]) -> None:
        self._options = options
        fn, args, kwargs = request if isinstance(request, tuple) else (None, (), {})
        self._progress = Progress(fn, args, kwargs, draw)
        self._progress.start_time = started
        self._repeats = 0
        self.attempts = 0
        """Failed attempts so far."""

    def next(  # noqa: PLR0911 - one exit per reason to stop
        self,
        outcome: Ok[Any] | Err,
        verdict: Verdict,
        /,
        *,
        now: float,
        deadline: float,
        repeatable: bool,
        elsewhere: bool,
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
        if verdict.elsewhere and not elsewhere:
            return Stop("no other endpoint")
        progress = self._progress
        progress.attempt_number = self.attempts
        progress.outcome_timestamp = now
        progress.outcome = _future(self.attempts, outcome)
        options = self._options
        if options.stop is not None and options.stop(progress):
            return Stop("stop")
        delay = 0.0
        moves_on = elsewhere and not verdict.binds_service
        if not moves_on:
            # Back-off grows with the repetitions, not with the attempts that went to fresh endpoints for free.
            self._repeats += 1
            progress.attempt_number = self._repeats
            delay = max(0.0, float(options.wait(progress)))
            after = verdict.retry_after
            if after is not None:
                if after > options.max_retry_after:
                    return Stop("retry-after")
                delay = max(delay, after)
        if not now + delay < deadline:
            return Stop("deadline")
        progress.idle_for += delay
        progress.upcoming_sleep = delay
        return Again(delay, moves_on)


def _future(number: int, outcome: Ok[Any] | Err) -> tenacity.Future:
    future = tenacity.Future(number)
    if isinstance(outcome, Err):
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome.value)
    return future


@dataclass(frozen=True, slots=True)
class Retry(Policy):
    """Repeat a failed call, up to `max_attempts` sends in all (from 1; 3, as AWS's SDKs).

    `wait`: seconds, ``full_jitter(base, cap)``, or any tenacity wait. `stop`: any tenacity stop, in addition. `on`:
    exception types, status codes, a predicate of the result or exception, or a tuple of those; without it, functions
    are repeated on ``ConnectionError``, ``TimeoutError``, ``socket.gaierror`` and on httpx errors by the client's own
    rule. In a client `on` adds to that rule. `max_retry_after`: seconds; a server that asks for more is not waited for
    (30). `budget`: the :class:`RetryBudget` it draws from; None is one of its own (in a client the service's),
    ``False`` none at all.

    The caller gets the last result, or the last original exception with the attempts in its notes and on `.attempts`.
    An open circuit is never waited for. Raises ConfigurationError for values out of range.
    """

    max_attempts: int = 3
    wait: Any = field(default_factory=full_jitter, kw_only=True)
    stop: Any = field(default=None, kw_only=True)
    on: Any = field(default=None, kw_only=True)
    max_retry_after: float | timedelta = field(default=30.0, kw_only=True)
    budget: RetryBudget | bool | None = field(default=None, kw_only=True)
    state: Budget | None = field(init=False, repr=False, compare=False)
    wanted: Matcher | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the arguments and take over their plain forms."""
        whole("max_attempts", self.max_attempts)
        object.__setattr__(self, "wait", as_wait(self.wait))
        if self.stop is not None and not callable(self.stop):
            argument, expected = "stop", "a tenacity stop, or None"
            raise ConfigurationError(argument, self.stop, expected)
        object.__setattr__(self, "wanted", matcher("on", self.on))
        limit = in_seconds("max_retry_after", self.max_retry_after, zero=True, infinite=True)
        object.__setattr__(self, "max_retry_after", limit)
        if self.budget is None:
            object.__setattr__(self, "state", RetryBudget().state)
        elif isinstance(self.budget, RetryBudget):
            object.__setattr__(self, "state", self.budget.state)
        elif self.budget is False:
            object.__setattr__(self, "state", None)
        else:
            argument, expected = "budget", "a RetryBudget, None for one of its own, or False for none"
            raise ConfigurationError(argument, self.budget, expected)

    def sharing(self, budget: Budget | None) -> Retry:
        """Return the same policy drawing on this balance; a budget of its own, given explicitly, stays."""
        if self.budget is not None:
            return self
        shared = replace(self)
        object.__setattr__(shared, "state", budget)
        return shared

    async def around(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Send the call on, and again."""
        budget = self.state
        if budget is not None:
            budget.deposit(call.started)
        outer = call.sends_left
        call.sends_left = left = min(outer, self.max_attempts) - 1
        try:
            try:
                reply = await proceed(call)
            except Exception as error:  # noqa: BLE001 - judged, and raised again unless repeated
                outcome: Ok[Any] | Err = Err(error)
            else:
                verdict = call.verdict
                if (verdict is None or not verdict.retry) and (self.wanted is None or not self.wanted.judges_results):
                    return reply
                outcome = Ok(reply)
            return await self._again(call, proceed, outcome)
        finally:
            call.sends_left = outer - (left + 1 - call.sends_left)

    async def _again(self, call: Call, proceed: Proceed, outcome: Ok[Any] | Err) -> Any:  # noqa: ANN401
        runtime = call.runtime
        state = RetryState(self, started=call.started, request=call.request, draw=runtime.random)
        records: list[AttemptRecord] = []
        waited = 0.0
        while True:
            verdict = self._judge(outcome, call)
            now = runtime.now()
            records.append(_record(state.attempts + 1, outcome, verdict, waited))
            step: Again | Stop = state.next(
                outcome,
                verdict,
                now=now,
                deadline=call.deadline,
                repeatable=call.repeatable,
                elsewhere=call.elsewhere is not None and verdict.retry and call.elsewhere(),
                sends_left=call.sends_left,
            )
            if isinstance(step, Again) and self.state is not None and not self.state.try_withdraw(now):
                step = Stop("budget")
            if isinstance(step, Stop):
                call.why = step.why
                return _hand_over(outcome, call, records)
            if call.emit is not None:
                reason = records[-1].error or str(records[-1].status or "result")
                call.emit(RetryScheduled(call.operation, call.operation, state.attempts, step.delay, reason))
            if isinstance(outcome, Ok) and call.discard is not None:
                await call.discard(outcome.value)
            if step.delay > 0:
                await runtime.sleep(step.delay)
            waited = step.delay
            call.sends_left -= 1
            before = outcome
            before_sent = len(call.attempts)
            try:
                outcome = Ok(await proceed(call))
            except RejectedError as error:
                # Nothing of this attempt was sent. What did happen to the call is what was there before.
                call.why = f"rejected: {type(error).__name__}"
                if len(call.attempts) > before_sent or isinstance(before, Ok):
                    raise
                return _hand_over(before, call, records)
            except Exception as error:  # noqa: BLE001 - judged at the top of the loop
                outcome = Err(error)
            else:
                verdict_now = call.verdict
                wanted = self.wanted
                if (verdict_now is None or not verdict_now.retry) and (wanted is None or not wanted.judges_results):
                    return outcome.value

    def _judge(self, outcome: Ok[Any] | Err, call: Call) -> Verdict:
        verdict = call.verdict
        bare = call.classify is None
        if verdict is None or (isinstance(outcome, Err) and isinstance(outcome.error, RejectedError)):
            verdict = judge_bare(outcome, call)
        if self.wanted is None:
            return verdict
        wanted = self.wanted.matches(outcome)
        if bare or (wanted and not verdict.retry):
            return replace(verdict, retry=wanted)
        return verdict


def _record(number: int, outcome: Ok[Any] | Err, verdict: Verdict, waited: float) -> AttemptRecord:
    if isinstance(outcome, Err):
        return AttemptRecord(number, None, None, waited, verdict.blame.value, error=type(outcome.error).__name__)
    return AttemptRecord(number, None, None, waited, verdict.blame.value, getattr(outcome.value, "status_code", None))


def _hand_over(outcome: Ok[Any] | Err, call: Call, records: Sequence[AttemptRecord]) -> Any:  # noqa: ANN401
    if isinstance(outcome, Ok):
        return outcome.value
    error = outcome.error
    if call.classify is None:  # a client annotates once, for the whole call
        annotate(error, records)
    raise error


def annotate(error: BaseException, records: Sequence[AttemptRecord]) -> None:
    """Put the attempts on an exception: as `.attempts`, and as notes where there was more than one."""
    try:
        error.attempts = tuple(records)  # type: ignore[attr-defined]
    except AttributeError:  # an exception with slots; its notes still tell
        pass
    if len(records) > 1:
        for record in records:
            error.add_note(str(record))


