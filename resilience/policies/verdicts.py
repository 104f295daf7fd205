"""The verdict table: what a status or an exception says about an endpoint, and whether to try again.

Exceptions of httpx are known by the names of their classes, because httpx2 raises the same names from unrelated
classes; everything else is judged by type. What only the wire can tell (*nothing was sent*) is added in
``http/classify.py``: exception types alone lie.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, cast

from resilience.core.errors import BadAnswerError, ConfigurationError, DeadlineExceededError, RejectedError
from resilience.core.outcome import BAD, GOOD, UNKNOWN, Blame, Err, Sent, Verdict
from resilience.core.propagation import NO_RETRY_HEADER, gave_up
from resilience.runtimes.blocking import wall_clock

if TYPE_CHECKING:
    from resilience.core.call import Call
    from resilience.core.outcome import Ok

# RFC 9110 9.2.2: methods that may be repeated without changing the outcome.
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})

_ANSWERED = Sent.ANSWERED
_RETRY_GOOD = Verdict(Blame.GOOD, retry=True, sent=_ANSWERED)
_RETRY_BAD = Verdict(Blame.BAD, retry=True, sent=_ANSWERED)
_STATUS: dict[int, Verdict] = {
    408: _RETRY_GOOD,
    425: _RETRY_GOOD,
    429: Verdict(Blame.GOOD, retry=True, sent=_ANSWERED, binds_service=True),
    500: Verdict(Blame.BAD, retry=False, sent=_ANSWERED, consecutive=False),
    502: _RETRY_BAD,
    503: _RETRY_BAD,
    504: _RETRY_BAD,
}
"""501, 505 and all other statuses are GOOD and not repeated."""
_SERVER_ERROR = 500

CONNECT_FAILED = Verdict(Blame.BAD, retry=True, sent=Sent.NO)
CERTIFICATE = Verdict(Blame.BAD, retry=True, sent=Sent.NO, elsewhere=True)
_BLAMELESS = Verdict(Blame.UNKNOWN, retry=False, sent=Sent.MAYBE)
_BY_NAME: dict[str, Verdict] = {
    # httpx's names; most specific first matters not, since each class has its own row.
    "ConnectError": BAD,
    "ConnectTimeout": BAD,
    "ReadTimeout": BAD,
    "WriteTimeout": BAD,
    "ReadError": BAD,
    "WriteError": BAD,
    "CloseError": BAD,
    "RemoteProtocolError": BAD,
    "DecodingError": BAD,
    "PoolTimeout": _BLAMELESS,
    "ProxyError": _BLAMELESS,
    "LocalProtocolError": _BLAMELESS,
    "UnsupportedProtocol": _BLAMELESS,
    "TooManyRedirects": _BLAMELESS,
    "InvalidURL": _BLAMELESS,
    "StreamError": _BLAMELESS,
    "TimeoutException": BAD,
    "NetworkError": BAD,
    "ProtocolError": BAD,
    "TransportError": BAD,
}
_HTTPX = frozenset({"httpx", "httpx2", "httpcore", "httpcore2"})

_SECONDS = re.compile(r"\d{1,10}", re.ASCII)


def judge_status(status: int, headers: Mapping[str, str]) -> Verdict:
    """Return the table's verdict of an answer."""
    verdict = _STATUS.get(status)
    if verdict is None:
        if status < _SERVER_ERROR:
            return GOOD
        verdict = GOOD
    if headers.get(NO_RETRY_HEADER) == "1":
        # A tier below has used up its attempts: another one of ours would have the same tried again, and so would one
        # of those above us.
        gave_up("marked")
        return replace(verdict, retry=False, final=True)
    if verdict.retry and "retry-after" in headers:
        after = retry_after(headers)
        if after is not None:
            return Verdict(
                verdict.blame, retry=True, sent=_ANSWERED, retry_after=after, binds_service=verdict.binds_service
            )
    return verdict


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return ``Retry-After`` in seconds from now, from seconds or an HTTP date; None when absent or malformed.

    A date is compared with the answer's own ``Date``, where there is one: clocks differ. RFC 9110 10.2.3.
    """
    value = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        until = parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    try:
        now = parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (ValueError, TypeError, OverflowError):
        now = wall_clock()  # an HTTP date is wall-clock time by definition
    return max(0.0, until - now)


def judge_error(error: BaseException) -> Verdict | None:
    """Return the table's verdict of an exception of httpx or of this library; None for any other."""
    if isinstance(error, ConfigurationError):
        return _BLAMELESS  # nobody was called
    if isinstance(error, BadAnswerError):
        final = error.final
        return Verdict(Blame.BAD, retry=not final, sent=_ANSWERED, retry_after=error.retry_after, final=final)
    if isinstance(error, RejectedError):
        return Verdict(Blame.UNKNOWN, retry=False, sent=Sent.NO, retry_after=error.retry_after)
    if isinstance(error, DeadlineExceededError):
        # It was given its time and did not use it well, unless it never got to start.
        return UNKNOWN if error.sent is Sent.NO else BAD
    kind = type(error)
    for base in kind.__mro__:
        if base.__module__.partition(".")[0] not in _HTTPX:
            continue
        response = getattr(error, "response", None)
        if base.__name__ == "HTTPStatusError" and response is not None:
            return judge_status(response.status_code, response.headers)
        verdict = _BY_NAME.get(base.__name__)
        if verdict is not None:
            return CERTIFICATE if base.__name__ == "ConnectError" and certificate_refused(error) else verdict
    return None


