"""A wire for tasks: our own socket on asyncio, httpcore's on trio; the deadline and the counting are the same."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import httpcore

from resilience.http.wire import Wire
from resilience.runtimes import socket_asyncio
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.eyeballs import race

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable

    from resilience.runtimes.socket_asyncio import AsyncioSocket

SOCKET_OPTION = Any  # httpcore's own union is not exported

# Seconds for a write that must not be cut off, where the call sets no limit.
WHOLE_FRAMES = 5.0

_ASYNCIO_INFO = {"client_addr": "sockname", "server_addr": "peername"}


class AsyncioStream(httpcore.AsyncNetworkStream):
    """A stream of asyncio's under the wire's deadline, over our own socket."""

    def __init__(self, wire: Wire, inner: AsyncioSocket) -> None:
        self._wire = wire
        self._socket = inner
        self._kept = b""
        """What came while the connection was idle."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, or wait for it until the phase's limit or the deadline."""
        wire = self._wire
        if self._kept:
            data, self._kept = self._kept[:max_bytes], self._kept[max_bytes:]
            return data
        while True:
            try:
                data = await self._socket.read(max_bytes, wire.limit(timeout))
            except TimeoutError as error:
                wire.timed_out()
                raise httpcore.ReadTimeout(str(error)) from error
            except OSError as error:
                raise httpcore.ReadError(str(error)) from error
            seen = wire.took(data)
            if seen or not data:
                return seen
            # Nothing to see but a farewell: go on reading, since an empty answer would mean the end.

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

    def let_go(self, unless: Callable[[], bool] = bool, /) -> None:
        """Have the socket closed soon, on its own loop, unless that then holds."""
        self._socket.let_go(unless)

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
        """Tell whether the peer has closed its side or, over HTTP/2, said farewell; takes what has come meanwhile."""
        self._kept += self._wire.took(self._socket.read_waiting())
        return self._socket.ended() or self._wire.over


class TrioStream(httpcore.AsyncNetworkStream):
    """A stream of trio's under the wire's deadline, over httpcore's own."""

    def __init__(self, wire: Wire, inner: httpcore.AsyncNetworkStream) -> None:
        self._wire = wire
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, or wait for it until the phase's limit or the deadline."""
        wire = self._wire
        while True:
            try:
                data = await self._inner.read(max_bytes, wire.limit(timeout))
            except httpcore.ReadTimeout:
                wire.timed_out()
                raise
            seen = wire.took(data)
            if seen or not data:
                return seen
            # Nothing to see but a farewell: go on reading, since an empty answer would mean the end.

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
        """Tell whether anything has come over an idle connection: most likely its end, or a farewell."""
        return bool(self._inner.get_extra_info("is_readable"))


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
        self.refuse_virtual_time()
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
            return await race([partial(connect, where) for where in addresses], _closed)

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


# A placeholder, for pyright, where anyio is missing; here it never is.
_TRIO = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())


async def _closed(lost: httpcore.AsyncNetworkStream) -> None:
    await lost.aclose()
