"""A socket for threads: read, write, shut up within a limit; and a dial that races several addresses."""

from __future__ import annotations

import errno
import math
import select
import selectors
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# RFC 8305 section 8: seconds between the starts of two connection attempts.
STAGGER = 0.25

_UNDER_WAY = frozenset({0, errno.EINPROGRESS, errno.EWOULDBLOCK})


class BlockingSocket:
    """One connection. Errors are the operating system's (``OSError``) and ``TimeoutError``."""

    __slots__ = ("_limit", "_poll", "_socket")

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._poll = select.poll()
        self._poll.register(connected, select.POLLIN)
        self._limit: float | None = -1.0  # none that anybody sets

    def read(self, most: int, limit: float | None) -> bytes:
        """Return what is there, or wait for it; empty at the end."""
        if limit != self._limit:
            self._set(limit)
        return self._socket.recv(most)

    def read_waiting(self, most: int) -> bytes | None:
        """Return what is there without waiting for it; None when there is nothing yet, empty at the end."""
        self._socket.settimeout(0.0)
        self._limit = -1.0
        try:
            return self._socket.recv(most)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except OSError:
            return b""

    def write(self, data: bytes | memoryview, limit: float | None) -> int:
        """Send some of `data`, and return how much."""
        if limit != self._limit:
            self._set(limit)
        return self._socket.send(data)

    def start_tls(self, context: ssl.SSLContext, hostname: str | None, limit: float | None) -> None:
        """Shake hands; whatever goes wrong, the socket is closed."""
        try:
            self._socket.settimeout(limit)
            self._socket = context.wrap_socket(self._socket, server_hostname=hostname)
        except BaseException:
            self._socket.close()
            raise
        self._limit = -1.0

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def shut_down(self) -> None:
        """End whatever another thread is waiting for on this socket."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:  # not connected any more
            return

    def readable(self) -> bool:
        """Tell whether reading would find something, which on an idle connection can only be its end."""
        number = self._socket.fileno()
        if number < 0:
            return True
        try:
            return bool(self._poll.poll(0))
        except RuntimeError:  # another thread is looking at the same moment: the object is for one at a time
            poll = select.poll()
            poll.register(number, select.POLLIN)
            return bool(poll.poll(0))

    def ended(self) -> bool:
        """Tell whether the peer has closed its side and nothing more is to be read."""
        return self.readable() and at_end(self._socket)

    @property
    def raw(self) -> socket.socket:
        """The socket itself: an ``ssl.SSLSocket`` after `start_tls`."""
        return self._socket

    def _set(self, limit: float | None) -> None:
        # 0 would mean "do not block"; a limit that small is over as good as at once.
        self._socket.settimeout(limit if limit is None else max(limit, 1e-6))
        self._limit = limit


def at_end(readable: socket.socket) -> bool:
    """Tell whether what there is to read on a readable socket is its end. Looks beneath TLS, and takes nothing."""
    try:
        # The plain class's method, because ssl's refuses flags.
        return not socket.socket.recv(readable, 1, socket.MSG_PEEK)
    except OSError:
        return True


def dial(
    addresses: Sequence[tuple[str, int]],
    limit: float | None,
    *,
    local_address: str | None = None,
    socket_options: Iterable[Any] | None = None,
) -> BlockingSocket:
    """Connect to the first address that answers: each is given 0.25 s before the next is tried beside it.

    IP addresses and names; a name is looked up by the system, for which there is no limit. Raises OSError (of the last
    failure), or TimeoutError after `limit` seconds.
    """
    if len(addresses) == 1:
        source = None if local_address is None else (local_address, 0)
        connected = socket.create_connection(addresses[0], limit, source_address=source)
    else:
        connected = _race(addresses, math.inf if limit is None else limit, local_address)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option in socket_options or ():
        connected.setsockopt(*option)
    return BlockingSocket(connected)


def dial_unix(path: str, limit: float | None, *, socket_options: Iterable[Any] | None = None) -> BlockingSocket:
    """Connect to a unix socket."""
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.settimeout(limit)
        connected.connect(path)
        for option in socket_options or ():
            connected.setsockopt(*option)
    except BaseException:
        connected.close()
        raise
    return BlockingSocket(connected)


def _race(addresses: Sequence[tuple[str, int]], limit: float, local_address: str | None) -> socket.socket:
    waiting = list(addresses)
    give_up = time.monotonic() + limit
    next_start = 0.0
    failure: OSError = OSError("no address to connect to")
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or selector.get_map():
                now = time.monotonic()
                if now >= give_up:
                    raise TimeoutError
                if waiting and (now >= next_start or not selector.get_map()):
                    next_start = now + STAGGER
                    try:
                        selector.register(_begin(waiting.pop(0), local_address), selectors.EVENT_WRITE)
                    except OSError as error:
                        failure = error
                        next_start = 0.0
                    continue
                pause = min(give_up, next_start if waiting else math.inf) - now
                for key, _ in selector.select(None if math.isinf(pause) else max(0.0, pause)):
                    winner: socket.socket = key.fileobj  # type: ignore[assignment]  # what was registered
                    selector.unregister(winner)
                    code = winner.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code == 0:
                        winner.settimeout(None)
                        return winner
                    winner.close()
                    failure = OSError(code, "connect failed")
                    next_start = 0.0  # a failure starts the next one at once
            raise failure
        finally:
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]


def _begin(address: tuple[str, int], local_address: str | None) -> socket.socket:
    family, kind, protocol, _, where = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
    connecting = socket.socket(family, kind, protocol)
    try:
        connecting.settimeout(0.0)
        if local_address is not None:
            connecting.bind((local_address, 0))
        code = connecting.connect_ex(where)
        if code not in _UNDER_WAY:  # no route, say; the socket would look writable, and free of errors
            raise OSError(code, "connect failed")  # noqa: TRY301 - closed like any other that fails
    except BaseException:
        connecting.close()
        raise
    return connecting
