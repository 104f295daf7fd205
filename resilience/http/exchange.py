"""Sends one attempt to one endpoint, over a pool of the endpoint's own.

A repeatable call whose caller wants the whole body has up to 1 MiB of it read here, inside the attempt, so that a
truncated answer is a failed attempt like any other. Everything else commits at its headers.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import httpx

from resilience.http.body import AsyncBody, BlockingBody, in_time, in_turn
from resilience.http.pool import CALL
from resilience.http.pool_async import AsyncPool
from resilience.http.pool_blocking import BlockingPool
from resilience.http.private import AsyncEndpointTransport, EndpointTransport, sibling
from resilience.http.together import Together
from resilience.http.wire import Wire
from resilience.runtimes.anyio import ANYIO

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from resilience.core.attempt import Attempt
    from resilience.core.call import RoutedCall
    from resilience.core.endpoint import Endpoint
    from resilience.core.slots import Slots
    from resilience.http.options import PoolOptions

# Bytes of body read inside an attempt.
BUFFER = 1024 * 1024
# Bytes of an answer that will not be handed out which are worth reading to keep its connection.
DRAIN = 64 * 1024
# Bytes by which compression may make a body longer instead of shorter, beside a thousandth of it: headers, checksums.
PACKAGING = 1024
# Seconds that reading them may take: the next attempt is waiting.
DRAIN_TIME = 0.05

TransportT = TypeVar("TransportT", EndpointTransport, AsyncEndpointTransport)


class _Transports(Generic[TransportT]):
    """One transport per endpoint, made when it is first sent to."""

    def __init__(self, build: Callable[[Endpoint], TransportT]) -> None:
        self._build: Callable[[Endpoint], TransportT] = build
        self._lock = threading.Lock()
        self._by_endpoint: dict[Endpoint, TransportT] = {}

    def of(self, endpoint: Endpoint) -> TransportT:
        found = self._by_endpoint.get(endpoint)
        if found is not None:
            return found
        with self._lock:
            found = self._by_endpoint.get(endpoint)
            if found is None:
                found = self._by_endpoint[endpoint] = self._build(endpoint)
            return found

    def remove(self, endpoint: Endpoint) -> TransportT | None:
        with self._lock:
            return self._by_endpoint.pop(endpoint, None)

    def inherited(self) -> list[TransportT]:
        return list(self._by_endpoint.values())

    def all(self) -> list[TransportT]:
        with self._lock:
            return list(self._by_endpoint.values())


class BlockingExchange:
    """Sends with threads."""

    def __init__(self, ssl_context: ssl.SSLContext, options: PoolOptions, total: Slots | None = None) -> None:
        self.ssl_context = ssl_context
        together = Together(options, total)

        def build(endpoint: Endpoint) -> EndpointTransport:
            pool = BlockingPool(endpoint, ssl_context, options, together)
            together.join(pool)
            return EndpointTransport(pool, ssl_context)

        self._transports = _Transports(build)

    async def send(self, call: RoutedCall) -> httpx.Response:
        """Send the call's request to the endpoint of its latest attempt. Never suspends."""
        attempt = call.attempts[-1]
        transport = self._transports.of(attempt.endpoint)
        request: httpx.Request = call.request
        response = transport.handle_request(sibling(request, {**request.extensions, CALL: call}))
        return receive(call, attempt, response)

    async def discard(self, response: httpx.Response, /) -> bool:
        """Drop an answer that will hardly be handed out; tells whether it still could be."""
        return discard(response)

    def abandon(self, call: RoutedCall, /) -> None:
        """End a send that has lost to another one: nothing else can stop its thread."""
        wire = call.attempts[-1].wire if call.attempts else None
        if isinstance(wire, Wire):
            wire.give_up(call)

    def close_endpoint(self, endpoint: Endpoint) -> None:
        """Close what is idle at an endpoint that has left."""
        transport = self._transports.remove(endpoint)
        if transport is not None:
            transport.close()

    def leave_behind(self) -> None:
        """Drop what a forked child has inherited; its parent goes on using it. Takes no lock: who holds it is gone."""
        for transport in self._transports.inherited():
            transport.pool.drop_idle()

    def close(self) -> None:
        """Close all connections that are idle, and the others when they are done."""
        for transport in self._transports.all():
            transport.close()


class AsyncExchange:
    """Sends with tasks."""

    def __init__(self, ssl_context: ssl.SSLContext, options: PoolOptions, total: Slots | None = None) -> None:
        self.ssl_context = ssl_context
        together = Together(options, total)

        def build(endpoint: Endpoint) -> AsyncEndpointTransport:
            pool = AsyncPool(endpoint, ssl_context, options, together)
            together.join(pool)
            return AsyncEndpointTransport(pool, ssl_context)

        self._transports = _Transports(build)

    async def send(self, call: RoutedCall) -> httpx.Response:
        """Send the call's request to the endpoint of its latest attempt."""
        attempt = call.attempts[-1]
        transport = self._transports.of(attempt.endpoint)
        request: httpx.Request = call.request
        response = await transport.handle_async_request(sibling(request, {**request.extensions, CALL: call}))
        return await areceive(call, attempt, response)

    async def discard(self, response: httpx.Response, /) -> bool:
        """Drop an answer that will hardly be handed out; tells whether it still could be."""
        return await adiscard(response)

    def leave_behind(self) -> None:
        """Drop what a forked child has inherited: its sockets belong to a loop that runs in the parent alone."""

    async def close_endpoint(self, endpoint: Endpoint) -> None:
        """Close what is idle at an endpoint that has left."""
        transport = self._transports.remove(endpoint)
        if transport is not None:
            await transport.aclose()

    async def close(self) -> None:
        """Close all connections that are idle, and the others when they are done."""
        for transport in self._transports.all():
            await transport.aclose()


