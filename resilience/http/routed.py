"""Policies around a transport that stands for the network itself: it is told which endpoint each attempt goes to.

Such a transport says ``routed = True``. Discovery and balancing stay on, except that ``Auto()`` takes a name for one
endpoint: nothing is looked up. Two request extensions tell it where an attempt goes and how long it may take; it keeps
that limit itself, and counts what it takes for sent and received (``testing/script.py`` does).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpcore
import httpx

from resilience.discovery.auto import Auto
from resilience.http.arguments import able
from resilience.http.exchange import areceive, receive
from resilience.http.foreign import AsyncForeignExchange, BlockingForeignExchange
from resilience.http.private import sibling
from resilience.http.wire import Wire

if TYPE_CHECKING:
    from resilience.core.call import RoutedCall
    from resilience.http.service import Service

ENDPOINT = "resilience.endpoint"
"""The request extension with the attempt's ``host:port``."""
WIRE = "resilience.wire"
"""The request extension with the attempt's :class:`Wire`."""


class BlockingRoutedExchange(BlockingForeignExchange):
    """Sends through such a transport, with threads."""

    routed = True

    async def send(self, call: RoutedCall) -> httpx.Response:
        """Send one attempt. Never suspends."""
        request = await _addressed(call)
        return receive(call, call.attempts[-1], self._transport.handle_request(request))


class AsyncRoutedExchange(AsyncForeignExchange):
    """Sends through such a transport, with tasks."""

    routed = True

    async def send(self, call: RoutedCall) -> httpx.Response:
        """Send one attempt."""
        request = await _addressed(call)
        return await areceive(call, call.attempts[-1], await self._transport.handle_async_request(request))


def blocking_around(transport: Any) -> BlockingForeignExchange:  # noqa: ANN401 - somebody's transport
    """Return the exchange that sends through somebody's transport; ConfigurationError for what is none."""
    kind = BlockingRoutedExchange if routed(transport) else BlockingForeignExchange
    return kind(able(transport, "handle_request"))


def async_around(transport: Any) -> AsyncForeignExchange:  # noqa: ANN401 - somebody's transport
    """Return the exchange that sends through somebody's transport; ConfigurationError for what is none."""
    kind = AsyncRoutedExchange if routed(transport) else AsyncForeignExchange
    return kind(able(transport, "handle_async_request"))


def routed(transport: object) -> bool:
    """Tell whether a transport wants to be told which endpoint an attempt goes to."""
    return getattr(transport, "routed", False) is True


def connects_itself(transport: object, service: Service) -> bool:
    """Tell whether whoever is behind a transport finds its way by the name alone."""
    if transport is None:
        return False
    return not routed(transport) or isinstance(service.discovery, Auto)


async def _addressed(call: RoutedCall) -> httpx.Request:
    request: httpx.Request = call.request
    attempt = call.attempts[-1]
    wire = Wire(attempt.endpoint)
    wire.begin(call, attempt)
    timeouts: dict[str, float | None] = request.extensions.get("timeout") or {}
    try:
        host, port = (await wire.addresses(call.runtime, timeouts.get("connect")))[0]
    except httpcore.ConnectTimeout as error:
        raise httpx.ConnectTimeout(str(error), request=request) from error
    label = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return sibling(request, {**request.extensions, ENDPOINT: label, WIRE: wire})
