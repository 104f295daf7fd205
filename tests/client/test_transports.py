"""Around somebody else's transport the policies still hold: mocks, ASGI apps, unix sockets, httpx's own."""

import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, Self

import anyio.lowlevel
import httpx
import pytest

import resilience
from resilience.core.outcome import Sent
from tests.http.raw import head_of
from tests.http.support import MODES, Face, attempts

SWIFT = resilience.Service(retry=resilience.Retry(wait=0.001))


async def test_a_mock_transport_is_retried(mode: str) -> None:
    statuses = iter([503, 200])

    def app(request: httpx.Request) -> httpx.Response:
        assert "resilience_call" not in request.extensions
        return httpx.Response(next(statuses), json={"path": request.url.path})

    async with Face(mode, transport=httpx.MockTransport(app), defaults=SWIFT) as face:
        response = await face.get("http://web.internal/x")
        assert response.json() == {"path": "/x"}
        assert attempts(response) == [("web.internal:80", 503, None), ("web.internal:80", 200, None)]
        assert face.in_flight() == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_nothing_stays_in_flight_whatever_the_body_is_made_of(mode: str, method: str) -> None:
    def blocking() -> Iterator[bytes]:
        yield b"ab"

    async def awaited() -> AsyncIterator[bytes]:
        yield b"ab"

    bodies: list[Any] = [b"ab", blocking if mode == "threads" else awaited]

    def app(request: httpx.Request) -> httpx.Response:
        body = bodies.pop(0)
        return httpx.Response(200, content=body() if callable(body) else body)

    async with Face(mode, transport=httpx.MockTransport(app)) as face:
        responses = [await face.request(method, "http://web.internal/") for _ in range(2)]
        assert [response.content for response in responses] == [b"ab", b"ab"]
        assert face.in_flight() == 0


class Ready(httpx.MockTransport):
    """Gets ready when it is entered, and tells what became of it."""

    def __init__(self) -> None:
        super().__init__(lambda _: httpx.Response(200))
        self.told: list[object] = []

    def __enter__(self) -> Self:
        self.told.append("entered")
        return self

    def __exit__(self, *how: object) -> None:
        self.told.append(how[0])

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *how: object) -> None:
        self.__exit__(*how)


async def test_a_transport_is_entered_and_left_as_by_httpx(mode: str) -> None:
    async def use(client: Any, url: str) -> None:
        if mode == "threads":
            with client:
                client.get(url)
                raise KeyError
        async with client:
            await client.get(url)
            raise KeyError

    main, mounted = Ready(), Ready()
    kind: Any = resilience.Client if mode == "threads" else resilience.AsyncClient
    ours: Any = resilience.Transport if mode == "threads" else resilience.AsyncTransport
    with pytest.raises(KeyError):
        await use(
            kind(transport=main, mounts={"http://other.internal": ours(transport=mounted)}), "http://web.internal/"
        )
    assert main.told == mounted.told == ["entered", KeyError]


async def test_a_transport_that_cannot_be_entered_is_closed(mode: str) -> None:
    class Bare:
        closed = False

        def close(self) -> None:
            self.closed = True

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            raise AssertionError("nothing is sent")

        async def aclose(self) -> None:
            self.closed = True

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise AssertionError("nothing is sent")

    bare: Any = Bare()
    if mode == "threads":
        with resilience.Client(transport=bare):
            pass
    else:
        async with resilience.AsyncClient(transport=bare):
            pass
    assert bare.closed


async def test_a_mocks_connect_error_proves_nothing(mode: str) -> None:
    sent: list[str] = []

    def app(request: httpx.Request) -> httpx.Response:
        sent.append(request.method)
        raise httpx.ConnectError("so it says", request=request)

    async with Face(mode, transport=httpx.MockTransport(app), defaults=SWIFT) as face:
        with pytest.raises(httpx.ConnectError):
            await face.post("http://web.internal/")
        with pytest.raises(httpx.ConnectError):
            await face.get("http://web.internal/")
    assert sent == ["POST", "GET", "GET", "GET"]


