"""The connections to one endpoint: a last-in-first-out list of idle ones, nothing else.

httpcore's own pool looks at every connection, and polls every idle socket, on each request; here the one connection
that is taken is checked, and the oldest idle one is dropped when its time is over. How many may be open at once is
decided before (slots), so nobody ever waits in here.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# httpx and httpcore declare `extensions` as a bare dict: mypy, strict too, checks this file.

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import httpcore

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from resilience.core.endpoint import Endpoint
    from resilience.http.options import PoolOptions
    from resilience.http.together import Together
    from resilience.http.wire import Wire

CALL = "resilience_call"
"""Where a request's extensions carry the call it belongs to, down to the connection."""

# What a connection that the server closed while it was idle raises when it is used again.
DISCONNECTED = (httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError)


class IdleLists:
    """Idle connections by what they were verified for: origin, and the server name that TLS was asked to check."""

    def __init__(
        self, endpoint: Endpoint, ssl_context: ssl.SSLContext | None, options: PoolOptions, together: Together
    ) -> None:
        self.endpoint = endpoint
        self.ssl_context = ssl_context
        self.options = options
        self.together = together
        self.idle: dict[tuple[bytes, bytes, int | None, str | None], deque[Any]] = {}
        self.opened = 0
        """Connections dialled so far."""
        self.closing = False

    def list_for(self, request: httpcore.Request) -> deque[Any]:
        """Return the idle connections that may serve this request."""
        url = request.url
        key = (url.scheme, url.host, url.port, request.extensions.get("sni_hostname"))
        found = self.idle.get(key)
        return found if found is not None else self.idle.setdefault(key, deque())

    def idle_count(self) -> int:
        """Return how many connections are idle now."""
        return sum(len(connections) for connections in self.idle.values())

    def oldest(self) -> Any | None:  # noqa: ANN401 - a connection of the pool's kind
        """Take out the connection that has been idle for longest; None when there is none."""
        for connections in list(self.idle.values()):
            try:
                return connections.popleft()
            except IndexError:
                continue
        return None

    def take_all(self) -> list[Any]:
        """Empty the lists; the caller closes what was in them."""
        taken: list[Any] = []
        for connections in list(self.idle.values()):
            while connections:
                try:
                    taken.append(connections.pop())
                except IndexError:  # another thread was faster
                    break
        return taken

    def arguments(self, request: httpcore.Request, wire: Wire) -> dict[str, Any]:
        """Return what httpcore's connections take."""
        options = self.options
        wire.prior_knowledge = options.http2 and not options.http1
        return {
            "origin": request.url.origin,
            "ssl_context": self.ssl_context,
            "keepalive_expiry": options.keepalive_expiry,
            "http1": options.http1,
            "http2": options.http2,
            "uds": options.uds,
            "local_address": options.local_address,
            "socket_options": options.socket_options,
            "network_backend": wire,
        }


def socket_options(given: Iterable[Any] | None) -> list[Any] | None:
    """Return a list that can be used for every connection: an iterator would be empty at the second."""
    return None if given is None else list(given)