# From the headers on. Sync and async differ in nothing but their awaits; they read side by side.


def receive(call: RoutedCall, attempt: Attempt, response: httpx.Response) -> httpx.Response:
    """Take over an answer at its headers, with its body where that belongs to the attempt."""
    at_headers(call, attempt, response)
    stream = cast("httpx.SyncByteStream", response.stream)
    if isinstance(stream, httpx.ByteStream):  # a mock's: it is all there, and nobody may ever read it
        return response
    chunks = iter(stream) if attempt.wire is not None else in_turn(call, iter(stream))
    most = within_attempt(call)
    if not most:
        response.stream = BlockingBody(call, attempt, stream, chunks, ())
        return response
    head: list[bytes] = []
    size = 0
    try:
        for chunk in chunks:
            head.append(chunk)
            size += len(chunk)
            if size > most:
                response.stream = BlockingBody(call, attempt, stream, chunks, tuple(head))
                return response
    except BaseException:
        stream.close()
        raise
    stream.close()
    response.stream = httpx.ByteStream(b"".join(head))
    return response


async def areceive(call: RoutedCall, attempt: Attempt, response: httpx.Response) -> httpx.Response:
    """Take over an answer at its headers, with its body where that belongs to the attempt."""
    at_headers(call, attempt, response)
    stream = cast("httpx.AsyncByteStream", response.stream)
    if isinstance(stream, httpx.ByteStream):
        return response
    chunks = stream.__aiter__()
    if attempt.wire is None and call.body_until != math.inf:
        chunks = in_time(call, chunks)
    most = within_attempt(call)
    if not most:
        response.stream = AsyncBody(call, attempt, stream, chunks, ())
        return response
    head: list[bytes] = []
    size = 0
    try:
        async for chunk in chunks:
            head.append(chunk)
            size += len(chunk)
            if size > most:
                response.stream = AsyncBody(call, attempt, stream, chunks, tuple(head))
                return response
    except BaseException:
        async with call.runtime.shield():
            await stream.aclose()
        raise
    await stream.aclose()
    response.stream = httpx.ByteStream(b"".join(head))
    return response


def within_attempt(call: RoutedCall) -> float:
    """Return how many bytes of the body belong to the attempt: none of what the caller wants to stream."""
    if not call.buffered:
        return 0
    if call.must_read:
        return packed(call.must_read)
    return BUFFER if call.repeatable else 0


def packed(size: float) -> float:
    """Return how long a body of that size may be when it is compressed."""
    return size + size / 1000 + PACKAGING


def at_headers(call: RoutedCall, attempt: Attempt, response: httpx.Response) -> None:
    """Note that the headers are there: from now on the body's deadline counts."""
    attempt.status = response.status_code
    attempt.answered = call.runtime.now()
    wire = attempt.wire
    if wire is not None:
        wire.until = call.body_until


def discard(response: httpx.Response) -> bool:
    """Take what is small off the connection, so that both can be kept; close the rest. Tells whether it was kept."""
    stream = cast("httpx.SyncByteStream", response.stream)
    if isinstance(stream, httpx.ByteStream):
        return True
    kept: list[bytes] | None = [] if _small(response) else None
    try:
        if kept is not None:
            _hurry(stream)
            kept.extend(stream)
    except httpx.HTTPError:  # it was to be dropped anyway
        kept = None
    finally:
        stream.close()
    return _keep(response, kept)


async def adiscard(response: httpx.Response) -> bool:
    """Take what is small off the connection, so that both can be kept; close the rest. Tells whether it was kept."""
    stream = cast("httpx.AsyncByteStream", response.stream)
    if isinstance(stream, httpx.ByteStream):
        return True
    kept: list[bytes] | None = [] if _small(response) else None
    try:
        if kept is not None:
            _hurry(stream)
            kept.extend([chunk async for chunk in stream])
    except httpx.HTTPError:  # it was to be dropped anyway
        kept = None
    finally:
        async with ANYIO.shield():
            await stream.aclose()
    return _keep(response, kept)


def _hurry(stream: object) -> None:
    if isinstance(stream, BlockingBody | AsyncBody):
        stream.hurry(DRAIN_TIME)


def _keep(response: httpx.Response, kept: list[bytes] | None) -> bool:
    if kept is not None:
        response.stream = httpx.ByteStream(b"".join(kept))
    return kept is not None


def _small(response: httpx.Response) -> bool:
    length = response.headers.get("content-length", "")
    return length.isdecimal() and int(length) <= DRAIN
