"""One connection's network: it dials the chosen address, keeps the deadline, and counts what went over it.

The URL keeps its name; only the dialled address is ours to choose. Host header, SNI and certificate verification all
stay those of the name, because httpcore takes them from the request's origin, not from here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol, TypeVar

import httpcore

from resilience.core.errors import ConfigurationError
from resilience.discovery.failures import ResolutionError
from resilience.http.frames import Frames, OversizedFrameError
from resilience.runtimes.blocking import BLOCKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resilience.core.attempt import Attempt
    from resilience.core.call import RoutedCall
    from resilience.core.endpoint import Endpoint
    from resilience.core.ports import Runtime


class EndingStream(Protocol):
    """A stream that can tell whether the peer has closed its side."""

    def ended(self) -> bool:
        """Tell whether nothing more will come."""
        ...


StreamT = TypeVar("StreamT", bound=EndingStream)


# Seconds by which a limit has to be overshot for the standstill to be ours: far beyond any timer's imprecision.
OVERSHOT = 0.1


class RefusedStreamError(Exception):
    """The server has said that it will not process this stream; numbered as RFC 9113 7 numbers REFUSED_STREAM."""

    error_code = 7

    def __init__(self) -> None:
        super().__init__("the server has said farewell, and will not answer this stream")


def refused(error: BaseException) -> bool:
    """Tell whether this is the error that says so."""
    return bool(error.args) and isinstance(error.args[0], RefusedStreamError)


class Wire:
    """What the current attempt may take, and what it did: shared by the streams of one connection."""

    __slots__ = (
        "call",
        "connected",
        "cut",
        "doomed",
        "endpoint",
        "farewell",
        "frames",
        "late",
        "now",
        "prior_knowledge",
        "received",
        "reused",
        "served",
        "stream",
        "until",
        "written",
    )

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.call: RoutedCall | None = None
        self.until = math.inf
        """The instant at which reads and writes give up, whatever their own limit."""
        self.now = BLOCKING.now
        self.written = 0
        self.received = 0
        self.served = 0
        self.reused = False
        self.cut = False
        self.late = False
        """The latest limit acted late: our own loop or machine stood still."""
        self.doomed = False
        """Its call is being given up: nobody else may have the connection."""
        self.prior_knowledge = False
        """HTTP/2 is spoken without asking, on a plain connection."""
        self.stream: EndingStream | None = None
        self.connected = False
        """Dialled, and with TLS: shaken hands."""
        self.frames: Frames | None = None
        """Reads HTTP/2's frames, on a connection that speaks it."""
        self.farewell: Callable[[int], None] = self._left
        """Told the last stream that a server that says farewell will answer."""

    def made(self, stream: StreamT) -> StreamT:
        """Take over the stream that was dialled."""
        self.stream = stream
        self.spoken("h2" if self.prior_knowledge else None)
        return stream

    def ended(self) -> bool:
        """Tell whether the server has closed an idle HTTP/2 connection, or said farewell: httpcore does not look."""
        return self.frames is not None and self.stream is not None and (self.over or self.stream.ended())

    @property
    def over(self) -> bool:
        """Has the server said farewell? Then it answers no new streams."""
        return self.frames is not None and self.frames.last_stream is not None

    def refuses(self, stream: int) -> bool:
        """Tell whether the server has said that it will not answer this stream."""
        last = None if self.frames is None else self.frames.last_stream
        return last is not None and stream > last

    @property
    def own_stream(self) -> int:
        """The stream of its only call: the served-th odd number (RFC 9113 5.1.1)."""
        return 2 * self.served - 1

    @property
    def protocol(self) -> str:
        """``h2`` or ``http/1.1``, as the handshake has settled it."""
        return "http/1.1" if self.frames is None else "h2"

    def spoken(self, protocol: str | None, /) -> None:
        """Note that the connection is there, and which protocol was chosen."""
        self.connected = True
        if protocol == "h2":
            self.frames = Frames()

    def took(self, data: bytes, /) -> bytes:
        """Count what was read; return what of it httpcore is to see (nothing at all: read on)."""
        self.received += len(data)
        frames = self.frames
        if frames is None or not data:
            return data
        try:
            seen = frames.feed(data)
        except OversizedFrameError as error:
            raise httpcore.RemoteProtocolError(str(error)) from error
        if frames.last_stream is not None:
            self.farewell(frames.last_stream)
        return seen

    def _left(self, last_stream: int) -> None:
        if self.call is not None and self.own_stream > last_stream:
            raise httpcore.RemoteProtocolError(RefusedStreamError())

    def begin(self, call: RoutedCall, attempt: Attempt) -> None:
        """Start counting for a new attempt."""
        self.call = call
        self.until = attempt.until
        self.now = call.runtime.now
        self.written = 0
        self.received = 0
        self.reused = self.served > 0
        self.served += 1
        self.cut = False
        self.late = False
        attempt.wire = self

    def give_up(self, call: RoutedCall) -> None:
        """End a call that has lost a race, from another thread: what it waits for ends now, and it sends no more."""
        # Marked before the look: from then on the connection goes to no other call. What it went to before is spared.
        self.doomed = True
        if self.call is not call:
            self.doomed = False
            return
        self.until = -math.inf
        shut_down = getattr(self.stream, "shut_down", None)
        if shut_down is not None:  # a task is cancelled instead
            shut_down()

    def limit(self, timeout: float | None, /) -> float | None:
        """Return the smaller of a phase's own limit and what is left; 0 when nothing is left."""
        until = self.until
        if until == math.inf:
            return timeout
        left = until - self.now()
        if timeout is not None and timeout <= left:
            return timeout
        return max(left, 0.0)

    def timed_out(self) -> None:
        """Note whether it was the call's deadline that ended this, rather than a limit of one attempt or phase.

        And whether the limit was overshot: then it was our own loop or machine that stood still, not the server.
        """
        now = self.now()
        self.cut = self.call is not None and now >= self.call.deadline
        self.late = now - self.until > OVERSHOT

    def connect_limit(self, timeout: float | None, /) -> float | None:
        """Return how long dialling may take: less when another endpoint is ready to take the call."""
        call = self.call
        if call is not None and call.dial_limit is not None:
            limit = call.dial_limit(call)
            if limit is not None and (timeout is None or limit < timeout):
                timeout = limit
        return self.limit(timeout)

    def refuse_virtual_time(self) -> None:
        """Raise ConfigurationError where the call lives by a clock that jumps: it would jump past every limit."""
        if self.call is not None and getattr(self.call.runtime, "offline", False):
            argument, expected = "transport", "testing.Script(…) or a mock: on virtual time nothing is dialled"
            raise ConfigurationError(argument, None, expected)

    async def addresses(self, runtime: Runtime, timeout: float | None) -> Sequence[tuple[str, int]]:
        """Return where to dial, in order. Only an endpoint whose name has to be looked up first waits here."""
        endpoint = self.endpoint
        if endpoint.route is None:
            return ((endpoint.address.host, endpoint.address.port),)
        limit = self.limit(timeout)
        try:
            found = await endpoint.route.addresses(runtime, math.inf if limit is None else limit)
        except ResolutionError as error:
            self.timed_out()
            if error.kind == "timeout" and self.cut:
                raise httpcore.ConnectTimeout(str(error)) from error
            raise
        return [(address.host, address.port) for address in found]
