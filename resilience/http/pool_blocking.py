"""The connections of threads to one endpoint."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# httpx and httpcore declare `extensions` as a bare dict: mypy, strict too, checks this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpcore

from resilience.http.pool import CALL, DISCONNECTED, IdleLists
from resilience.http.private import surplus
from resilience.http.wire import RefusedStreamError, refused
from resilience.http.wire_blocking import BlockingWire

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from resilience.core.call import RoutedCall


class BlockingConnection(httpcore.HTTPConnection):
    """One connection and the wire beneath it."""

    wire: BlockingWire


class BlockingPool(IdleLists):
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
            if not isinstance(error, DISCONNECTED):
                raise
            if wire.refuses(wire.own_stream):
                if not refused(error):
                    raise httpcore.RemoteProtocolError(RefusedStreamError()) from error
            elif wire.reused and wire.received == 0:
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
        wire = connection.wire
        wire.call = None  # or a connection would keep its last call alive, and the two each other
        if not connection.is_idle() or surplus(connection) or wire.doomed or wire.over or self.together.full():
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
        inner: Any,  # noqa: ANN401 - httpcore's stream, which it declares as an iterable only
        pool: BlockingPool,
        connections: deque[BlockingConnection],
        connection: BlockingConnection,
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
