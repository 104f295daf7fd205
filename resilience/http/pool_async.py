"""The connections of tasks to one endpoint."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# httpx and httpcore declare `extensions` as a bare dict: mypy, strict too, checks this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpcore

from resilience.http.multiplex import Multiplexer
from resilience.http.pool import CALL, DISCONNECTED, IdleLists
from resilience.http.private import surplus
from resilience.http.wire_async import AsyncWire
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.here import here

if TYPE_CHECKING:
    import ssl
    from collections import deque
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType
    from typing import Self

    from resilience.core.call import RoutedCall
    from resilience.core.endpoint import Endpoint
    from resilience.http.options import PoolOptions
    from resilience.http.together import Together


class AsyncConnection(httpcore.AsyncHTTPConnection):
    """One connection and the wire beneath it."""

    wire: AsyncWire
    home: object
    """The event loop it lives on. One that has ended cannot even close it: it is dropped, and collected."""

    def let_go(self, unless: Callable[[], bool] = bool, /) -> None:
        """Have it closed on its own loop, whoever asks; trio's sockets go when they are collected, asyncio's do not."""
        let_go = getattr(self.wire.stream, "let_go", None)
        if let_go is not None:
            let_go(unless)


class AsyncPool(IdleLists):
    """What an ``httpx.AsyncHTTPTransport`` sends through, for tasks."""

    def __init__(
        self, endpoint: Endpoint, ssl_context: ssl.SSLContext | None, options: PoolOptions, together: Together
    ) -> None:
        super().__init__(endpoint, ssl_context, options, together)
        self._multiplexer = Multiplexer(self) if options.http2 else None

    def connection_for(self, request: httpcore.Request, wire: AsyncWire) -> AsyncConnection:
        """Return a new connection over `wire`, not dialled yet."""
        connection = AsyncConnection(**self.arguments(request, wire))
        connection.wire = wire
        connection.home = here()
        self.opened += 1
        return connection

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send one request on an idle connection that is still good, or on a new one."""
        call: RoutedCall = request.extensions[CALL]
        if self._multiplexer is not None:
            response = await self._multiplexer.send(request, call)
            if response is not None:
                return response
        connections = self.list_for(request)
        connection = None if call.fresh else await self._take(connections)
        if connection is None:
            while (spare := self.together.spare()) is not None:
                await _close(spare)
            connection = self.connection_for(request, AsyncWire(self.endpoint))
        wire = connection.wire
        wire.begin(call, call.attempts[-1])
        try:
            response = await connection.handle_async_request(request)
        except BaseException as error:
            wire.call = None
            async with ANYIO.shield():
                await connection.aclose()
                if wire.reused and wire.received == 0 and isinstance(error, DISCONNECTED):
                    await self.drop_idle()
            raise
        response.stream = _AsyncBody(response.stream, self, connections, connection)
        return response

    async def _take(self, connections: deque[AsyncConnection]) -> AsyncConnection | None:
        home = here()
        while connections:
            try:
                connection = connections.pop()
            except IndexError:  # another loop's thread was faster
                return None
            if connection.home is home and not connection.has_expired():
                return connection
            await _close(connection)
        return None

    async def put_back(self, connections: deque[AsyncConnection], connection: AsyncConnection) -> None:
        """Keep a connection that is idle again; close it when it is not, or when enough are."""
        connection.wire.call = None  # or a connection would keep its last call alive, and the two each other
        if not connection.is_idle() or surplus(connection) or self.closing or self.together.full():
            await _close(connection)
            return
        connections.append(connection)
        oldest = connections[0]
        if oldest is not connection and (oldest.home is not connection.home or oldest.has_expired()):
            connections.popleft()
            await _close(oldest)

    async def drop_idle(self) -> None:
        """Close every idle connection: one of them turned out to be dead, or the endpoint is leaving."""
        await _close(*self.take_all())

    async def aclose(self) -> None:
        """Close what is idle now, and what is still in use as soon as it is not."""
        self.closing = True
        self.together.leave(self)
        await self.drop_idle()
        if self._multiplexer is not None:
            await self._multiplexer.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class _AsyncBody:
    """A response's body; its end gives the connection back."""

    def __init__(
        self,
        inner: Any,  # noqa: ANN401 - httpcore's stream, which it declares as an iterable only
        pool: AsyncPool,
        connections: deque[AsyncConnection],
        connection: AsyncConnection,
    ) -> None:
        self._inner = inner
        self._pool = pool
        self._connections = connections
        self._connection: AsyncConnection | None = connection

    def __del__(self) -> None:
        if self._connection is not None:  # abandoned
            self._connection.let_go()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._inner.__aiter__()  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            if hasattr(self._inner, "aclose"):
                await self._inner.aclose()
        except BaseException:
            await _close(connection)
            raise
        await self._pool.put_back(self._connections, connection)


async def _close(*connections: AsyncConnection) -> None:
    """Close them all, even when the caller is being cancelled: nobody else knows of them any more."""
    home = here()
    ours: list[AsyncConnection] = []
    for connection in connections:
        if connection.home is home:
            ours.append(connection)
        else:
            connection.let_go()
    if ours:
        async with ANYIO.shield():
            try:
                for connection in ours:
                    await connection.aclose()
            except BaseException:  # a task's own cancellation, which no shield keeps off
                for connection in ours:
                    connection.let_go()
                raise
