"""An HTTP/2 connection that several calls share, and what each call's stream on it did."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# httpx and httpcore declare `extensions` as a bare dict: mypy, strict too, checks this file.

from __future__ import annotations

from typing import TYPE_CHECKING

from resilience.runtimes.here import here

if TYPE_CHECKING:
    from resilience.core.attempt import Attempt
    from resilience.http.pool_async import AsyncConnection
    from resilience.http.wire_async import AsyncWire
    from resilience.runtimes.anyio import Cut


class StreamWire:
    """What one call's stream did: the counterpart of a whole connection's wire."""

    __slots__ = ("_connection_received", "cut", "late", "reused", "shared", "stream", "until", "written")

    def __init__(self, shared: Shared, attempt: Attempt) -> None:
        self.shared = shared
        self.until = attempt.until
        self.written = 0
        """1 once its headers may have gone out; how many bytes they were nobody needs to know."""
        self.stream: int | None = None
        self.reused = shared.served > 0
        self.cut = False
        self.late = False
        self._connection_received = shared.wire.received

    @property
    def received(self) -> int:
        """Bytes that came over the connection since this call began: any of them shows that it was alive."""
        return self.shared.wire.received - self._connection_received


class Shared:
    """One connection and the calls on it."""

    def __init__(self, connection: AsyncConnection, wire: AsyncWire) -> None:
        self.connection = connection
        self.wire = wire
        self.flights: dict[StreamWire, Cut] = {}
        self.served = 0
        self.leaving = False
        """It takes no new calls: the server has said farewell, or it failed."""

    def usable(self) -> bool:
        """Tell whether a new call may be put on it: not from another event loop than its own."""
        if (
            self.connection.home is not here()
            or self.leaving
            or self.connection.is_closed()
            or not self.connection.is_available()
        ):
            return False
        return bool(self.flights) or not (self.connection.has_expired() or self.wire.ended())

    def farewell(self, last_stream: int) -> None:
        """Take no new calls, and tell those the server will not answer."""
        self.leaving = True
        for stream_wire, cut in list(self.flights.items()):
            if stream_wire.stream is not None and stream_wire.stream > last_stream:
                cut.now()
