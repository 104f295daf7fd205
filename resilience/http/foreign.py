"""Policies around a transport that is not ours: a mock, an ASGI app, a proxy, another HTTP library.

Discovery and our pool are off; each origin is one endpoint. Nothing can be proved about what was sent, and time limits
are kept by cancelling (async) or by shortening httpx's own phases (threads).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# httpx and httpcore declare `extensions` as a bare dict: mypy, strict too, checks this file.

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import httpx

from resilience.http.exchange import adiscard, areceive, discard, receive
from resilience.http.private import sibling

if TYPE_CHECKING:
    from resilience.core.attempt import Attempt
    from resilience.core.call import RoutedCall
    from resilience.core.endpoint import Endpoint

_PHASES = ("connect", "read", "write", "pool")


class BlockingForeignExchange:
    """Sends through somebody's ``httpx.BaseTransport``."""

    def __init__(self, transport: httpx.BaseTransport) -> None:
        self._transport = transport

    async def send(self, call: RoutedCall) -> httpx.Response:
        """Send one attempt. Never suspends."""
        attempt = call.attempts[-1]
        request: httpx.Request = call.request
        response = self._transport.handle_request(sibling(request, _shortened(request, call, attempt)))
        return receive(call, attempt, response)

    async def discard(self, response: httpx.Response, /) -> bool:
        """Drop an answer that will hardly be handed out; tells whether it still could be."""
        return discard(response)

    def close_endpoint(self, endpoint: Endpoint) -> None:
        """Nothing of an endpoint is ours here."""

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()


class AsyncForeignExchange:
    """Sends through somebody's ``httpx.AsyncBaseTransport``."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def send(self, call: RoutedCall) -> httpx.Response:
        """Send one attempt, cancelled when its time is up."""
        attempt = call.attempts[-1]
        request: httpx.Request = call.request
        twin = sibling(request, _shortened(request, call, attempt))
        left = attempt.until - call.runtime.now()
        try:
            response = await call.runtime.limit(left, lambda: self._transport.handle_async_request(twin))
        except TimeoutError as error:
            if isinstance(error, httpx.HTTPError) or call.runtime.now() < attempt.until:
                raise
            message = f"no answer within the attempt's {attempt.until - attempt.started:.3g} s"
            raise httpx.ReadTimeout(message, request=request) from error
        return await areceive(call, attempt, response)

    async def discard(self, response: httpx.Response, /) -> bool:
        """Drop an answer that will hardly be handed out; tells whether it still could be."""
        return await adiscard(response)

    async def close_endpoint(self, endpoint: Endpoint) -> None:
        """Nothing of an endpoint is ours here."""

    async def close(self) -> None:
        """Close the transport."""
        await self._transport.aclose()


def _shortened(request: httpx.Request, call: RoutedCall, attempt: Attempt) -> dict[str, Any]:
    extensions = dict(request.extensions)
    if attempt.until != math.inf:
        left = max(attempt.until - call.runtime.now(), 0.001)  # some transports take 0 for "at once", or for "never"
        given = extensions.get("timeout") or {}
        phases = {}
        for phase in _PHASES:
            limit = given.get(phase)
            phases[phase] = left if limit is None else min(left, limit)
        extensions["timeout"] = phases
    return extensions
