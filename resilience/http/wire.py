"""One connection's network: it dials the chosen address, keeps the deadline, and counts what went over it.

The URL keeps its name; only the dialled address is ours to choose. Host header, SNI and certificate verification all
stay those of the name, because httpcore takes them from the request's origin, not from here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar, cast

import httpcore


from resilience.discovery.failures import ResolutionError
from resilience.http.frames import Frames, OversizedFrameError
from resilience.runtimes import socket_asyncio, socket_blocking
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.blocking import BLOCKING, run_blocking
from resilience.runtimes.eyeballs import race
from resilience.runtimes.socket_blocking import at_end

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence

    from resilience.core.attempt import Attempt
    from resilience.core.call import RoutedCall
    from resilience.core.endpoint import Endpoint
    from resilience.core.ports import Runtime
    from resilience.runtimes.socket_asyncio import AsyncioSocket
    from resilience.runtimes.socket_blocking import BlockingSocket

StreamT = TypeVar("StreamT", "BlockingStream", "AsyncioStream", "TrioStream")

SOCKET_OPTION = Any  # httpcore's own union is not exported

# Seconds for a write that must not be cut off, where the call sets no limit.
WHOLE_FRAMES = 5.0

_ADDRESS_INFO = {"client_addr": "getsockname", "server_addr": "getpeername"}
_ASYNCIO_INFO = {"client_addr": "sockname", "server_addr": "peername"}


class RefusedStreamError(Exception):
    """The server has said that it will not process this stream; numbered as RFC 9113 7 numbers REFUSED_STREAM."""

    error_code = 7


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
        self.doomed = False
        """Its call is being given up: nobody else may have the connection."""
        self.prior_knowledge = False
        """HTTP/2 is spoken without asking, on a plain connection."""
        self.stream: BlockingStream | AsyncioStream | TrioStream | None = None
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
        """Tell whether the server has closed an idle HTTP/2 connection: httpcore does not look at those."""
        return self.frames is not None and self.stream is not None and self.stream.ended()

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
        # One call at a time: its stream is the served-th odd number (RFC 9113 5.1.1).
        if 2 * self.served - 1 > last_stream:
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
        attempt.wire = self

    def give_up(self, call: RoutedCall) -> None:
        """End a call that has lost a race, from another thread: what it waits for ends now, and it sends no more."""
        # Marked before the look: from then on the connection goes to no other call. What it went to before is spared.
        self.doomed = True
        if self.call is not call:
            self.doomed = False
            return
        self.until = -math.inf
        if isinstance(self.stream, BlockingStream):
            self.stream.shut_down()

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
        """Note whether it was the call's deadline that ended this, rather than a limit of one attempt or phase."""
        self.cut = self.call is not None and self.now() >= self.call.deadline

    def connect_limit(self, timeout: float | None, /) -> float | None:
        """Return how long dialling may take: less when another endpoint is ready to take the call."""
        call = self.call
        if call is not None and call.dial_limit is not None:
            limit = call.dial_limit(call)
            if limit is not None and (timeout is None or limit < timeout):
                timeout = limit
        return self.limit(timeout)

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


# Threads.


class BlockingStream(httpcore.NetworkStream):
    """A stream of blocking sockets under the wire's deadline."""

    def __init__(self, wire: Wire, inner: BlockingSocket) -> None:
        self._wire = wire
        self._socket = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, or wait for it until the phase's limit or the deadline."""
        wire = self._wire
        try:
            data = self._socket.read(max_bytes, wire.limit(timeout))
        except TimeoutError as error:
            wire.timed_out()
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error
        seen = wire.took(data)
        # Nothing to see but a farewell: go on reading, since an empty answer would mean the end.
        return self.read(max_bytes, timeout) if data and not seen else seen

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write it all, until the phase's limit or the deadline. Counted before it is tried: a part may get out."""
        wire = self._wire
        rest = memoryview(buffer)
        try:
            while rest:
                limit = wire.limit(timeout)
                if limit == 0.0:  # a write that finds room never waits: the deadline has to be looked at first
                    raise TimeoutError  # noqa: TRY301 - handled like the socket's own, two lines below
                wire.written += len(rest)
                rest = rest[self._socket.write(rest, limit) :]
        except TimeoutError as error:
            wire.timed_out()
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Shake hands; whatever goes wrong, the socket does not leak."""
        wire = self._wire
        limit = wire.connect_limit(timeout)
        try:
            self._socket.start_tls(ssl_context, server_hostname, None if limit is None else max(limit, 1e-6))
        except TimeoutError as error:
            wire.timed_out()
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:  # SSLError is one too
            raise httpcore.ConnectError(error) from error
        wire.spoken(self._socket.raw.selected_alpn_protocol())  # type: ignore[attr-defined]  # an SSLSocket by now
        return self

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's signature
        """Ask the socket, in httpcore's words."""
        raw = self._socket.raw
        if info == "is_readable":
            return self._socket.readable()
        if info == "socket":
            return raw
        if info == "ssl_object":
            return raw if hasattr(raw, "selected_alpn_protocol") else None
        if info in _ADDRESS_INFO:
            return getattr(raw, _ADDRESS_INFO[info])()
        return None

    def ended(self) -> bool:
        """Tell whether the peer has closed its side."""
        return self._socket.ended()

    def shut_down(self) -> None:
        """End whatever another thread waits for on this stream: how a lost race ends among threads."""
        self._socket.shut_down()


