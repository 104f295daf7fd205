"""What both kinds of middleware decide: how long a request may take, and which answer a failure of ours becomes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resilience.core.errors import DeadlineExceededError, RejectedError
from resilience.core.propagation import DEADLINE_HEADER, NO_RETRY_HEADER, header_name, seconds_left
from resilience.core.units import seconds as in_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import timedelta
    from typing import AnyStr

_MARKED_FROM = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a middleware is set up; see :class:`~resilience.server.asgi.DeadlineMiddleware`."""

    header: str = DEADLINE_HEADER
    no_retry_header: str = NO_RETRY_HEADER
    at_most: float | timedelta | None = None

    def __post_init__(self) -> None:
        """Check the arguments and take over their plain forms."""
        object.__setattr__(self, "header", header_name("header", self.header))
        object.__setattr__(self, "no_retry_header", header_name("no_retry_header", self.no_retry_header))
        if self.at_most is not None:
            object.__setattr__(self, "at_most", in_seconds("at_most", self.at_most))

    def limit(self, header: str | None, /) -> float:
        """Return the seconds a request may take; infinite when nobody has said, 0 or less when its time is over."""
        left = seconds_left(header)
        own: float = math.inf if self.at_most is None else self.at_most  # type: ignore[assignment]  # a float now
        return own if left is None else min(own, left)

    @staticmethod
    def marks(status: int, *, exhausted: bool) -> bool:
        """Tell whether an answer is to say that trying again is of no use."""
        return exhausted and status >= _MARKED_FROM


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the middleware's own."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


ANSWERED = (DeadlineExceededError, RejectedError, ExceptionGroup)
"""What may have an answer: errors of ours, and groups; :func:`answer_for` says whether they are made of these."""


def answer_for(error: Exception, /) -> Answer | None:
    """Return 504 for a deadline that has passed, 503 for what was turned away, with the seconds to wait if known.

    For a group of such errors, as task groups raise it, the worst of them counts: a deadline before all others, then
    the longest wait. None for whatever else there is, and for a group that holds any of it.
    """
    errors = list(_alone(error))
    turned_away = [it for it in errors if isinstance(it, RejectedError)]
    late = sum(isinstance(it, DeadlineExceededError) for it in errors)
    if late + len(turned_away) < len(errors):
        return None
    if late:
        return _answer(504, "Gateway Timeout", ())
    wait = max(it.retry_after or 0.0 for it in turned_away)
    known = 0 < wait < math.inf
    return _answer(503, "Service Unavailable", (("retry-after", str(math.ceil(wait))),) if known else ())


def marked(headers: Iterable[tuple[AnyStr, AnyStr]], mark: tuple[AnyStr, AnyStr], /) -> list[tuple[AnyStr, AnyStr]]:
    """Return the headers with the mark, once: a middleware further in, or the handler, may have set it already."""
    found = [header for header in headers if header[0].lower() != mark[0]]
    found.append(mark)
    return found


TOO_LATE = "the caller's deadline had passed when the request arrived"


def _alone(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            yield from _alone(inner)  # pyright: ignore[reportUnknownArgumentType]
    else:
        yield error


def _answer(status: int, reason: str, headers: tuple[tuple[str, str], ...]) -> Answer:
    body = reason.encode()
    plain = (("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body))))
    return Answer(status, reason, (*plain, *headers), body)
