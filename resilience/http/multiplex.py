"""HTTP/2 for tasks: one connection to an endpoint, and every call a stream of its own on it.

A read timeout on a shared connection would end the neighbours' calls as well. So reads here have none: each call's time
limit cancels that call alone, and its stream is reset. Blocking clients do not come here; they carry one call per
connection, since threads sharing one lost calls (13 of 900 with plain httpx).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# httpx and httpcore declare `extensions` as a bare dict: mypy, strict too, checks this file.

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

import httpcore

from resilience.http.pool import DISCONNECTED
from resilience.http.private import reset_stream
from resilience.http.streams import Shared, StreamWire
from resilience.http.wire import OVERSHOT, RefusedStreamError, refused
from resilience.http.wire_async import AsyncWire
from resilience.runtimes.anyio import ANYIO, Cut
from resilience.runtimes.here import here

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from resilience.core.call import RoutedCall
    from resilience.http.pool_async import AsyncPool

# What httpcore's trace tells when a stream's headers go out: from then on something may have been sent.
_HEADERS_GO_OUT = "http2.send_request_headers.started"


class Multiplexer:
    """The shared connections of one endpoint, by what they were verified for."""

    def __init__(self, pool: AsyncPool) -> None:
        self._pool = pool
        self._shared: dict[Any, Shared] = {}
        self._plain: set[Any] = set()
        """Where the server has chosen HTTP/1.1: those calls go the usual way."""
        self._abandoned: deque[tuple[Any, Shared, StreamWire, httpcore.Request]] = deque()
        """Streams whose bodies were collected: the next call ends them."""

    async def send(self, request: httpcore.Request, call: RoutedCall) -> httpcore.Response | None:
        """Send one request on its own stream; None where the server does not speak HTTP/2."""
        if self._abandoned:
            await self._tidy()
        url = request.url
        key = (url.scheme, url.host, url.port, request.extensions.get("sni_hostname"))
        while key not in self._plain:
            shared = self._shared.get(key)
            if shared is None or not shared.usable() or (call.fresh and _rode(call, shared)):
                shared = await self._open(key, request, call)
            try:
                return await self._on(shared, request, call)
            except httpcore.ConnectionNotAvailable:
                # Nothing was sent: the connection had just been closed, or has turned out to be HTTP/1.1 and busy.
                shared.leaving = True
                if shared.wire.protocol != "h2":
                    self._plain.add(key)
        return None

    async def _open(self, key: Any, request: httpcore.Request, call: RoutedCall) -> Shared:  # noqa: ANN401
        old = self._shared.get(key)
        wire = AsyncWire(self._pool.endpoint)
        shared = Shared(self._pool.connection_for(request, wire), wire)
        wire.call = call  # who dials decides how long dialling may take
        wire.until = call.attempts[-1].until
        wire.farewell = shared.farewell
        self._shared[key] = shared
        if old is not None:
            old.leaving = True
            await self._close_if_done(old)
        return shared

    async def _on(self, shared: Shared, request: httpcore.Request, call: RoutedCall) -> httpcore.Response:
        attempt = call.attempts[-1]
        stream_wire = StreamWire(shared, attempt)
        attempt.wire = stream_wire
        cut = Cut()
        shared.flights[stream_wire] = cut
        timeouts = request.extensions.get("timeout") or {}
        now = call.runtime.now
        read = timeouts.get("read")
        limit = math.inf

        def going_out(stream: int) -> None:
            nonlocal limit
            if shared.wire.refuses(stream):
                raise httpcore.RemoteProtocolError(RefusedStreamError())
            # It is dialled: what is read and written from here on is the neighbours' too, and each keeps its own limit.
            shared.wire.call, shared.wire.until = None, math.inf
            limit = min(attempt.until - now(), math.inf if read is None else read)
            if limit < math.inf:
                cut.within(limit)

        twin = httpcore.Request(
            method=request.method,
            url=request.url,
            headers=request.headers,
            content=request.stream,
            extensions={
                **request.extensions,
                "timeout": {"connect": timeouts.get("connect")},
                "trace": _watch(stream_wire, going_out, request.extensions.get("trace")),
            },
        )
        # To begin with it dials, or waits for whoever does, and for one of the streams that the server allows.
        patience = math.inf if timeouts.get("pool") is None else timeouts["pool"]
        connect = math.inf if timeouts.get("connect") is None else timeouts["connect"]
        limit = min(attempt.until - now(), patience + (0.0 if shared.served else connect))
        try:
            response = await cut.run(limit, lambda: shared.connection.handle_async_request(twin))
        except TimeoutError as error:
            stream_wire.cut = now() >= call.deadline
            stream_wire.late = now() - attempt.until > OVERSHOT
            await self._drop(shared, stream_wire, twin)
            raise _ended_by(cut, stream_wire, limit) from error
        except BaseException as error:
            if not isinstance(error, httpcore.ConnectionNotAvailable):
                stream_wire.cut = shared.wire.cut
                if isinstance(error, Exception) and not shared.wire.connected:
                    shared.leaving = True
            await self._drop(shared, stream_wire, twin)
            if isinstance(error, DISCONNECTED) and not refused(error) and shared.wire.refuses(stream_wire.stream or 0):
                raise httpcore.RemoteProtocolError(RefusedStreamError()) from error
            raise
        shared.served += 1
        wire = shared.wire
        wire.call, wire.until = None, math.inf
        response.stream = _Body(response.stream, self, shared, stream_wire, twin, read, call)
        return response

    async def _drop(self, shared: Shared, stream_wire: StreamWire, request: httpcore.Request) -> None:
        """End one call's stream without touching its neighbours."""
        if shared.flights.pop(stream_wire, None) is None:
            return
        async with ANYIO.shield():
            if stream_wire.stream is not None and not shared.connection.is_closed():
                await reset_stream(shared.connection, stream_wire.stream, request)
            await self._close_if_done(shared)

    def abandon(self, inner: Any, shared: Shared, stream_wire: StreamWire, request: httpcore.Request) -> None:  # noqa: ANN401
        """Have a stream ended that nobody will read any more; from the collector, which cannot wait for it."""
        self._abandoned.append((inner, shared, stream_wire, request))

    async def _tidy(self) -> None:
        while self._abandoned:
            try:
                inner, shared, stream_wire, request = self._abandoned.popleft()
            except IndexError:  # another loop's thread was faster
                return
            if shared.connection.home is here():
                async with ANYIO.shield():
                    try:
                        await inner.aclose()  # or httpcore goes on counting it among those that the server allows
                    finally:
                        await self._drop(shared, stream_wire, request)
            else:
                shared.leaving = True
                shared.flights.pop(stream_wire, None)
                await self._close_if_done(shared)

    async def finished(
        self, shared: Shared, stream_wire: StreamWire, request: httpcore.Request, *, whole: bool
    ) -> None:
        """Note that a call's body has been read, or been given up."""
        if whole:
            shared.flights.pop(stream_wire, None)
            await self._close_if_done(shared)
        else:
            await self._drop(shared, stream_wire, request)

    async def _close_if_done(self, shared: Shared) -> None:
        if shared.connection.home is not here():
            if shared.leaving or self._pool.closing:
                shared.connection.let_go(lambda: bool(shared.flights))
        elif not shared.flights and (shared.leaving or self._pool.closing):
            async with ANYIO.shield():
                await shared.connection.aclose()

    async def close(self) -> None:
        """Close what is idle, and the rest when its calls are done."""
        await self._tidy()
        for shared in list(self._shared.values()):
            shared.leaving = True
            await self._close_if_done(shared)

    def idle_count(self) -> int:
        """Return how many connections carry no call now."""
        return sum(1 for shared in self._shared.values() if not shared.flights and not shared.leaving)


