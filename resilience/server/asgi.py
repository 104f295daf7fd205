"""ASGI: for FastAPI, Starlette, Quart, Django's async side, and whatever else speaks it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from resilience.core.call import NEVER, ambient
from resilience.core.errors import DeadlineExceededError, require
from resilience.core.outcome import Sent
from resilience.core.propagation import DEADLINE_HEADER, NO_RETRY_HEADER, Inbound, inbound
from resilience.runtimes.entry import deadline
from resilience.server.answers import ANSWERED, TOO_LATE, Options, answer_for, marked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from datetime import timedelta

    from resilience.core.call import Ambient

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]


class DeadlineMiddleware:
    """Answer each HTTP request within the time that its caller will wait, and say when trying again is of no use.

    The deadline holds for every call made through this library while the request is being answered, not for calls begun
    when the answer is out (background tasks). `header`: carries the milliseconds left (``x-deadline-ms``); malformed
    ones are ignored. `at_most`: seconds that bound what callers may ask for, and hold where they ask for nothing. A
    request that arrives too late is answered with 504, unhandled errors of ours with 504 (deadline) or 503 (turned
    away). `no_retry_header`: marks answers of 500 and above when a call made for them has failed for good
    (``x-no-retry``). Raises ConfigurationError.

    ::

        app.add_middleware(resilience.server.DeadlineMiddleware, at_most=30.0)
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
        self._header = self._options.header.encode()
        self._mark = (self._options.no_retry_header.encode(), b"1")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == self._header), None)
        limit = self._options.limit(given)
        answering = Inbound()
        begun = False

        async def marking(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                if self._options.marks(message["status"], exhausted=answering.exhausted):
                    message = {**message, "headers": marked(message.get("headers", ()), self._mark)}
            await send(message)

        token = inbound.set(answering)
        try:
            await self._within(limit, scope, receive, marking)
        except ANSWERED as error:
            answer = None if begun else answer_for(error)
            if answer is None:
                raise
            answering.exhausted = True
            headers = [(name.encode(), value.encode()) for name, value in answer.headers]
            await marking({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": answer.body})
        finally:
            inbound.reset(token)

    async def _within(self, limit: float, scope: Scope, receive: Receive, send: Send) -> None:
        if limit <= 0:
            raise DeadlineExceededError(TOO_LATE, sent=Sent.NO)
        if limit == math.inf:
            await self._app(scope, receive, send)
            return
        around = ambient.get()
        with deadline(limit):
            own = cast("Ambient", ambient.get())

            async def ending(message: Message) -> None:
                await send(message)
                if message["type"] == "http.response.body" and not message.get("more_body", False):
                    # In place: background tasks run in copies of this context.
                    own.deadline = NEVER if around is None else around.deadline

            await self._app(scope, receive, ending)
