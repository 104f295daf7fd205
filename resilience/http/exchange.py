"""Sends one attempt to one endpoint, over a pool of the endpoint's own.

A repeatable call whose caller wants the whole body has up to 1 MiB of it read here, inside the attempt, so that a
truncated answer is a failed attempt like any other. Everything else commits at its headers.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import httpx

from resilience.http.body import AsyncBody, BlockingBody
from resilience.http.pool import CALL, AsyncPool, BlockingPool
from resilience.http.private import AsyncEndpointTransport, EndpointTransport, sibling

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from resilience.core.attempt import Attempt
    from resilience.core.call import RoutedCall
    from resilience.core.endpoint import Endpoint
    from resilience.http.options import PoolOptions

# Bytes of body read inside an attempt.
BUFFER = 1024 * 1024
# Bytes of an answer that will not be handed out which are worth reading to keep its connection.
DRAIN = 64 * 1024

TransportT = TypeVar("TransportT", EndpointTransport, AsyncEndpointTransport)


class _Transports(Generic[TransportT]):
    """One transport per endpoint, made when it is first sent to."""

    def __init__(self, build: Callable[[Endpoint], TransportT]) -> None:
        self._build = build
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

    def all(self) -> list[TransportT]:
        with self._lock:
            return list(self._by_endpoint.values())


class BlockingExchange:
    """Sends with threads."""

    def __init__(self, ssl_context: ssl.SSLContext, options: PoolOptions) -> None:
        self._transports = _Transports(
            lambda endpoint: EndpointTransport(BlockingPool(endpoint, ssl_context, options), ssl_context)
        )

    async def send(self, call: RoutedCall) -> httpx.Response:
        """Send the call's request to the endpoint of its latest attempt. Never suspends."""
        attempt = call.attempts[-1]
        transport = self._transports.of(attempt.endpoint)
        request: httpx.Request = call.request
        response = transport.handle_request(sibling(request, {**request.extensions, CALL: call}))
        return receive(call, attempt, response)

    async def discard(self, response: httpx.Response, /) -> None:
        """Drop an answer that will not be handed out."""
        discard(response)

    def close_endpoint(self, endpoint: Endpoint) -> None:
        """Close what is idle at an endpoint that has left."""
        transport = self._transports.remove(endpoint)
        if transport is not None:
            transport.close()

    def close(self) -> None:
        """Close all connections that are idle, and the others when they are done."""
        for transport in self._transports.all():
            transport.close()


class AsyncExchange:
    """Sends with tasks."""

    def __init__(self, ssl_context: ssl.SSLContext, options: PoolOptions) -> None:
        self._transports = _Transports(
            lambda endpoint: AsyncEndpointTransport(AsyncPool(endpoint, ssl_context, options), ssl_context)
        )

    async def send(self, call: RoutedCall) -> httpx.Response:
        """Send the call's request to the endpoint of its latest attempt."""
        attempt = call.attempts[-1]
        transport = self._transports.of(attempt.endpoint)
        request: httpx.Request = call.request
        response = await transport.handle_async_request(sibling(request, {**request.extensions, CALL: call}))
        return await areceive(call, attempt, response)

    async def discard(self, response: httpx.Response, /) -> None:
        """Drop an answer that will not be handed out."""
        await adiscard(response)

    async def close_endpoint(self, endpoint: Endpoint) -> None:
        """Close what is idle at an endpoint that has left."""
        transport = self._transports.remove(endpoint)
        if transport is not None:
            await transport.aclose()

    async def close(self) -> None:
        """Close all connections that are idle, and the others when they are done."""
        for transport in self._transports.all():
            await transport.aclose()


# From the headers on. Sync and async differ in nothing but their awaits; each is short enough to be read beside the other.


def receive(call: RoutedCall, attempt: Attempt, response: httpx.Response) -> httpx.Response:
    """Take over an answer at its headers, with its body where that belongs to the attempt."""
    _at_headers(call, attempt, response)
    stream = cast("httpx.SyncByteStream", response.stream)
    chunks = iter(stream)
    if not (call.buffered and call.repeatable):
        response.stream = BlockingBody(call, attempt, stream, chunks, ())
        return response
    head: list[bytes] = []
    size = 0
    try:
        for chunk in chunks:
            head.append(chunk)
            size += len(chunk)
            if size > BUFFER:
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
    _at_headers(call, attempt, response)
    stream = cast("httpx.AsyncByteStream", response.stream)
    chunks = stream.__aiter__()
    if not (call.buffered and call.repeatable):
        response.stream = AsyncBody(call, attempt, stream, chunks, ())
        return response
    head: list[bytes] = []
    size = 0
    try:
        async for chunk in chunks:
            head.append(chunk)
            size += len(chunk)
            if size > BUFFER:
                response.stream = AsyncBody(call, attempt, stream, chunks, tuple(head))
                return response
    except BaseException:
        await stream.aclose()
        raise
    await stream.aclose()
    response.stream = httpx.ByteStream(b"".join(head))
    return response


def _at_headers(call: RoutedCall, attempt: Attempt, response: httpx.Response) -> None:
    attempt.status = response.status_code
    attempt.answered = call.runtime.now()
    wire = attempt.wire
    if wire is not None:
        wire.until = call.body_until  # type: ignore[misc]  # ours; the port only promises to read


def discard(response: httpx.Response) -> None:
    """Read what is small, so that its connection can be kept; close the rest."""
    stream = cast("httpx.SyncByteStream", response.stream)
    if isinstance(stream, httpx.ByteStream):
        return
    try:
        if _small(response):
            for _ in stream:
                pass
    except httpx.HTTPError:  # it was to be dropped anyway
        pass
    finally:
        stream.close()


async def adiscard(response: httpx.Response) -> None:
    """Read what is small, so that its connection can be kept; close the rest."""
    stream = cast("httpx.AsyncByteStream", response.stream)
    if isinstance(stream, httpx.ByteStream):
        return
    try:
        if _small(response):
            async for _ in stream:
                pass
    except httpx.HTTPError:  # it was to be dropped anyway
        pass
    finally:
        await stream.aclose()


def _small(response: httpx.Response) -> bool:
    length = response.headers.get("content-length", "")
    return length.isdecimal() and int(length) <= DRAIN
