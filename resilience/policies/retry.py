"""Try again, when that can help, may be done, and can pay off.

The decision is :class:`RetryState`: one per call that failed at least once. A call that succeeds at once never touches
it, nor anything of tenacity.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from resilience.core.attempt import AttemptRecord
from resilience.core.call import NEVER, Elsewhere
from resilience.core.errors import CircuitOpenError, ConfigurationError, RejectedError, require
from resilience.core.events import RetryScheduled
from resilience.core.outcome import Err, Ok, Verdict
from resilience.core.propagation import gave_up
from resilience.core.units import seconds as in_seconds
from resilience.core.units import whole
from resilience.policies.budget import Budget, RetryBudget
from resilience.policies.matching import Listed, Matcher, kept, matcher
from resilience.policies.policy import StraightPolicy
from resilience.policies.repeats import Again, RetryState, Stop
from resilience.policies.verdicts import judge_bare
from resilience.policies.waits import as_wait, full_jitter
from resilience.runtimes.entry import is_async

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import timedelta

    from tenacity import RetryCallState
    from tenacity.wait import wait_base

    from resilience.core.call import Call
    from resilience.core.ports import Proceed

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retry(StraightPolicy):
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
    wait: float | timedelta | wait_base | Callable[[RetryCallState], float] = field(
        default_factory=full_jitter, kw_only=True
    )
    stop: Callable[[RetryCallState], object] | None = field(default=None, kw_only=True)
    on: Listed | Iterable[Listed] | None = field(default=None, kw_only=True)
    max_retry_after: float | timedelta = field(default=30.0, kw_only=True)
    budget: RetryBudget | bool | None = field(default=None, kw_only=True)
    state: Budget | None = field(init=False, repr=False, compare=False)
    wanted: Matcher | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the arguments and take over their plain forms."""
        whole("max_attempts", self.max_attempts)
        object.__setattr__(self, "wait", as_wait(self.wait))
        require("stop", self.stop, "a tenacity stop, or None", lambda it: it is None or _usable(it))
        object.__setattr__(self, "on", kept(self.on))
        object.__setattr__(self, "wanted", matcher("on", self.on))
        require("on", self.on, "at least one of them, or None", lambda _: self.wanted != Matcher((), frozenset(), ()))
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

    def enter(self, call: Call, /) -> float:
        """Pay into the budget, and say how many more sends there may be."""
        if self.state is not None:
            self.state.deposit(call.started)
        # Sends beyond the one that is about to be made, which a Retry further out has already counted.
        outer = call.sends_left
        left = self.max_attempts - 1
        call.sends_left = min(outer, left)
        return outer

    def leave(self, call: Call, token: float, reply: object, /) -> bool:  # noqa: ARG002 - `answered` looks at it
        """Let a reply pass that nobody wants repeated."""
        verdict, wanted = call.verdict, self.wanted
        if (verdict is not None and verdict.retry) or (wanted is not None and wanted.judges_results):
            return False
        if token == NEVER:
            call.sends_left = NEVER
        else:
            self._restore(call, token)
        return True

    async def answered(self, call: Call, token: float, reply: object, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Repeat a call for the sake of its reply."""
        try:
            outcome = Ok(reply)
            return await self._again(call, proceed, outcome) if self._judge(outcome, call).retry else reply
        finally:
            self._restore(call, token)

    async def recover(self, call: Call, token: float, error: BaseException, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Repeat a call that has failed."""
        try:
            if isinstance(error, Exception):
                return await self._again(call, proceed, Err(error))
            raise error
        finally:
            self._restore(call, token)

    def _restore(self, call: Call, outer: float) -> None:
        call.sends_left = outer - (min(outer, self.max_attempts - 1) - call.sends_left)

    async def _again(self, call: Call, proceed: Proceed, outcome: Ok[Any] | Err) -> Any:  # noqa: ANN401
        state = RetryState(self, started=call.started, request=call.request, draw=call.runtime.random)
        records: list[AttemptRecord] = []
        waited = 0.0
        real = outcome
        """What last became of something that was sent; where nothing ever was, the first rejection."""
        while True:
            verdict = self._judge(outcome, call)
            records.append(_record(state.attempts + 1, outcome, verdict, waited))
            if not _rejected(outcome):
                real = outcome
                call.sent += 1
            step = await self._next(state, outcome, verdict, call)
            if isinstance(step, Stop):
                call.why = step.why
                if step.why == "deadline":
                    call.stopped_for = call.deadline
                gave_up("rejected" if _rejected(outcome) else step.why)
                return self._hand_over(outcome if real is state.lost else real, call, records)
            waited = call.waited = step.delay
            call.sends_left -= 1
            call.queueing, call.stopped_for = False, None
            sends = len(call.attempts)
            outcome = await self._attempt(state, proceed, call)
            if isinstance(outcome, Ok):
                if not self._judge(outcome, call).retry:
                    return outcome.value
            elif _rejected(outcome) and not self._judge(outcome, call).retry:
                # Nothing of this attempt was sent. What did happen to the call is what was there before.
                call.why = f"rejected: {type(outcome.error).__name__}"
                gave_up("rejected")
                gone = real is state.lost or len(call.attempts) > sends
                return self._hand_over(outcome if gone else real, call, records)

    def _hand_over(self, final: Ok[T] | Err, call: Call, records: Sequence[AttemptRecord]) -> T:
        if isinstance(final, Ok):
            return final.value
        error = final.error
        if call.classify is None:  # a client annotates once, for the whole call
            annotate(error, records, by=id(self), why=call.why if call.why == "budget" else "")
        raise error

    async def _attempt(self, state: RetryState, proceed: Proceed, call: Call) -> Ok[Any] | Err:
        """Make one more attempt; the payment for one that was not sent is given back."""
        sends = len(call.attempts)
        try:
            return Ok(await proceed(call))
        except RejectedError as error:
            if len(call.attempts) == sends:
                self._refund(state)
            return Err(error)
        except Exception as error:  # noqa: BLE001 - judged by whoever asked for the attempt
            return Err(error)
        except BaseException:
            if call.queueing:
                self._refund(state)
            raise

    def _refund(self, state: RetryState) -> None:
        if self.state is not None and state.paid is not None:
            self.state.refund(state.paid)
            state.paid = None

    async def _next(self, state: RetryState, outcome: Ok[Any] | Err, verdict: Verdict, call: Call) -> Again | Stop:
        """Decide; and for another attempt pay, drop the reply, and wait for its time."""
        budget = self.state
        paid = call.runtime.now()
        step = state.next(
            outcome,
            verdict,
            now=paid,
            deadline=call.deadline,
            repeatable=call.repeatable,
            elsewhere=Elsewhere.NOWHERE if call.elsewhere is None or not verdict.retry else call.elsewhere(call),
            sends_left=call.sends_left,
        )
        if isinstance(step, Stop):
            return step
        state.paid = None if budget is None or step.free else paid
        if budget is not None and state.paid is not None and not budget.try_withdraw(paid):
            return Stop("budget")
        paused: Again | Stop = Stop("cut")
        try:
            paused = await self._pause(step, state, outcome, call)
        finally:
            if isinstance(paused, Stop):
                self._refund(state)
        return paused

    async def _pause(self, step: Again, state: RetryState, outcome: Ok[Any] | Err, call: Call) -> Again | Stop:
        if call.emit is not None:
            service = call.service or call.operation
            call.emit(RetryScheduled(service, call.operation, state.attempts, step.delay, _reason(outcome)))
        if call.discard is not None and isinstance(outcome, Ok) and not await call.discard(outcome.value):
            state.lost = outcome
        if step.delay > 0:
            await call.runtime.sleep(step.delay)
            if call.runtime.now() >= call.deadline and outcome is not state.lost:
                return Stop("deadline")  # it slept longer than it was told to
        return step

    def _judge(self, outcome: Ok[Any] | Err, call: Call) -> Verdict:
        verdict = call.verdict
        if verdict is None or _rejected(outcome):
            verdict = judge_bare(outcome, call)
        if self.wanted is None or verdict.final:
            return verdict
        # An open circuit is never waited for, whatever was listed.
        wanted = self.wanted.matches(outcome) and not _rejected(outcome, CircuitOpenError)
        if call.classify is None or (wanted and not verdict.retry):
            return replace(verdict, retry=wanted)
        return verdict


def _usable(value: object) -> bool:
    # A class in place of an object of it (``stop_after_attempt`` without its number) could be called as well.
    return callable(value) and not isinstance(value, type) and not is_async(value)


def _rejected(outcome: Ok[Any] | Err, kind: type[RejectedError] = RejectedError) -> bool:
    return isinstance(outcome, Err) and isinstance(outcome.error, kind)


def _reason(outcome: Ok[Any] | Err) -> str:
    if isinstance(outcome, Err):
        return type(outcome.error).__name__
    return str(getattr(outcome.value, "status_code", "result"))


def _record(number: int, outcome: Ok[Any] | Err, verdict: Verdict, waited: float) -> AttemptRecord:
    if isinstance(outcome, Err):
        return AttemptRecord(number, None, None, waited, verdict.blame.value, error=type(outcome.error).__name__)
    return AttemptRecord(number, None, None, waited, verdict.blame.value, getattr(outcome.value, "status_code", None))


class _Note(str):
    """A note that says who has put it on the exception."""

    __slots__ = ("by",)
    by: int


def _note(told: str, by: int) -> _Note:
    note = _Note(told)
    note.by = by
    return note


def annotate(
    error: BaseException, records: Sequence[AttemptRecord], *, by: int = 0, alone: bool = False, why: str = ""
) -> None:
    """Put the attempts on an exception: as `.attempts`, and as notes where there is more than one to tell.

    `alone`: or one. `why`: there was no other. Notes by the same one are replaced: one error may end many calls.
    """
    told = [str(it) for it in records] if len(records) > 1 or alone or why else []
    told[-1:] = [f"{it}; not sent again: {why}" if why else it for it in told[-1:]]
    with contextlib.suppress(AttributeError):  # a frozen exception, or one with an attribute of that name
        error.attempts = tuple(records)  # type: ignore[attr-defined]
        known: list[str] = getattr(error, "__notes__", [])
        notes = [note for note in known if not (isinstance(note, _Note) and note.by == by)]
        notes += [_note(it, by) for it in told]
        if notes or known:
            error.__notes__ = notes  # all at once: other threads may be at the same exception
