"""What the caller gets when a call fails: the last original exception, annotated; or our own, as httpx's closest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from resilience.core.errors import BadAnswerError, DeadlineExceededError, ResilienceError
from resilience.core.outcome import Sent
from resilience.http.errors import for_client
from resilience.http.whole import record
from resilience.policies.retry import annotate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resilience.core.call import RoutedCall


def failure(error: Exception, calls: Sequence[RoutedCall], *, cut: bool) -> Exception:
    """Return what to raise for the failure of the last of these hops of one call. `cut`: it ran into its deadline."""
    call = calls[-1]
    raised: Exception = error
    if cut and isinstance(error, httpx.TimeoutException) and not isinstance(error, ResilienceError):
        raised = _deadline_error(error, calls)
    if isinstance(raised, DeadlineExceededError) and raised.sent is Sent.NO:
        raised.sent = _sent(calls)  # it ran out while waiting, but for something that had been sent before
    kept = record(calls).attempts
    if isinstance(raised, ResilienceError):
        raised = for_client(raised, call.request)
        raised.attempts = kept
        if raised is not error and raised.__cause__ is None and not isinstance(error, ResilienceError):
            raised.__cause__ = error
    alone = len(kept) == 1
    annotate(raised, kept, alone=alone, why=call.why if alone or call.why != "attempts" else "")
    return raised


def was_cut(call: RoutedCall) -> bool:
    """Tell whether the deadline, not a limit of one phase or attempt, has ended a call before its headers."""
    wire = call.attempts[-1].wire if call.attempts else None
    return call.runtime.now() >= call.deadline or (wire is not None and wire.cut)


def _deadline_error(error: Exception, calls: Sequence[RoutedCall]) -> DeadlineExceededError:
    call = calls[-1]
    attempts = [attempt for each in calls for attempt in each.attempts]
    last = attempts[-1] if attempts else None
    where = f" at {last.endpoint.label} in attempt {last.number}" if last is not None else ""
    message = f"the deadline of {call.deadline - calls[0].started:.3g} s for {call.operation} passed{where}"
    return DeadlineExceededError(
        message,
        sent=_sent(calls),
        service=call.service,
        endpoint=last.endpoint.label if last is not None else None,
        causes=(error,),
    )


def _sent(calls: Sequence[RoutedCall]) -> Sent:
    verdicts = [attempt.verdict for call in calls for attempt in call.attempts]
    return Sent.NO if all(verdict is not None and verdict.sent is Sent.NO for verdict in verdicts) else Sent.MAYBE


def outcome_of(error: BaseException) -> str:
    """Return the word for a call's end in its event."""
    if isinstance(error, DeadlineExceededError):
        return "deadline"
    if isinstance(error, ResilienceError) and not isinstance(error, BadAnswerError):
        return "rejected"
    return "failed" if isinstance(error, Exception) else "cancelled"
