"""`/livez` and `/readyz` in front of applications of both kinds."""

from __future__ import annotations

import signal
import threading
from typing import Any

import anyio
import httpx
import pytest

import resilience
from resilience.health import App

BASE = "http://server"


async def hello(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    headers = [(b"content-type", b"text/plain"), (b"connection", b"keep-alive")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


def greet(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("content-type", "text/plain")])
    return [environ["PATH_INFO"].encode()]


class Served:
    """An application behind httpx, of either kind."""

    def __init__(self, kind: str, inner: bool = True, **options: Any) -> None:
        self.kind = kind
        self.app = App({"asgi": hello, "wsgi": greet}[kind] if inner else None, **options)

    async def request(self, method: str, path: str) -> httpx.Response:
        if self.kind == "wsgi":
            return self.blocking(method, path)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=BASE) as client:
            return await client.request(method, path)

    def blocking(self, method: str, path: str) -> httpx.Response:
        with httpx.Client(transport=httpx.WSGITransport(self.app.wsgi), base_url=BASE) as client:
            return client.request(method, path)

    async def get(self, path: str) -> httpx.Response:
        return await self.request("GET", path)


@pytest.fixture(params=["asgi", "wsgi"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


async def test_alive_and_ready_and_the_rest_is_the_applications(kind: str) -> None:
    served = Served(kind, about={"version": "7"})
    for path in ("/livez", "/readyz"):
        response = await served.get(path)
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/health+json"
        assert response.headers["cache-control"] == "no-store"
        assert response.json() == {"status": "pass", "version": "7"}
    assert (await served.get("/anything")).text == "/anything"
    assert served.app.in_flight == 0


async def test_heads_are_answered_and_other_methods_are_not(kind: str) -> None:
    served = Served(kind)
    head = await served.request("HEAD", "/readyz")
    assert (head.status_code, head.content) == (200, b"")
    post = await served.request("POST", "/livez")
    assert (post.status_code, post.headers["allow"]) == (405, "GET, HEAD")


async def test_alone_it_knows_nothing_else(kind: str) -> None:
    served = Served(kind, inner=False, live="/healthz")
    assert (await served.get("/healthz")).status_code == 200
    assert (await served.get("/livez")).status_code == 404


async def test_draining_fails_ready_alone(kind: str) -> None:
    served = Served(kind)
    served.app.drain()
    ready = await served.get("/readyz")
    assert (ready.status_code, ready.json()["output"]) == (503, "draining")
    assert (await served.get("/livez")).status_code == 200
    answer = await served.get("/anything")
    assert answer.status_code == 200
    if kind == "asgi":
        assert answer.headers.get_list("connection") == ["close"]


async def test_starting(kind: str) -> None:
    served = Served(kind, started=False)
    assert (await served.get("/readyz")).json() == {"status": "fail", "output": "starting"}
    served.app.start()
    assert (await served.get("/readyz")).status_code == 200


async def test_what_it_requires_counts_by_what_its_client_knows(kind: str) -> None:
    down = httpx.MockTransport(lambda _request: httpx.Response(503))
    service = resilience.Service(retry=None, circuit=resilience.CircuitBreaker(minimum_calls=1, consecutive_failures=1))
    with resilience.Client(transport=down, defaults=service) as client:
        served = Served(kind, requires={"payments": client})
        assert (await served.get("/readyz")).json()["checks"] == {
            "payments": [{"status": "pass", "output": "not called yet"}]
        }
        client.get("http://payments/")
        ready = await served.get("/readyz")
        assert (ready.status_code, ready.json()["output"]) == (503, "cannot do without payments")
        assert (await served.get("/livez")).status_code == 200


async def test_over_http_2_nothing_is_said_of_the_connection() -> None:
    app = App(hello)
    app.drain()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    for path in ("/x", "/readyz"):
        await app({"type": "http", "http_version": "2", "method": "GET", "path": path}, None, send)  # type: ignore[arg-type]
    headers = [dict(message["headers"]) for message in sent if "headers" in message]
    assert [found.get(b"connection") for found in headers] == [b"keep-alive", None]


# The lifespan.


async def live_through(app: App, messages: list[str]) -> list[str]:
    sent: list[str] = []
    left = iter(messages)

    async def receive() -> Any:
        return {"type": f"lifespan.{next(left)}"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    return sent


@pytest.fixture
def untouched() -> Any:
    """SIGTERM is handled after the test as before it."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


async def test_ready_begins_when_startup_is_complete(untouched: Any) -> None:
    seen: list[int] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        seen.append(app.ready().code)
        await send({"type": "lifespan.startup.complete"})
        seen.append(app.ready().code)

    app = App(inner)
    assert await live_through(app, ["startup"]) == ["lifespan.startup.complete"]
    assert seen == [503, 200]


async def test_a_failed_startup_never_is_ready(untouched: Any) -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.failed", "message": "no"})

    app = App(inner)
    await live_through(app, ["startup"])
    assert app.ready().code == 503


async def test_an_application_without_a_lifespan_is_ready_at_once(untouched: Any) -> None:
    app = App(hello)
    with pytest.raises(AssertionError):
        await live_through(app, ["startup"])
    assert app.ready().code == 200


async def test_alone_it_has_a_lifespan_of_its_own(untouched: Any) -> None:
    app = App()
    assert await live_through(app, ["startup", "shutdown"]) == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert app.ready().code == 200


async def test_sigterm_makes_ready_fail_first_and_is_then_passed_on(untouched: Any) -> None:
    passed = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: passed.set())
    app = App(grace=0)
    await live_through(app, ["startup", "shutdown"])
    signal.raise_signal(signal.SIGTERM)
    assert app.draining
    while not passed.is_set():
        await anyio.lowlevel.checkpoint()


# In flight.


async def test_what_is_in_flight_is_counted_to_its_end() -> None:
    seen: list[int] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(app.in_flight)
        raise RuntimeError

    app = App(inner)
    with pytest.raises(RuntimeError):
        await app({"type": "websocket", "path": "/"}, None, None)  # type: ignore[arg-type]
    assert (seen, app.in_flight) == ([1], 0)


@pytest.mark.parametrize("closes", [True, False])
def test_a_wsgi_body_counts_until_it_is_closed(closes: bool) -> None:
    closed: list[int] = []

    class Body(list[bytes]):
        def close(self) -> None:
            closed.append(1)

    app = App(lambda _environ, _start: Body([b"x"]) if closes else [b"x"])
    body: Any = app.wsgi({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, print)
    assert list(body) == [b"x"]
    assert app.in_flight == 1
    body.close()
    body.close()
    assert app.in_flight == 0
    assert closed == [1, 1] * closes


def test_a_wsgi_application_that_raises_is_not_in_flight() -> None:
    def inner(_environ: Any, _start: Any) -> list[bytes]:
        raise RuntimeError

    app = App(inner)
    with pytest.raises(RuntimeError):
        app.wsgi({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, print)
    assert app.in_flight == 0


async def test_what_is_nobodys_is_left_alone() -> None:
    await App()({"type": "websocket", "path": "/"}, None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("argument", "given"),
    [
        ("live", {"live": "livez"}),
        ("ready", {"ready": 3}),
        ("grace", {"grace": -1}),
        ("finish", {"finish": float("inf")}),
        ("requires", {"requires": {"payments": "client"}}),
    ],
)
def test_bad_arguments(argument: str, given: dict[str, Any]) -> None:
    with pytest.raises(resilience.ConfigurationError, match=argument):
        App(**given)


def test_the_signal_is_for_the_main_thread() -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(App().handle_sigterm()))
    thread.start()
    thread.join()
    assert found == [False]