def certificate_refused(error: BaseException) -> bool:
    """Tell whether a failed certificate verification is at the bottom of this."""
    return any(isinstance(root, ssl.SSLCertVerificationError) for root in roots(error))


def roots(error: BaseException) -> list[BaseException]:
    """Return the exception and everything it came from: httpcore hides the cause in ``args`` and cuts the chain."""
    found: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending and len(found) < 50:  # noqa: PLR2004 - a bound against cycles of causes
        current = pending.pop()
        if current is None or current in found:
            continue
        found.append(current)
        pending += [current.__cause__, current.__context__, *(a for a in current.args if isinstance(a, BaseException))]
    return found


# What a bare function's Retry repeats when it is not told otherwise: failures to reach somebody. Other OSErrors, such
# as FileNotFoundError, do not go away by trying again.
BARE_RETRIED: tuple[type[Exception], ...] = (ConnectionError, TimeoutError, socket.gaierror)


def judge_bare(outcome: Ok[Any] | Err, call: Call, /) -> Verdict:
    """Judge a function nothing is known of: every exception is to blame, those of reaching somebody are repeated."""
    del call
    if not isinstance(outcome, Err):
        return _judge_value(outcome.value)
    error = outcome.error
    verdict = judge_error(error)
    if verdict is None:
        return Verdict(Blame.BAD, retry=isinstance(error, BARE_RETRIED), sent=Sent.MAYBE)
    if isinstance(error, DeadlineExceededError):
        # An inner Timeout is worth another attempt; whether the call's own deadline has passed, Retry checks itself.
        return Verdict(verdict.blame, retry=True, sent=error.sent)
    if verdict.retry and verdict.sent is not Sent.NO and not _repeatable(error):
        return replace(verdict, retry=False)
    return verdict


# A cut attempt is blamed when it had at least this long (seconds): then it hung, and was not merely begun too late.
HUNG_AFTER = 0.05
# …, and this many times what is usual.
HUNG_FACTOR = 3.0


def judge_cut(error: BaseException, call: Call, since: float, /) -> Verdict:
    """Judge a function that was cut: by its deadline or a hedge, after it had its time, it is to blame; else nobody is.

    `since`: when this attempt began. Else a function that hangs under a ``Timeout`` outside its circuit never opens it.
    """
    now = call.runtime.now()
    queueing = call.queueing
    due = now >= call.deadline or call.lost
    if queueing or not due or isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
        return UNKNOWN
    return BAD if now - since >= max(HUNG_AFTER, HUNG_FACTOR * call.usual) else UNKNOWN


def _judge_value(value: object) -> Verdict:
    # A response that was returned, not raised, carries its Retry-After all the same.
    status, headers = getattr(value, "status_code", None), getattr(value, "headers", None)
    if not isinstance(status, int) or not isinstance(headers, Mapping):
        return GOOD
    return judge_status(status, cast("Mapping[str, str]", headers))


def _repeatable(error: BaseException) -> bool:
    # httpx raises RuntimeError where an error has no request; then nothing forbids repeating.
    try:
        request = getattr(error, "request", None)
    except RuntimeError:
        return True
    return request is None or request.method.upper() in IDEMPOTENT or "idempotency-key" in request.headers
