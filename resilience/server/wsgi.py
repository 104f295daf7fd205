"""WSGI: for Flask, Django, Bottle, and whatever else speaks it."""

from __future__ import annotations

import math
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from resilience.core.call import Ambient, ambient
from resilience.core.errors import DeadlineExceededError, RejectedError
from resilience.core.outcome import Sent
from resilience.core.propagation import DEADLINE_HEADER, NO_RETRY_HEADER, Inbound, inbound
from resilience.runtimes.blocking import BLOCKING
from resilience.server.answers import TOO_LATE, Options, answer_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextvars import Context
    from datetime import timedelta

    Environ = dict[str, Any]
    StartResponse = Callable[..., Any]
    App = Callable[[Environ, StartResponse], Iterable[bytes]]


class WsgiDeadlineMiddleware:
    """Answer each request within the time that its caller will wait; see :class:`DeadlineMiddleware` for the arguments.

    The deadline holds while the body is produced, too.
    """

    def __init__(
        self,
        app: App,
        *,
        header: str = DEADLINE_HEADER,
        no_retry_header: str = NO_RETRY_HEADER,
        at_most: float | timedelta | None = None,
    ) -> None:
        self._app = app
        self._options = Options(header=header, no_retry_header=no_retry_header, at_most=at_most)
        self._variable = "HTTP_" + self._options.header.upper().replace("-", "_")

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        answering = Inbound()

        def marking(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:  # noqa: ANN401 - PEP 3333's
            if self._options.marks(int(status[:3]), exhausted=answering.exhausted):
                headers = [*headers, (self._options.no_retry_header, "1")]
            return start_response(status, headers, *error)

        # The body is produced after this function has returned: in the same context, with what is set in it.
        context = copy_context()
        try:
            body = context.run(self._begin, environ, marking, answering)
        except (DeadlineExceededError, RejectedError) as error:
            answering.exhausted = True
            answer = answer_for(error)
            marking(f"{answer.status} {answer.reason}", list(answer.headers))
            return [answer.body]
        return _Body(context, body)

    def _begin(self, environ: Environ, start_response: StartResponse, answering: Inbound) -> Iterable[bytes]:
        limit = self._options.limit(environ.get(self._variable))
        if limit <= 0:
            raise DeadlineExceededError(TOO_LATE, sent=Sent.NO)
        inbound.set(answering)
        if limit != math.inf:  # for as long as the context lives
            outer = ambient.get() or Ambient()
            now = (outer.runtime or BLOCKING).now()
            ambient.set(Ambient(min(outer.deadline, now + limit), outer.runtime))
        return self._app(environ, start_response)


class _Body:
    """A body whose every part is produced in the context of its request."""

    def __init__(self, context: Context, inner: Iterable[bytes]) -> None:
        self._context = context
        self._inner = inner

    def __iter__(self) -> Iterator[bytes]:
        parts = self._context.run(iter, self._inner)
        while True:
            try:
                part = self._context.run(next, parts)
            except StopIteration:
                return
            yield part

    def close(self) -> None:
        """Close the body, as PEP 3333 wants it."""
        close = getattr(self._inner, "close", None)
        if close is not None:
            self._context.run(close)
