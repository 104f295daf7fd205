"""What routes do to a request on its way: another service, and copies for the shadows."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# httpx declares `extensions` as a bare dict: mypy, strict too, checks this file.

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from resilience.core.propagation import inbound
from resilience.http.private import sibling
from resilience.http.whole import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx

    from resilience.http.routes import Routes
    from resilience.http.upstream import Upstream

_KEPT = ("timeout", "sni_hostname")
"""Extensions of a request that are its copy's too."""


def way(url: httpx.URL, place: tuple[str, int | None]) -> httpx.URL:
    """Return the URL of the service that a request goes to."""
    host, port = place
    return url.copy_with(host=host, port=url.port if port is None else port)


def addressed(request: httpx.Request, url: httpx.URL) -> httpx.Request:
    """Return the request for somebody else's transport, which connects by the URL: the rest says what it said.

    ``Host`` is kept, and so is the name that a certificate has to be for.
    """
    twin = sibling(request, {"sni_hostname": request.url.host, **request.extensions})
    twin.url = url
    return twin


def copied(request: httpx.Request) -> httpx.Request:
    """Return a copy for a shadow, with the same body: one that is shareable."""
    kept: dict[str, Any] = {name: request.extensions[name] for name in _KEPT if name in request.extensions}
    return sibling(request, {**kept, OPTIONS: {"retry": False}})


async def shadowed(
    request: httpx.Request,
    upstream: Upstream,
    discard: Callable[[httpx.Response], Awaitable[object]],
) -> None:
    """Send a copy, once, and drop the answer, whatever it is."""
    inbound.set(None)  # in a context of its own: what becomes of it says nothing about the answer its caller gives
    with suppress(Exception):
        call, chain = upstream.call_for(request, None)
        await discard(await upstream.enter(call, chain))


def places(
    routes: Routes, request: httpx.Request, now: float
) -> tuple[httpx.URL, list[tuple[httpx.URL, httpx.Request]]]:
    """Return the URL of the service that the request goes to, and those of its shadows, each with its copy."""
    url = request.url
    shadows = [(way(url, place), copied(request)) for place in routes.mirrors(request, now)]
    taken = routes.of(request)
    return (url if taken is None else way(url, taken)), shadows
