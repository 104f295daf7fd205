"""The connections to one endpoint: a last-in-first-out list of idle ones, nothing else.

httpcore's own pool looks at every connection, and polls every idle socket, on each request; here the one connection
that is taken is checked, and the oldest idle one is dropped when its time is over. How many may be open at once is
decided before (slots), so nobody ever waits in here.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# httpx and httpcore declare `extensions` as a bare dict: mypy, strict too, checks this file.

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import httpcore

from resilience.http.multiplex import Multiplexer
from resilience.http.wire_async import AsyncWire
from resilience.http.wire_blocking import BlockingWire
from resilience.runtimes.anyio import ANYIO

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterable, Iterator
    from types import TracebackType
    from typing import Self

    from resilience.core.call import RoutedCall
    from resilience.core.endpoint import Endpoint
    from resilience.http.options import PoolOptions
    from resilience.http.together import Together
    from resilience.http.wire import Wire

CALL = "resilience_call"
"""Where a request's extensions carry the call it belongs to, down to the connection."""

# What a connection that the server closed while it was idle raises when it is used again.
_DISCONNECTED = (httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError)


class _Lists:
    """Idle connections by what they were verified for: origin, and the server name that TLS was asked to check."""

    def __init__(
        self, endpoint: Endpoint, ssl_context: ssl.SSLContext | None, options: PoolOptions, together: Together
    ) -> None:
        self.endpoint = endpoint
        self.ssl_context = ssl_context
        self.options = options
        self.together = together
        self.idle: dict[tuple[bytes, bytes, int | None, str | None], deque[Any]] = {}
        self.opened = 0
        """Connections dialled so far."""
        self.closing = False

    def list_for(self, request: httpcore.Request) -> deque[Any]:
        url = request.url
        key = (url.scheme, url.host, url.port, request.extensions.get("sni_hostname"))
        found = self.idle.get(key)
        return found if found is not None else self.idle.setdefault(key, deque())

    def idle_count(self) -> int:
        """Return how many connections are idle now."""
        return sum(len(connections) for connections in self.idle.values())

    def oldest(self) -> Any | None:  # noqa: ANN401 - a connection of the pool's kind
        """Take out the connection that has been idle for longest; None when there is none."""
        for connections in list(self.idle.values()):
            try:
                return connections.popleft()
            except IndexError:
                continue
        return None

    def take_all(self) -> list[Any]:
        """Empty the lists; the caller closes what was in them."""
        taken: list[Any] = []
        for connections in list(self.idle.values()):
            while connections:
                try:
                    taken.append(connections.pop())
                except IndexError:  # another thread was faster
                    break
        return taken

    def arguments(self, request: httpcore.Request, wire: Wire) -> dict[str, Any]:
        options = self.options
        wire.prior_knowledge = options.http2 and not options.http1
        return {
            "origin": request.url.origin,
            "ssl_context": self.ssl_context,
            "keepalive_expiry": options.keepalive_expiry,
            "http1": options.http1,
            "http2": options.http2,
            "uds": options.uds,
            "local_address": options.local_address,
            "socket_options": options.socket_options,
            "network_backend": wire,
        }


class BlockingConnection(httpcore.HTTPConnection):
    """One connection and the wire beneath it."""

    wire: BlockingWire


class AsyncConnection(httpcore.AsyncHTTPConnection):
    """One connection and the wire beneath it."""

    wire: AsyncWire


