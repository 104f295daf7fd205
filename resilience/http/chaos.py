"""Failures on purpose between a client and its network: what is above has to deal with them."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# httpx and httpcore declare `extensions` as a bare dict: mypy, strict too, checks this file.

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, cast

import httpx

from resilience.core.call import NEVER, Call
from resilience.core.errors import require
from resilience.core.units import whole
from resilience.pipeline import compose
from resilience.policies.chaos import Chaos
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.blocking import BLOCKING, run_blocking
from resilience.runtimes.stand_in import here

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from resilience.core.ports import Runtime


class ChaosTransport(httpx.BaseTransport):
    """An httpx transport around another one, which does something bad to a share of the requests.

    `chaos`: :class:`Chaos` policies; an `answer` is a function that returns an ``httpx.Response``, and `cut_body` makes
    a `corrupt`. A `latency` beyond the request's read timeout ends with ``httpx.ReadTimeout``, as a slow server would.
    Give it to ``resilience.Client(transport=…)``: all policies stand outside it. Raises ConfigurationError.
    """

    def __init__(self, transport: httpx.BaseTransport, *chaos: Chaos) -> None:
        require("transport", transport, "an httpx transport for threads", lambda it: hasattr(it, "handle_request"))
        self._transport = transport
        self._chain = compose(_checked(chaos), self._send)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, or fail on purpose."""
        call = _Struck(BLOCKING, request)
        response: httpx.Response | None = None
        try:
            response = run_blocking(cast("Coroutine[Any, Any, httpx.Response]", self._chain(call)))
            return response
        finally:
            lost = call.left_over(response)
            if lost is not None:
                lost.close()

    async def _send(self, call: Call) -> httpx.Response:
        reply = self._transport.handle_request(call.request)
        cast("_Struck", call).reply = reply
        return reply

    def close(self) -> None:
        """Close the transport inside."""
        self._transport.close()


class AsyncChaosTransport(httpx.AsyncBaseTransport):
    """An httpx transport around another one, on asyncio and trio; see :class:`ChaosTransport`."""

    def __init__(self, transport: httpx.AsyncBaseTransport, *chaos: Chaos) -> None:
        require("transport", transport, "an httpx transport for tasks", lambda it: hasattr(it, "handle_async_request"))
        self._transport = transport
        self._chain = compose(_checked(chaos), self._send)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, or fail on purpose."""
        call = _Struck(ANYIO, request)
        response: httpx.Response | None = None
        try:
            response = cast("httpx.Response", await self._chain(call))
            return response
        finally:
            lost = call.left_over(response)
            if lost is not None:
                async with ANYIO.shield():
                    await lost.aclose()

    async def _send(self, call: Call) -> httpx.Response:
        reply = await self._transport.handle_async_request(call.request)
        cast("_Struck", call).reply = reply
        return reply

    async def aclose(self) -> None:
        """Close the transport inside."""
        await self._transport.aclose()


def cut_body(after: int = 0) -> Callable[[httpx.Response], httpx.Response]:
    """Return a `corrupt` for :class:`Chaos`: the connection dies when `after` bytes of the body (from 0) have come."""
    whole("after", after, least=0)

    def corrupt(response: httpx.Response) -> httpx.Response:
        # A new one: a mock's has been read already.
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_CutBody(response.stream, after),
            extensions=response.extensions,
        )

    return corrupt


class _CutBody(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that ends before its end."""

    def __init__(self, inner: httpx.SyncByteStream | httpx.AsyncByteStream, after: int) -> None:
        self._inner = inner
        self._left = after

    def __iter__(self) -> Iterator[bytes]:
        for chunk in cast("httpx.SyncByteStream", self._inner):
            yield from self._passed(chunk)
        self._die()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = aiter(cast("httpx.AsyncByteStream", self._inner))
        try:
            async for chunk in chunks:
                for part in self._passed(chunk):
                    yield part
            self._die()
        finally:
            if isinstance(chunks, AsyncGenerator):  # it has not been read to its end
                await chunks.aclose()

    def _passed(self, chunk: bytes) -> Iterator[bytes]:
        if self._left:
            yield chunk[: self._left]
        self._left -= min(self._left, len(chunk))
        if not self._left:
            self._die()

    def _die(self) -> None:
        message = "peer closed connection without sending complete message body (chaos)"
        raise httpx.RemoteProtocolError(message)

    def close(self) -> None:
        """Close the real body."""
        cast("httpx.SyncByteStream", self._inner).close()

    async def aclose(self) -> None:
        """Close the real body."""
        await cast("httpx.AsyncByteStream", self._inner).aclose()


def _checked(chaos: tuple[Chaos, ...]) -> tuple[Chaos, ...]:
    require(
        "chaos", chaos, "Chaos policies, at least one", lambda it: it and all(isinstance(each, Chaos) for each in it)
    )
    return chaos


class _Struck(Call):
    """One request on its way, and the real answer: where another takes its place, nobody else would close it."""

    reply: httpx.Response | None = None

    def __init__(self, runtime: Runtime, request: httpx.Request) -> None:
        runtime = here(runtime)
        slow = cast("Runtime", _Slow(runtime, request))
        super().__init__(slow, request, runtime.now(), NEVER, str(request.url))

    def left_over(self, response: httpx.Response | None) -> httpx.Response | None:
        """Return the real answer if `response`, or None for an error, has taken its place and does not read from it."""
        if response is self.reply or (response is not None and not isinstance(response.stream, httpx.ByteStream)):
            return None
        return self.reply


class _Slow:
    """What `Chaos` needs of a runtime; it waits as for a server, that is, no longer than the request's own limit."""

    def __init__(self, runtime: Runtime, request: httpx.Request) -> None:
        self._runtime = runtime
        self._request = request
        limit = (request.extensions.get("timeout") or {}).get("read")
        self._left = math.inf if limit is None else limit
        self.random = runtime.random

    async def sleep(self, seconds: float, /) -> None:
        """Wait, or run into the limit."""
        await self._runtime.sleep(min(seconds, self._left))
        if seconds >= self._left:
            message = "no answer in time (chaos)"
            raise httpx.ReadTimeout(message, request=self._request)
        self._left -= seconds