class BlockingWire(Wire, httpcore.NetworkBackend):
    """A network backend of one connection, for threads."""

    __slots__ = ()

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - the name; the address is the endpoint's
        port: int,  # noqa: ARG002
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Dial the endpoint."""
        addresses = run_blocking(cast("Coroutine[Any, Any, Sequence[tuple[str, int]]]", self.addresses(BLOCKING, timeout)))
        limit = self._started(timeout)
        try:
            dialled = socket_blocking.dial(
                addresses, limit, local_address=local_address, socket_options=socket_options
            )
        except TimeoutError as error:
            # ETIMEDOUT, the system's own verdict, is a TimeoutError as well: both mean that nobody answered.
            self.timed_out()
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(error) from error
        return self.made(BlockingStream(self, dialled))

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[SOCKET_OPTION] | None = None
    ) -> httpcore.NetworkStream:
        """Dial a unix socket."""
        limit = self._started(timeout)
        try:
            dialled = socket_blocking.dial_unix(path, limit, socket_options=socket_options)
        except TimeoutError as error:
            self.timed_out()
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(error) from error
        return self.made(BlockingStream(self, dialled))

    def _started(self, timeout: float | None) -> float | None:
        limit = self.connect_limit(timeout)
        if limit == 0.0:
            self.timed_out()
            raise httpcore.ConnectTimeout
        return limit


# Tasks.


class AsyncioStream(httpcore.AsyncNetworkStream):
    """A stream of asyncio's under the wire's deadline, over our own socket."""

    def __init__(self, wire: Wire, inner: AsyncioSocket) -> None:
        self._wire = wire
        self._socket = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, or wait for it until the phase's limit or the deadline."""
        wire = self._wire
        try:
            data = await self._socket.read(max_bytes, wire.limit(timeout))
        except TimeoutError as error:
            wire.timed_out()
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error
        seen = wire.took(data)
        # Nothing to see but a farewell: go on reading, since an empty answer would mean the end.
        return await self.read(max_bytes, timeout) if data and not seen else seen

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write it all, until the phase's limit or the deadline. Counted before it is tried: a part may get out."""
        if not buffer:
            return
        wire = self._wire
        limit = wire.limit(timeout)
        if limit == 0.0:  # a write that finds room never waits: the deadline has to be looked at first
            wire.timed_out()
            raise httpcore.WriteTimeout
        wire.written += len(buffer)
        try:
            await self._socket.write(buffer, limit)
        except TimeoutError as error:
            wire.timed_out()
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        """Close the socket."""
        await self._socket.close()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Shake hands; whatever goes wrong, cancellation included, the socket does not leak."""
        try:
            await self._socket.start_tls(ssl_context, server_hostname, self._wire.connect_limit(timeout))
        except TimeoutError as error:
            self._wire.timed_out()
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:  # SSLError is one too
            raise httpcore.ConnectError(error) from error
        self._wire.spoken(self._socket.extra("ssl_object").selected_alpn_protocol())
        return self

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's signature
        """Ask the socket, in httpcore's words."""
        if info == "is_readable":
            return self._socket.readable()
        return self._socket.extra(_ASYNCIO_INFO.get(info, info))

    def ended(self) -> bool:
        """Tell whether the peer has closed its side."""
        return self._socket.ended()


