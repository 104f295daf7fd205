"""A socket on asyncio without anyio's price per operation: one timer per connection instead of a scope per read.

anyio's ``fail_after`` and socket streams cost some 10 µs for each read and write. Here a read that finds data waiting
returns it without suspending, and the timer that ends a read which takes too long is set once and then only moved.
Errors are the operating system's (``OSError``) and ``TimeoutError``; trio has no part in this file.
"""

from __future__ import annotations

import asyncio
import math
import select
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from resilience.runtimes.eyeballs import race
from resilience.runtimes.loop_time import exact, monotonic, ring_at, slack

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Sequence

# Bytes that may wait to be read before the peer is slowed down: asyncio's own stream limit.
_HIGH = 64 * 1024


class AsyncioSocket(asyncio.Protocol):
    """One connection. One task reads and one writes at a time, as HTTP/1.1 does; HTTP/2 does so under its locks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._chunks: deque[bytes] = deque()
        self._waiting = 0
        """Bytes in `_chunks`."""
        self._ended = False
        """No more will come: the peer has closed its side, or the connection is lost."""
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._full = False
        """The transport's buffer is full: writers wait."""
        self._held = False
        """Our own buffer is full: the transport reads no more."""
        self._now = loop.time if exact(loop) else monotonic
        self._timer: asyncio.TimerHandle | None = None
        self._rings = math.inf
        self._due = math.inf
        """When the read or write that is under way has taken too long."""
        self.secure = False
        self._poll: select.poll | None = None

    # What the loop tells us.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the transport."""
        self._transport = transport  # type: ignore[assignment]  # create_connection makes byte streams

    def data_received(self, data: bytes) -> None:
        """Keep what came, and wake whoever waits for it."""
        self._chunks.append(data)
        self._waiting += len(data)
        if self._waiting > _HIGH and not self._held and self._transport is not None:
            self._held = True
            self._transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> bool:
        """Note that nothing more will come. A plain connection stays open for what we still have to say."""
        self._ended = True
        _wake(self._reader)
        return not self.secure

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is gone, and why."""
        self._ended = True
        self._error = self._error or exc
        self._stop_timer()
        _wake(self._reader)
        _wake(self._writer)

    def pause_writing(self) -> None:
        """Make writers wait."""
        self._full = True

    def resume_writing(self) -> None:
        """Let writers go on."""
        self._full = False
        _wake(self._writer)

    # What the caller does.

    async def read(self, most: int, limit: float | None) -> bytes:
        """Return what is there, or wait for it; empty at the end. Raises TimeoutError after `limit` seconds."""
        chunks = self._chunks
        if not chunks and not self._ended:
            self._reader = future = self._loop.create_future()
            try:
                await self._in_time(future, limit)
            finally:
                self._reader = None
        if not chunks:
            if self._error is not None:
                raise self._error
            return b""
        data = chunks.popleft()
        if len(data) > most:
            chunks.appendleft(data[most:])
            data = data[:most]
        self._waiting -= len(data)
        if self._held and self._waiting <= _HIGH // 2 and self._transport is not None:
            self._held = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return data

    async def write(self, data: bytes, limit: float | None) -> None:
        """Hand `data` to the network; waits while its buffer is full. Raises TimeoutError after `limit` seconds."""
        transport = self._transport
        if self._error is not None:
            raise self._error
        if transport is None or transport.is_closing():
            raise BrokenPipeError
        transport.write(data)
        if self._full:
            self._writer = future = self._loop.create_future()
            try:
                await self._in_time(future, limit)
            finally:
                self._writer = None
            if self._error is not None:
                raise self._error

    async def start_tls(self, context: ssl.SSLContext, hostname: str | None, limit: float | None) -> None:
        """Shake hands. Whatever goes wrong, cancellation included, the connection is closed."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise BrokenPipeError
        if self._chunks:  # it came in the clear: nobody has vouched for it, and it must not be read as if
            transport.abort()
            message = "the peer spoke before the handshake"
            raise ConnectionAbortedError(message)
        self.secure = True
        try:
            async with asyncio.timeout(_in_full(limit, self._loop)):
                self._transport = await self._loop.start_tls(transport, self, context, server_hostname=hostname)
        except BaseException:
            transport.abort()
            raise
        if self._transport is None:  # what start_tls returns when the transport was closed meanwhile
            raise self._error or ConnectionResetError

    async def close(self) -> None:
        """Close at once: whatever had to be said has been said."""
        self._stop_timer()
        transport = self._transport
        if transport is not None and not (transport.is_closing() and self._ended):
            transport.abort()
            await asyncio.sleep(0)  # the loop closes the socket in its next round; it may be the last one

    def let_go(self, unless: Callable[[], bool] = bool, /) -> None:
        """Have it closed in its loop's next round, from any thread and by the collector; not if `unless` then holds."""

        def abort() -> None:
            if self._transport is not None and not unless():
                self._transport.abort()

        with suppress(RuntimeError):  # a loop that has ended closes nothing
            self._loop.call_soon_threadsafe(abort)

    def read_waiting(self) -> bytes:
        """Return what has come and was not read, without waiting for more."""
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._waiting = 0
        if self._held and self._transport is not None and not self._transport.is_closing():
            self._held = False
            self._transport.resume_reading()
        return data

    def ended(self) -> bool:
        """Tell whether the peer has closed its side, as far as the loop has seen."""
        return self._ended

    def readable(self) -> bool:
        """Tell whether reading would find something, which on an idle connection can only be its end."""
        if self._chunks or self._ended:
            return True
        sock = self.extra("socket")
        number = sock.fileno() if sock is not None else -1
        if number < 0:
            return True
        # The loop may not have looked since the peer closed.
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(number, select.POLLIN)
        return bool(self._poll.poll(0))

    def extra(self, name: str) -> Any:  # noqa: ANN401 - as asyncio's get_extra_info
        """Ask the transport."""
        return None if self._transport is None else self._transport.get_extra_info(name)

    # Time limits.

    async def _in_time(self, future: asyncio.Future[None], limit: float | None) -> None:
        if limit is None or limit == math.inf:
            await future
            return
        self._due = due = self._now() + limit
        timer = self._timer
        if timer is None or self._rings > due:
            # A later timer would fire too late; an earlier one looks again when it fires.
            if timer is not None:
                timer.cancel()
            self._set_timer(due)
        try:
            await future
        finally:
            self._due = math.inf

    def _ring(self) -> None:
        self._timer = None
        due = self._due
        if due == math.inf:
            return
        if self._now() < due:
            self._set_timer(due)
            return
        for future in (self._reader, self._writer):
            if future is not None and not future.done():
                future.set_exception(TimeoutError())

    def _set_timer(self, when: float) -> None:
        self._rings = when
        self._timer = ring_at(self._loop, when, self._ring)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


