"""The verdict of one attempt: the table of ``policies/verdicts.py``, and what our own stream saw of it.

Only the stream can prove that *nothing was sent*: a connect failure in which it wrote not a byte. Exception types
alone lie, and mocks and foreign transports fire no trace events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resilience.core.outcome import BAD, UNKNOWN, Blame, Err, Sent, Verdict
from resilience.http.replay import replayable
from resilience.http.wire import RefusedStreamError
from resilience.policies.verdicts import CERTIFICATE, CONNECT_FAILED, judge_error, judge_status, roots

if TYPE_CHECKING:
    from resilience.core.attempt import Attempt
    from resilience.core.call import Call
    from resilience.core.outcome import Ok
    from resilience.core.ports import Wire

# A cut attempt is blamed on its endpoint when it had at least this long (seconds), and three times what it usually
# takes: then it hung, and was not merely begun too late.
HUNG_AFTER = 0.05
HUNG_FACTOR = 3.0

_CUT_UNSENT = Verdict(Blame.UNKNOWN, retry=False, sent=Sent.NO)
_CERTIFICATE_UNPROVED = Verdict(Blame.BAD, retry=True, sent=Sent.MAYBE, elsewhere=True)
_STALE = Verdict(Blame.UNKNOWN, retry=True, sent=Sent.MAYBE, stale=True)
_STALE_UNSENT = Verdict(Blame.UNKNOWN, retry=True, sent=Sent.NO, stale=True)
_NOT_PROCESSED = Verdict(Blame.UNKNOWN, retry=True, sent=Sent.NO)
# A farewell ends a connection, as closing an idle one does: gRPC's transparent retry (its proposal A6) is free as well.
_FAREWELL = Verdict(Blame.UNKNOWN, retry=True, sent=Sent.NO, stale=True)
_STALLED = Verdict(Blame.UNKNOWN, retry=True, sent=Sent.MAYBE)
_STALLED_UNSENT = Verdict(Blame.UNKNOWN, retry=True, sent=Sent.NO)
_LIMITS = frozenset({"ConnectTimeout", "ReadTimeout", "WriteTimeout"})
_DISCONNECTED = frozenset({"ReadError", "WriteError", "RemoteProtocolError", "CloseError"})
_CONNECTING = frozenset({"ConnectError", "ConnectTimeout"})
_TIMED_OUT = frozenset({"ReadTimeout", "WriteTimeout"})

# RFC 9113 7: the server has not processed a stream it refuses.
_REFUSED_STREAM = 7


def classify(outcome: Ok[Any] | Err, call: Call, /) -> Verdict:
    """Judge the latest attempt of an HTTP call. Reads ``call.attempts[-1]`` for what the wire saw."""
    if not isinstance(outcome, Err):
        response = outcome.value
        return judge_status(response.status_code, response.headers)
    error = outcome.error
    verdict = judge_error(error)
    if verdict is None:
        return UNKNOWN
    attempt = call.attempts[-1]
    wire = attempt.wire
    if call.lost:  # another send has won, and this one was ended for it
        return _judge_cut(attempt, wire, call.runtime.now())
    kind = type(error).__name__
    if wire is None:
        return _judge_unproved(verdict, kind, attempt, call)
    if wire.late and not wire.cut and kind in _LIMITS:
        # While we stood still, its answer may have been waiting for us; a stall must not open every circuit at once.
        return _STALLED if wire.written else _STALLED_UNSENT
    if kind in _CONNECTING and wire.written == 0:
        if verdict is CERTIFICATE:
            return verdict
        return _CUT_UNSENT if wire.cut else CONNECT_FAILED
    if kind in _TIMED_OUT and wire.cut:
        return _judge_cut(attempt, wire, call.runtime.now())
    return _judge_disconnected(error, verdict, wire, call) if kind in _DISCONNECTED else verdict


def _judge_disconnected(error: Exception, verdict: Verdict, wire: Wire, call: Call) -> Verdict:
    stream = getattr(wire, "stream", None)
    if unprocessed(error, stream if isinstance(stream, int) else None):
        # The server has not touched it, but our end may have used up a body that cannot be produced again.
        if not replayable(call.request):
            return UNKNOWN
        return _FAREWELL if said_farewell(error) else _NOT_PROCESSED
    if wire.reused and wire.received == 0:
        return _STALE if wire.written else _STALE_UNSENT
    return verdict


def _judge_unproved(verdict: Verdict, kind: str, attempt: Attempt, call: Call) -> Verdict:
    # A foreign transport: what was sent cannot be known, and whether the deadline has cut it only by the clock.
    if verdict is CERTIFICATE:
        return _CERTIFICATE_UNPROVED
    now = call.runtime.now()
    return UNKNOWN if kind in _TIMED_OUT and now >= call.deadline and not hung(attempt, now) else verdict


def _judge_cut(attempt: Attempt, wire: Wire | None, now: float) -> Verdict:
    if wire is not None and wire.written == 0:
        return _CUT_UNSENT
    return BAD if hung(attempt, now) else UNKNOWN


def hung(attempt: Attempt, now: float) -> bool:
    """Tell whether an attempt that was cut had all the time its endpoint usually needs, and more."""
    usual = attempt.endpoint.usual or 0.0
    return now - attempt.started >= max(HUNG_AFTER, HUNG_FACTOR * usual)


def unprocessed(error: BaseException, stream: int | None = None) -> bool:
    """Tell whether HTTP/2 says so: REFUSED_STREAM, or a GOAWAY that does not cover our stream (None: not known)."""
    for it in _said(error):
        if getattr(it, "error_code", None) is None:
            continue
        last = getattr(it, "last_stream_id", None)
        if last is None and int(it.error_code) == _REFUSED_STREAM:
            return True
        if last is not None and (last == 0 or (stream is not None and stream > last)):
            return True
    return False


def said_farewell(error: BaseException) -> bool:
    """Tell whether a GOAWAY ended it, not the refusal of this one stream: another connection takes it at once."""
    return any(
        isinstance(it, RefusedStreamError) or getattr(it, "last_stream_id", None) is not None for it in _said(error)
    )


def _said(error: BaseException) -> list[Any]:
    # httpcore puts h2's event, which is no exception, into the arguments of its own.
    return [it for root in roots(error) for it in (root, *root.args)]
