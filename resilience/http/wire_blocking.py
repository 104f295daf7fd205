"""A wire for threads: the stream and the network backend that httpcore's blocking connections use."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpcore

from resilience.http.wire import Wire
from resilience.runtimes import socket_blocking
from resilience.runtimes.blocking import BLOCKING, run_blocking

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from resilience.runtimes.socket_blocking import BlockingSocket

# Bytes and seconds for reading what is there already, on a connection that can no longer be written to.
READ_AT_ONCE = 64 * 1024
LAST_WORDS = 0.001

SOCKET_OPTION = Any  # httpcore's own union is not exported

_ADDRESS_INFO = {"client_addr": "getsockname", "server_addr": "getpeername"}


# Bytes taken at once from a connection that is idle.
_READ = 65_536


class BlockingStream(httpcore.NetworkStream):
    """A stream of blocking sockets under the wire's deadline."""

    def __init__(self, wire: Wire, inner: BlockingSocket) -> None:
        self._wire = wire
        self._socket = inner
        self._kept = b""
        """What came while the connection was idle."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, or wait for it until the phase's limit or the deadline."""
        wire = self._wire
        if self._kept:
            data, self._kept = self._kept[:max_bytes], self._kept[max_bytes:]
            return data
        while True:
            try:
                data = self._socket.read(max_bytes, wire.limit(timeout))
            except TimeoutError as error:
                wire.timed_out()
                raise httpcore.ReadTimeout(str(error)) from error
            except OSError as error:
                raise httpcore.ReadError(str(error)) from error
            seen = wire.took(data)
            if seen or not data:
                return seen
            # Nothing to see but a farewell: go on reading, since an empty answer would mean the end.

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write it all, until the phase's limit or the deadline. Counted before it is tried: a part may get out."""
        if not buffer:  # httpcore writes the end of a body that there is none of
            return
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
            self._hear_last_words()
            raise httpcore.WriteError(str(error)) from error

    def _hear_last_words(self) -> None:
        """Read what an HTTP/2 server said before it closed: a farewell proves that it has not begun our stream.

        A reset takes back what we sent, not what has already come. Raises RemoteProtocolError when it is the proof.
        """
        wire = self._wire
        if wire.frames is None:
            return
        with suppress(OSError):
            while data := self._socket.read(READ_AT_ONCE, LAST_WORDS):
                wire.took(data)

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
        """Tell whether the peer has closed its side or, over HTTP/2, said farewell; takes what has come meanwhile."""
        while self._socket.readable():
            data = self._socket.read_waiting(_READ)
            if data is None:
                return False
            self._kept += self._wire.took(data)
            if not data or self._wire.over:
                return True
        return False

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
        self.refuse_virtual_time()
        addresses = run_blocking(self.addresses(BLOCKING, timeout))
        limit = self._started(timeout)
        try:
            dialled = socket_blocking.dial(addresses, limit, local_address=local_address, socket_options=socket_options)
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
