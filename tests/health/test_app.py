"""`/livez` and `/readyz` in front of applications of both kinds."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import resilience
from resilience.health import App

BASE = "http://server"
KNOWS_NOTHING = SimpleNamespace(status=lambda: SimpleNamespace(services={}))


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


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("DB", "db"),
        ("db:080", "db:80"),
        ("Db:80", "db:80"),
        ("[::1]", "[::1]"),
        ("0::1", "[::1]"),
        ("[::1]:80", "[::1]:80"),
    ],
)
def test_a_requirement_is_found_however_it_is_spelled(name: str, shown: str) -> None:
    down = httpx.MockTransport(lambda _request: httpx.Response(503))
    service = resilience.Service(retry=None, circuit=resilience.CircuitBreaker(minimum_calls=1, consecutive_failures=1))
    with resilience.Client(transport=down, defaults=service) as client:
        app = App(requires={name: client})
        for url in ("http://dB/", "http://[0:0::1]/"):
            client.get(url)
        assert app.ready().output == f"cannot do without {shown}"


async def test_a_requirement_that_raises_is_a_failure_and_no_error(kind: str) -> None:
    class Broken:
        def status(self) -> Any:
            raise RuntimeError("with a secret")

    ready = await Served(kind, requires={"db": Broken()}).get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["checks"] == {"db": [{"status": "fail", "output": "status() raised RuntimeError"}]}


@pytest.mark.parametrize("path", ["/api/livez", "/livez"], ids=["with its root", "without"])
@pytest.mark.parametrize("root", ["/api", "/api/"])
@pytest.mark.parametrize("inner", [hello, None], ids=["in front", "alone"])
async def test_below_a_root_path_its_paths_are_found(path: str, root: str, inner: Any) -> None:
    transport = httpx.ASGITransport(App(inner), root_path=root)
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
        assert (await client.get(path)).json() == {"status": "pass"}
        other = await client.get("/apilivez")
        assert (other.status_code, other.text) == ((200, "/apilivez") if inner else (404, ""))


async def test_a_root_path_is_the_applications_to_see() -> None:
    transport = httpx.ASGITransport(App(hello), root_path="/api")
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
        assert (await client.get("/api/x")).text == "/api/x"


@pytest.mark.parametrize("inner", [hello, None], ids=["in front", "alone"])
async def test_it_can_be_mounted(inner: Any) -> None:
    outer = Starlette(routes=[Mount("/health", App(inner))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(outer), base_url=BASE) as client:
        for path in ("/health/livez", "/health/readyz"):
            assert (await client.get(path)).json() == {"status": "pass"}


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
        ("requires", {"requires": {"http://payments": KNOWS_NOTHING}}),
        ("requires.*once", {"requires": {"payments": KNOWS_NOTHING, "Payments": KNOWS_NOTHING}}),
        ("requires", {"requires": ["payments"]}),
        ("ready.*another path", {"live": "/health", "ready": "/health"}),
        ("started", {"started": "no"}),
        ("about", {"about": "version 7"}),
        ("about", {"about": {"version": object()}}),
        ("about", {"about": {"status": "pass"}}),
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