class BlockingPool(_Lists):
    """What an ``httpx.HTTPTransport`` sends through, for threads."""

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send one request on an idle connection that is still good, or on a new one."""
        call: RoutedCall = request.extensions[CALL]
        connections = self.list_for(request)
        connection = None if call.fresh else self._take(connections)
        if connection is None:
            while (spare := self.together.spare()) is not None:
                spare.close()
            wire = BlockingWire(self.endpoint)
            connection = BlockingConnection(**self.arguments(request, wire))
            connection.wire = wire
            self.opened += 1
        wire = connection.wire
        wire.begin(call, call.attempts[-1])
        try:
            response = connection.handle_request(request)
        except BaseException as error:
            wire.call = None
            connection.close()
            if wire.reused and wire.received == 0 and isinstance(error, _DISCONNECTED):
                self.drop_idle()
            raise
        response.stream = _BlockingBody(response.stream, self, connections, connection)
        return response

    def _take(self, connections: deque[BlockingConnection]) -> BlockingConnection | None:
        while connections:
            try:
                connection = connections.pop()
            except IndexError:  # another thread was faster
                return None
            if not (connection.has_expired() or connection.wire.ended()):
                return connection
            connection.close()
        return None

    def put_back(self, connections: deque[BlockingConnection], connection: BlockingConnection) -> None:
        """Keep a connection that is idle again; close it when it is not, or when enough are."""
        connection.wire.call = None  # or a connection would keep its last call alive, and the two each other
        if not connection.is_idle() or connection.wire.doomed or self.together.full():
            connection.close()
            return
        connections.append(connection)
        if self.closing:  # looked at last, so that a connection cannot slip in behind the one who closes
            self.drop_idle()
            return
        # The oldest is at the other end: close one that nobody will use any more, so that they never pile up.
        try:
            oldest = connections[0]
            if oldest is not connection and oldest.has_expired():
                connections.remove(oldest)
                oldest.close()
        except (IndexError, ValueError):  # another thread was faster
            return

    def drop_idle(self) -> None:
        """Close every idle connection: one of them turned out to be dead, or the endpoint is leaving."""
        for connection in self.take_all():
            connection.close()

    def close(self) -> None:
        """Close what is idle now, and what is still in use as soon as it is not."""
        self.closing = True
        self.together.leave(self)
        self.drop_idle()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _BlockingBody:
    """A response's body; its end gives the connection back."""

    def __init__(
        self,
        inner: Any,
        pool: BlockingPool,
        connections: deque[BlockingConnection],
        connection: BlockingConnection,  # noqa: ANN401
    ) -> None:
        self._inner = inner
        self._pool = pool
        self._connections = connections
        self._connection: BlockingConnection | None = connection

    def __del__(self) -> None:
        if self._connection is not None:  # abandoned
            self._connection.close()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._inner)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            if hasattr(self._inner, "close"):
                self._inner.close()
        except BaseException:
            connection.close()
            raise
        self._pool.put_back(self._connections, connection)


class AsyncPool(_Lists):
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
                if wire.reused and wire.received == 0 and isinstance(error, _DISCONNECTED):
                    await self.drop_idle()
            raise
        response.stream = _AsyncBody(response.stream, self, connections, connection)
        return response

    async def _take(self, connections: deque[AsyncConnection]) -> AsyncConnection | None:
        while connections:
            try:
                connection = connections.pop()
            except IndexError:
                return None
            if not connection.has_expired():
                return connection
            await _close(connection)
        return None

    async def put_back(self, connections: deque[AsyncConnection], connection: AsyncConnection) -> None:
        """Keep a connection that is idle again; close it when it is not, or when enough are."""
        connection.wire.call = None  # or a connection would keep its last call alive, and the two each other
        if not connection.is_idle() or self.closing or self.together.full():
            await _close(connection)
            return
        connections.append(connection)
        oldest = connections[0]
        if oldest is not connection and oldest.has_expired():
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
        inner: Any,
        pool: AsyncPool,
        connections: deque[AsyncConnection],
        connection: AsyncConnection,  # noqa: ANN401
    ) -> None:
        self._inner = inner
        self._pool = pool
        self._connections = connections
        self._connection: AsyncConnection | None = connection

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
    if connections:
        async with ANYIO.shield():
            for connection in connections:
                await connection.aclose()


def socket_options(given: Iterable[Any] | None) -> list[Any] | None:
    """Return a list that can be used for every connection: an iterator would be empty at the second."""
    return None if given is None else list(given)
