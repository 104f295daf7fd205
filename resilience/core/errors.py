"""Every error this library raises itself. Whatever the far side or httpx raised is passed on as it was.

::

    ResilienceError                 service, endpoint, attempts, retry_after, causes
    ├── RejectedError               nothing of this call was sent: safe to send elsewhere
    │   ├── CircuitOpenError        also pybreaker.CircuitBreakerError
    │   ├── NoEndpointsError        the name resolves to nothing, or nothing is healthy
    │   └── OverloadedError         queue, bulkhead, rate limit, throttle
    ├── BadAnswerError              a guard has refused the answer; `.why`
    ├── DeadlineExceededError       also TimeoutError; `.sent`: may the server have acted?
    └── ConfigurationError          also ValueError; `.argument`, `.value`, `.expected`

Raised by a client they are httpx errors too, so that ``except httpx.HTTPError`` keeps working (``http/errors.py``).
All of them pickle.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pybreaker

from resilience.core.outcome import Sent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class ResilienceError(Exception):
    """Base of everything raised here.

    Fields: `service` and `endpoint` (``host:port``, or the name of a function or circuit; None when unknown),
    `attempts` (the record of what was tried, oldest first), `retry_after` (seconds until it is worth trying again;
    None when unknown), `causes` (the exceptions behind it, oldest first).
    """

    service: str | None = None
    endpoint: str | None = None
    attempts: tuple[object, ...] = ()
    retry_after: float | None = None
    causes: tuple[BaseException, ...] = ()

    def __init__(
        self,
        message: str,
        *,
        service: str | None = None,
        endpoint: str | None = None,
        attempts: Sequence[object] = (),
        retry_after: float | None = None,
        causes: Sequence[BaseException] = (),
    ) -> None:
        super().__init__(message)
        self.service = service
        self.endpoint = endpoint
        self.attempts = tuple(attempts)
        self.retry_after = retry_after
        self.causes = tuple(causes)

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else type(self).__name__

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by fields: constructors differ, and a cause may hold what cannot travel."""
        state = {name: value if _travels(value) else repr(value) for name, value in self.__dict__.items()}
        state["attempts"] = tuple(a if _travels(a) else repr(a) for a in self.attempts)
        state["causes"] = tuple(c if _travels(c) else RuntimeError(f"{type(c).__name__}: {c}") for c in self.causes)
        return (_rebuild, (type(self), self.args), state)


def _rebuild(kind: type[ResilienceError], args: tuple[Any, ...]) -> ResilienceError:
    error = kind.__new__(kind, *args)
    error.args = args
    return error


def _travels(value: object) -> bool:
    try:
        pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes, made on this line
    except Exception:  # noqa: BLE001 - whatever it raises, it does not travel
        return False
    return True


class RejectedError(ResilienceError):
    """The call was turned away before anything of it was sent."""


class CircuitOpenError(RejectedError, pybreaker.CircuitBreakerError):
    """A circuit is open; `retry_after` says in how many seconds it will let a probe through."""


class NoEndpointsError(RejectedError):
    """The service has no endpoint to send to: its name resolves to nothing, or nothing is healthy."""


class OverloadedError(RejectedError):
    """Too much is in flight already, and the wait for a slot cannot pay off."""


class BadAnswerError(ResilienceError):
    """An answer came, and a guard has refused it: `why` is the rule that it broke, such as ``status`` or ``json``."""

    final = False
    """The answer has said that it is of no use to try again."""

    def __init__(self, message: str, *, why: str = "", **fields: Any) -> None:  # noqa: ANN401 - the base's
        super().__init__(message, **fields)
        self.why = why


class DeadlineExceededError(ResilienceError, TimeoutError):
    """The call's deadline passed. `sent` tells whether the server may have acted: ``Sent.NO`` is a proof it has not."""

    sent: Sent = Sent.MAYBE

    def __init__(self, message: str, *, sent: Sent = Sent.MAYBE, **fields: Any) -> None:  # noqa: ANN401 - the base's
        super().__init__(message, **fields)
        self.sent = sent


class ConfigurationError(ResilienceError, ValueError):
    """An argument is out of range, unknown or contradictory: `argument`, `value`, and what was `expected`."""

    def __init__(self, argument: str, value: object, expected: str) -> None:
        super().__init__(f"{argument}={value!r}: expected {expected}")
        self.argument = argument
        self.value = value
        self.expected = expected


class Rerouted(Exception):  # noqa: N818 - no error: it never leaves the library
    """The dial has found out that the name stands for several endpoints; nothing was sent. Pick one of those."""


def require(argument: str, value: object, expected: str, accepted: Callable[[Any], bool], /) -> None:
    """Raise :class:`ConfigurationError` unless `accepted(value)`; what it cannot judge is refused too."""
    try:
        fine = accepted(value)
    except (TypeError, ValueError, ArithmeticError):
        fine = False
    if not fine:
        raise ConfigurationError(argument, value, expected)
