"""Failures on purpose between a client and its network: what is above has to deal with them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, cast

import httpx

from resilience.core.call import NEVER, Ambient, Call, ambient
from resilience.core.errors import require
from resilience.core.units import whole
from resilience.pipeline import compose
from resilience.policies.chaos import Chaos
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.blocking import BLOCKING, run_blocking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from resilience.core.ports import Runtime


class ChaosTransport(httpx.BaseTransport):
    """An httpx transport around another one, which does something bad to a share of the requests.

    `chaos`: :class:`Chaos` policies; an `answer` is a function that returns an ``httpx.Response``, and `cut_body` makes
    a `corrupt`. Give it to ``resilience.Client(transport=…)``: all policies stand outside it.
    Raises ConfigurationError.
    """

    def __init__(self, transport: httpx.BaseTransport, *chaos: Chaos) -> None:
        self._transport = transport
        self._chain = compose(_checked(chaos), self._send)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, or fail on purpose."""
        return run_blocking(cast("Coroutine[Any, Any, httpx.Response]", self._chain(_call(BLOCKING, request))))

    async def _send(self, call: Call) -> httpx.Response:
        return self._transport.handle_request(call.request)

    def close(self) -> None:
        """Close the transport inside."""
        self._transport.close()


class AsyncChaosTransport(httpx.AsyncBaseTransport):
    """An httpx transport around another one, on asyncio and trio; see :class:`ChaosTransport`."""

    def __init__(self, transport: httpx.AsyncBaseTransport, *chaos: Chaos) -> None:
        self._transport = transport
        self._chain = compose(_checked(chaos), self._send)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, or fail on purpose."""
        return cast("httpx.Response", await self._chain(_call(ANYIO, request)))

    async def _send(self, call: Call) -> httpx.Response:
        return await self._transport.handle_async_request(call.request)

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


def _call(runtime: Runtime, request: httpx.Request) -> Call:
    around = ambient.get() or Ambient()
    runtime = around.runtime or runtime
    return Call(runtime, request, runtime.now(), NEVER, str(request.url))