async def _app(scope: Any, receive: Any, send: Any) -> None:
    body = json.dumps({"path": scope["path"]}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize("mode", MODES[:2])
async def test_an_asgi_app(mode: str) -> None:
    async with resilience.AsyncClient(transport=httpx.ASGITransport(_app), base_url="http://app") as client:
        assert (await client.get("/a")).json() == {"path": "/a"}
        assert client.status().services["app:80"].endpoints[0].in_flight == 0


@pytest.mark.parametrize("mode", MODES[:2])
async def test_an_asgi_app_that_hangs_is_cut_at_the_deadline(mode: str) -> None:
    async def hangs(scope: Any, receive: Any, send: Any) -> None:
        await anyio.sleep_forever()

    service = resilience.Service(total_timeout=0.05)
    async with resilience.AsyncClient(transport=httpx.ASGITransport(hangs), defaults=service) as client:
        with pytest.raises(resilience.DeadlineExceededError) as caught:
            await client.get("http://app/")
        assert caught.value.sent is Sent.MAYBE
        assert client.status().services["app:80"].endpoints[0].in_flight == 0


@pytest.mark.parametrize("mode", MODES[:2])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_body_without_end_is_cut_at_the_deadline(mode: str, method: str) -> None:
    def blocking() -> Iterator[bytes]:
        while True:
            yield b"x"

    async def awaited() -> AsyncIterator[bytes]:
        while True:
            await anyio.lowlevel.checkpoint()
            yield b"x"

    def app(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=blocking() if mode == "threads" else awaited())

    async with Face(mode, transport=httpx.MockTransport(app), defaults=SWIFT) as face:
        with pytest.raises(resilience.DeadlineExceededError):
            await face.request(method, "http://web.internal/", extensions={"resilience": {"total_timeout": 0.05}})
        assert face.in_flight() == 0


async def test_what_an_app_calls_inside_does_not_inherit_the_call_around_it(mode: str) -> None:
    inner = resilience.AsyncTransport(transport=httpx.MockTransport(lambda _request: httpx.Response(200, text="in")))
    told: list[Any] = []

    async def calls_on(scope: Any, receive: Any, send: Any) -> None:
        async with httpx.AsyncClient(transport=inner) as client:
            response = await client.get("http://backend/")
        assert len(response.extensions["resilience"].attempts) == 1
        await _app(scope, receive, send)

    async with resilience.AsyncClient(transport=httpx.ASGITransport(calls_on), listeners=[told.append]) as client:
        response = await client.get("http://app/")
    assert attempts(response) == [("app:80", 200, None)]
    assert [event.service for event in told if event.name == "call"] == ["app:80"]


async def test_httpx_own_transport_around_a_real_server(mode: str, server: Any) -> None:
    inner = (httpx.HTTPTransport if mode == "threads" else httpx.AsyncHTTPTransport)()
    async with Face(mode, transport=inner) as face:
        server.fault(truncate=True)
        with pytest.raises(httpx.RemoteProtocolError) as caught:
            await face.get(f"{server.url}/bytes/1000")
        assert len(caught.value.attempts) == 3
        assert face.in_flight() == 0


async def test_a_unix_socket(mode: str, tmp_path: Any) -> None:
    path = str(tmp_path / "s")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def serve() -> None:
        for number in range(2):
            connection, _ = listener.accept()
            with connection:
                head = head_of(connection)
                if number:
                    assert b"host: docker" in head.lower()
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    kind = resilience.Transport if mode == "threads" else resilience.AsyncTransport
    async with Face(mode, transport=kind(uds=path, defaults=SWIFT)) as face:
        response = await face.get("http://docker/info")
        assert response.text == "ok"
        assert [status for _, status, _ in attempts(response)] == [None, 200]
    thread.join()
    listener.close()


async def test_a_unix_socket_that_is_not_there_is_refused(mode: str, tmp_path: Any) -> None:
    kind = resilience.Transport if mode == "threads" else resilience.AsyncTransport
    async with Face(mode, transport=kind(uds=str(tmp_path / "none"), defaults=SWIFT)) as face:
        with pytest.raises(httpx.ConnectError) as caught:
            await face.post("http://docker/info")
    assert len(caught.value.attempts) == 3  # nothing was sent, so a POST too is tried again


def test_retries_of_httpx_are_ignored_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="retries=3 is ignored"):
        transport = resilience.Transport(retries=3)
    transport.close()
    with pytest.warns(UserWarning, match="retries=2 is ignored"):
        resilience.AsyncTransport(retries=2)
