"""WSGI: for Flask, Django, Bottle, and whatever else speaks it."""

from __future__ import annotations

import math
from collections.abc import Sized
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from resilience.core.call import Ambient, ambient
from resilience.core.errors import DeadlineExceededError, require
from resilience.core.outcome import Sent
from resilience.core.propagation import DEADLINE_HEADER, NO_RETRY_HEADER, Inbound, inbound
from resilience.runtimes.blocking import BLOCKING
from resilience.server.answers import ANSWERED, TOO_LATE, Options, answer_for, marked

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
        self._options = Options(header=header, no_retry_header=no_retry_header, at_most=at_most)
        require("app", app, "an application", callable)
        self._app = app
        self._variable = "HTTP_" + self._options.header.upper().replace("-", "_")

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        answering = Inbound()
        begun = False

        def marking(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:  # noqa: ANN401 - PEP 3333's
            nonlocal begun
            begun = True
            if self._options.marks(int(status[:3]), exhausted=answering.exhausted):
                headers = marked(headers, (self._options.no_retry_header, "1"))
            return start_response(status, headers, *error)

        def instead(error: Exception) -> bytes | None:
            answer = answer_for(error)
            if answer is None:
                return None
            answering.exhausted = True
            # An answer that has begun may be begun anew if nothing of it has been sent; the server knows, and if it has
            # been, raises the error again (PEP 3333, "The start_response() Callable").
            again = ((type(error), error, error.__traceback__),) if begun else ()
            marking(f"{answer.status} {answer.reason}", list(answer.headers), *again)
            return answer.body

        # The body is produced after this function has returned: in the same context, with what is set in it.
        context = copy_context()
        try:
            body = context.run(self._begin, environ, marking, answering)
        except ANSWERED as error:
            answer = instead(error)
            if answer is None:
                raise
            return [answer]
        return (_SizedBody if isinstance(body, Sized) else _Body)(context, body, instead)

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
    """A body whose every part is produced in the context of its request.

    Of an application that is a generator function, or a class with ``__iter__``, all the work is done in here.
    `instead` answers for an error before the first part; it returns None for one that has no answer.
    """

    def __init__(self, context: Context, inner: Iterable[bytes], instead: Callable[[Exception], bytes | None]) -> None:
        self._context = context
        self._inner = inner
        self._instead = instead

    def __iter__(self) -> Iterator[bytes]:
        try:
            parts = self._context.run(iter, self._inner)
            part = self._context.run(next, parts)
        except StopIteration:
            return
        except ANSWERED as error:
            answer = self._instead(error)
            if answer is None:
                raise
            part, parts = answer, iter(())
        while True:
            yield part
            try:
                part = self._context.run(next, parts)
            except StopIteration:
                return

    def close(self) -> None:
        """Close the body, as PEP 3333 wants it."""
        close = getattr(self._inner, "close", None)
        if close is not None:
            self._context.run(close)


class _SizedBody(_Body):
    """One that knows how many parts it has: of a body of one part servers tell the length (PEP 3333)."""

    def __len__(self) -> int:
        return self._context.run(len, self._inner)  # type: ignore[arg-type]  # it is Sized