class TrioStream(httpcore.AsyncNetworkStream):
    """A stream of trio's under the wire's deadline, over httpcore's own."""

    def __init__(self, wire: Wire, inner: httpcore.AsyncNetworkStream) -> None:
        self._wire = wire
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, or wait for it until the phase's limit or the deadline."""
        wire = self._wire
        try:
            data = await self._inner.read(max_bytes, wire.limit(timeout))
        except httpcore.ReadTimeout:
            wire.timed_out()
            raise
        seen = wire.took(data)
        # Nothing to see but a farewell: go on reading, since an empty answer would mean the end.
        return await self.read(max_bytes, timeout) if data and not seen else seen

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write it all, until the phase's limit or the deadline. Counted before it is tried: a part may get out."""
        wire = self._wire
        limit = wire.limit(timeout)
        if limit == 0.0:
            wire.timed_out()
            raise httpcore.WriteTimeout
        wire.written += len(buffer)
        try:
            if wire.frames is None:
                await self._inner.write(buffer, limit)
            else:
                # A frame that is cut off in the middle would end every call on the connection.
                async with ANYIO.shield():
                    await self._inner.write(buffer, WHOLE_FRAMES if limit is None else limit)
        except httpcore.WriteTimeout:
            wire.timed_out()
            raise

    async def aclose(self) -> None:
        """Close the socket."""
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Shake hands; whatever goes wrong, cancellation included, the socket does not leak."""
        wire = self._wire
        try:
            inner = await self._inner.start_tls(ssl_context, server_hostname, wire.connect_limit(timeout))
        except BaseException as error:
            if isinstance(error, httpcore.ConnectTimeout):
                wire.timed_out()
            async with ANYIO.shield():
                await self._inner.aclose()
            raise
        wire.spoken(inner.get_extra_info("ssl_object").selected_alpn_protocol())
        stream = TrioStream(wire, inner)
        wire.stream = stream
        return stream

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's signature
        """Ask the socket."""
        return self._inner.get_extra_info(info)

    def ended(self) -> bool:
        """Tell whether the peer has closed its side."""
        raw = self._inner.get_extra_info("socket")
        return bool(self._inner.get_extra_info("is_readable")) and at_end(raw)


class AsyncWire(Wire, httpcore.AsyncNetworkBackend):
    """A network backend of one connection, for tasks: our own socket on asyncio, httpcore's on trio."""

    __slots__ = ()

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - the name; the address is the endpoint's
        port: int,  # noqa: ARG002
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Dial the endpoint."""
        addresses = await self.addresses(ANYIO, timeout)
        limit = self.connect_limit(timeout)
        if socket_asyncio.on_asyncio():
            return await self._dialled(
                socket_asyncio.dial(addresses, limit, local_address=local_address, socket_options=socket_options)
            )

        async def connect(where: tuple[str, int]) -> httpcore.AsyncNetworkStream:
            try:
                return await _TRIO.connect_tcp(*where, None, local_address, socket_options)
            except httpcore.ConnectError as error:
                raise OSError(str(error)) from error

        async def racing() -> httpcore.AsyncNetworkStream:
            return await race([lambda where=where: connect(where) for where in addresses], lambda lost: lost.aclose())

        try:
            return self.made(TrioStream(self, await ANYIO.limit(math.inf if limit is None else limit, racing)))
        except TimeoutError as error:
            self.timed_out()
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(error) from error

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[SOCKET_OPTION] | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Dial a unix socket."""
        limit = self.connect_limit(timeout)
        if socket_asyncio.on_asyncio():
            return await self._dialled(socket_asyncio.dial_unix(path, limit, socket_options=socket_options))
        return self.made(TrioStream(self, await _TRIO.connect_unix_socket(path, limit, socket_options)))

    async def _dialled(self, dialling: Awaitable[AsyncioSocket]) -> AsyncioStream:
        try:
            return self.made(AsyncioStream(self, await dialling))
        except TimeoutError as error:
            # ETIMEDOUT, the system's own verdict, is a TimeoutError as well: both mean that nobody answered.
            self.timed_out()
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(error) from error


_TRIO = httpcore.AnyIOBackend()