async def dial(
    addresses: Sequence[tuple[str, int]],
    limit: float | None,
    *,
    local_address: str | None = None,
    socket_options: Iterable[Any] | None = None,
) -> AsyncioSocket:
    """Connect to the first address that answers: each is given 0.25 s before the next is tried beside it.

    Raises OSError (of the last failure), or TimeoutError after `limit` seconds. A cancelled dial leaves nothing behind.
    """
    loop = asyncio.get_running_loop()
    local = None if local_address is None else (local_address, 0)

    async def connect(host: str, port: int) -> AsyncioSocket:
        _, connection = await loop.create_connection(lambda: AsyncioSocket(loop), host, port, local_addr=local)
        return connection

    dials = [partial(connect, *where) for where in addresses]
    async with asyncio.timeout(_in_full(limit, loop)):
        connection = await (dials[0]() if len(dials) == 1 else race(dials, AsyncioSocket.close))
    _configure(connection, socket_options)
    return connection


def _in_full(limit: float | None, loop: asyncio.AbstractEventLoop) -> float | None:
    return None if limit is None else limit + slack(loop)


async def dial_unix(path: str, limit: float | None, *, socket_options: Iterable[Any] | None = None) -> AsyncioSocket:
    """Connect to a unix socket, within `limit` seconds."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(_in_full(limit, loop)):
        _, connection = await loop.create_unix_connection(lambda: AsyncioSocket(loop), path)
    _configure(connection, socket_options)
    return connection


def _configure(connection: AsyncioSocket, socket_options: Iterable[Any] | None) -> None:
    for option in socket_options or ():
        connection.extra("socket").setsockopt(*option)


def on_asyncio() -> bool:
    """Tell whether an asyncio loop runs this code; under trio none does."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
