"""The library's errors as a client raises them: each is also the closest httpx exception.

They keep their names, so that a traceback reads the same wherever the error was raised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from resilience.core import errors
from resilience.core.outcome import Sent

if TYPE_CHECKING:
    from resilience.core.errors import ResilienceError


class CircuitOpenError(errors.CircuitOpenError, httpx.ConnectError):
    """Every endpoint that could take the call has an open circuit."""


class NoEndpointsError(errors.NoEndpointsError, httpx.ConnectError):
    """The service has no endpoint to send to."""


class OverloadedError(errors.OverloadedError, httpx.PoolTimeout):
    """All slots are taken, and waiting for one did not pay off."""


class BadAnswerError(errors.BadAnswerError, httpx.DecodingError):
    """An answer came, and a guard has refused it."""


class DeadlineExceededError(errors.DeadlineExceededError, httpx.ReadTimeout):
    """The deadline passed while an answer was awaited: the server may have acted."""


class UnsentDeadlineExceededError(errors.DeadlineExceededError, httpx.ConnectTimeout):
    """The deadline passed before anything was sent."""


_TWINS: dict[type[ResilienceError], type[ResilienceError]] = {
    errors.CircuitOpenError: CircuitOpenError,
    errors.NoEndpointsError: NoEndpointsError,
    errors.OverloadedError: OverloadedError,
    errors.BadAnswerError: BadAnswerError,
}


def for_client(error: ResilienceError, request: httpx.Request) -> ResilienceError:
    """Return the same error as an httpx exception that knows its request; itself when it is one already."""
    if isinstance(error, httpx.HTTPError):
        return error
    if isinstance(error, errors.DeadlineExceededError):
        kind: type[ResilienceError] = UnsentDeadlineExceededError if error.sent is Sent.NO else DeadlineExceededError
    else:
        kind = next((_TWINS[base] for base in type(error).__mro__ if base in _TWINS), type(error))
    twin = kind.__new__(kind, *error.args)
    twin.args = error.args
    twin.__dict__.update(error.__dict__)
    if isinstance(twin, httpx.HTTPError):
        twin.request = request
    return twin.with_traceback(error.__traceback__)