def _rode(call: RoutedCall, shared: Shared) -> bool:
    """Tell whether the call was on this connection before: others may have opened a new one since."""
    return any(getattr(attempt.wire, "shared", None) is shared for attempt in call.attempts[:-1])


def _ended_by(cut: Cut, stream_wire: StreamWire, limit: float) -> Exception:
    if cut.brought_forward:
        return httpcore.RemoteProtocolError(RefusedStreamError())
    kind: type[Exception] = httpcore.ReadTimeout if stream_wire.written else httpcore.ConnectTimeout
    if not stream_wire.written and stream_wire.shared.wire.connected:
        kind = httpcore.PoolTimeout  # it waited for one of the streams the server allows: nobody's fault
    return kind(f"no answer within {limit:.3g} s")


def _watch(stream_wire: StreamWire, going_out: Callable[[int], None], outer: Any) -> Any:  # noqa: ANN401 - httpcore's
    async def trace(name: str, info: dict[str, Any]) -> None:
        if name == _HEADERS_GO_OUT:
            stream: int = info["stream_id"]
            going_out(stream)
            stream_wire.written = 1
            stream_wire.stream = stream
        if outer is not None:
            await outer(name, info)

    return trace


class _Body:
    """A stream's body: each chunk within the read limit and the call's deadline, by cancelling this call alone."""

    def __init__(
        self,
        inner: Any,  # noqa: ANN401 - httpcore's stream
        multiplexer: Multiplexer,
        shared: Shared,
        stream_wire: StreamWire,
        request: httpcore.Request,
        read: float | None,
        call: RoutedCall,
    ) -> None:
        self._inner = inner
        self._multiplexer = multiplexer
        self._shared = shared
        self._wire = stream_wire
        self._request = request
        self._read = math.inf if read is None else read
        self._call = call
        self._whole = False
        self._closed = False

    def __del__(self) -> None:
        if not self._closed:
            self._multiplexer.abandon(self._inner, self._shared, self._wire, self._request)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = self._inner.__aiter__()
        now = self._call.runtime.now
        while True:
            left = self._wire.until - now()
            try:
                chunk = await ANYIO.limit(min(self._read, left), chunks.__anext__)
            except StopAsyncIteration:
                self._whole = True
                return
            except TimeoutError as error:
                self._wire.cut = now() >= self._call.deadline
                raise httpcore.ReadTimeout(str(error)) from error
            yield chunk

    async def aclose(self) -> None:
        """Give the stream back."""
        if self._closed:
            return
        self._closed = True
        try:
            if hasattr(self._inner, "aclose"):
                await self._inner.aclose()
        finally:
            await self._multiplexer.finished(self._shared, self._wire, self._request, whole=self._whole)
