"""The private names of httpx and httpcore that this library needs, all of them, in one place.

`_pool`: an ``HTTPTransport`` has no argument for its pool. `_init_transport` and `_init_proxy_transport`: a client has
none for what it builds. `_stream`: a file given as ``content=`` is to be rewound before it is sent again. `_retries`: a
transport below may retry too. `_connection`, `_h2_state` and `_write_outgoing_data`: httpcore does not reset the stream
of a call that was cancelled, so its answer would go on using up the connection's flow-control window. `_h11_state`:
nor does it look whether a server has said more than its answer, which the next call would take for its own.
``tests/http/test_private.py`` fails loudly when any of them changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    import ssl

    import httpcore

    from resilience.http.pool_async import AsyncPool
    from resilience.http.pool_blocking import BlockingPool


# RFC 9113 7.
_CANCEL = 8


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


async def reset_stream(connection: httpcore.AsyncHTTPConnection, stream: int, request: httpcore.Request) -> None:
    """Tell the server that nobody waits for this stream any more (RFC 9113 5.4.2, CANCEL); best effort."""
    http2: Any = connection._connection  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    state = getattr(http2, "_h2_state", None)
    if state is None:
        return
    try:
        state.reset_stream(stream, error_code=_CANCEL)
        await http2._write_outgoing_data(request)  # noqa: SLF001
    except Exception:  # noqa: BLE001 - it had ended already, or the connection is gone: then there is nothing to tell
        return


def surplus(connection: httpcore.HTTPConnection | httpcore.AsyncHTTPConnection) -> bool:
    """Tell whether more has come over an idle HTTP/1.1 connection than the answer that was asked for."""
    state = getattr(getattr(connection, "_connection", None), "_h11_state", None)
    return state is not None and bool(state.trailing_data[0])


def file_behind(stream: object) -> Any | None:  # noqa: ANN401 - whatever has `read` and `seek`
    """Return the file that was given as ``content=``, or None."""
    inner = getattr(stream, "_stream", None)
    return inner if hasattr(inner, "read") and hasattr(inner, "seek") else None


def retries_below(transport: object) -> int:
    """Return how many retries a transport of somebody else's makes itself, as far as can be told."""
    if type(transport).__module__.partition(".")[0] == "httpx_retries":
        return int(getattr(getattr(transport, "retry", None), "total", 1))
    retries = getattr(getattr(transport, "_pool", None), "_retries", 0)
    return retries if isinstance(retries, int) else 0
