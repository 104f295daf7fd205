"""The private names of httpx that this library needs, all of them, in one place.

`_pool`: an ``HTTPTransport`` has no argument for its pool. `_init_transport` and `_init_proxy_transport`: a client has
none for what it builds. ``tests/http/test_private.py`` fails loudly when httpx changes any of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    import ssl

    from resilience.http.pool import AsyncPool, BlockingPool


class EndpointTransport(httpx.HTTPTransport):
    """httpx's transport over our pool. It overrides no method, so that mocks patched into httpx see each attempt."""

    def __init__(self, pool: BlockingPool, ssl_context: ssl.SSLContext) -> None:
        super().__init__(verify=ssl_context, trust_env=False)
        self._pool = pool  # type: ignore[assignment]
        self.pool = pool


class AsyncEndpointTransport(httpx.AsyncHTTPTransport):
    """httpx's transport over our pool. It overrides no method, so that mocks patched into httpx see each attempt."""

    def __init__(self, pool: AsyncPool, ssl_context: ssl.SSLContext) -> None:
        super().__init__(verify=ssl_context, trust_env=False)
        self._pool = pool  # type: ignore[assignment]
        self.pool = pool


def sibling(request: httpx.Request, extensions: dict[str, Any]) -> httpx.Request:
    """Return the same request with other extensions: header, body and URL objects are shared, nothing is changed.

    ``httpx.Request()`` would encode it again, and ``copy.copy`` drops the body.
    """
    twin = object.__new__(type(request))
    twin.__dict__.update(request.__dict__)
    twin.extensions = extensions
    return twin
