"""The private names of httpx that the library leans on: when httpx changes one, this fails, and says which."""

import inspect
from pathlib import Path

import httpcore
import httpx
import pytest

from resilience.http import private
from tests.http.support import CONTEXT

CLIENTS = [httpx.Client, httpx.AsyncClient]
TRANSPORTS = [httpx.HTTPTransport, httpx.AsyncHTTPTransport]


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_pool_is_where_a_transport_sends_and_closes(kind: type) -> None:
    transport = kind(verify=CONTEXT)
    assert isinstance(transport._pool, httpcore.ConnectionPool | httpcore.AsyncConnectionPool)
    assert isinstance(transport._pool._retries, int)
    blocking = kind is httpx.HTTPTransport
    send, close = (kind.handle_request, kind.close) if blocking else (kind.handle_async_request, kind.aclose)
    assert f"self._pool.{send.__name__}(" in inspect.getsource(send)
    assert f"self._pool.{close.__name__}()" in inspect.getsource(close)


@pytest.mark.parametrize("kind", CLIENTS)
def test_init_transport_builds_what_a_client_sends_through(kind: type) -> None:
    parameters = inspect.signature(kind._init_transport).parameters
    assert set(parameters) == {"self", "verify", "cert", "trust_env", "http1", "http2", "limits", "transport"}
    assert "self._transport = self._init_transport(" in inspect.getsource(kind.__init__)


@pytest.mark.parametrize("kind", CLIENTS)
def test_init_proxy_transport_builds_what_goes_through_a_proxy(kind: type) -> None:
    parameters = inspect.signature(kind._init_proxy_transport).parameters
    assert set(parameters) == {"self", "proxy", "verify", "cert", "trust_env", "http1", "http2", "limits"}
    source = inspect.getsource(kind.__init__)
    assert "self._init_proxy_transport(" in source
    assert "self._mounts" in source


@pytest.mark.parametrize("kind", CLIENTS)
def test_every_call_passes_send(kind: type) -> None:
    for entry in (kind.request, kind.stream):
        assert "self.send(" in inspect.getsource(entry)
    parameters = inspect.signature(kind.send).parameters
    assert list(parameters) == ["self", "request", "stream", "auth", "follow_redirects"]


def test_a_sibling_shares_everything_but_its_extensions() -> None:
    request = httpx.Request("POST", "http://web.test/", content=b"x", extensions={"a": 1})
    twin = private.sibling(request, {"b": 2})
    assert set(vars(twin)) == set(vars(request))
    assert (twin.extensions, request.extensions) == ({"b": 2}, {"a": 1})
    assert (twin.stream, twin.headers, twin.url) == (request.stream, request.headers, request.url)
    assert twin.stream is request.stream


def test_a_file_is_found_behind_the_stream_that_sends_it() -> None:
    with Path(__file__).open("rb") as file:
        assert private.file_behind(httpx.Request("PUT", "http://web.test/", content=file).stream) is file
    for content in (b"x", None, iter([b"x"]), [b"x"]):
        assert private.file_behind(httpx.Request("PUT", "http://web.test/", content=content).stream) is None


def test_a_requests_error_knows_its_request_by_this_name() -> None:
    error = httpx.ConnectError("no")
    with pytest.raises(RuntimeError):
        _ = error.request
    error._request = httpx.Request("GET", "http://web.test/")
    assert error.request.method == "GET"


@pytest.mark.parametrize("kind", [httpcore.HTTPConnection, httpcore.AsyncHTTPConnection])
def test_the_public_names_of_httpcore_suffice_and_are_there(kind: type) -> None:
    assert set(inspect.signature(kind).parameters) >= {
        "origin",
        "ssl_context",
        "keepalive_expiry",
        "http1",
        "http2",
        "uds",
        "local_address",
        "socket_options",
        "network_backend",
    }
    for name in ("has_expired", "is_idle", "is_closed"):
        assert callable(getattr(kind, name))


def test_a_stream_of_http2_can_be_reset() -> None:
    assert "self._connection" in inspect.getsource(httpcore.AsyncHTTPConnection.__init__)
    kind = httpcore.AsyncHTTP2Connection
    assert "self._h2_state" in inspect.getsource(kind.__init__)
    assert list(inspect.signature(kind._write_outgoing_data).parameters) == ["self", "request"]


@pytest.mark.parametrize("kind", [httpcore.HTTP11Connection, httpcore.AsyncHTTP11Connection])
def test_what_came_unasked_over_http1_can_be_seen(kind: type) -> None:
    assert "self._h11_state = h11.Connection(" in inspect.getsource(kind.__init__)
    assert private.surplus(httpcore.HTTPConnection(httpcore.Origin(b"http", b"web.test", 80))) is False
