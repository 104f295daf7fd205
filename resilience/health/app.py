"""``resilience.health.App``: `/livez` and `/readyz` in front of an application, and an end without lost requests."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from resilience.core.errors import ConfigurationError, require
from resilience.core.units import seconds
from resilience.health.lifespan import Lifespan
from resilience.health.serving import ALIVE, MEDIA_TYPE, Report, facts, readiness, service_name
from resilience.runtimes.termination import Termination

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
    from datetime import timedelta

    from resilience.health.serving import Knowing

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    StartResponse = Callable[..., Callable[[bytes], object]]

_NOT_FOUND, _NOT_ALLOWED = 404, 405
_REASONS = {200: "200 OK", 404: "404 Not Found", 405: "405 Method Not Allowed", 503: "503 Service Unavailable"}


class App:
    """Answers `/livez` and `/readyz`; everything else goes to `app`. ASGI as it is, WSGI as ``App(app).wsgi``.

    `requires`: services this one cannot do without, named as in a client's `services`, each with the client that calls
    it (``{"payments:9000": client}``): ready only while at least one endpoint of each can be called, by what the client
    knows. `grace`: seconds from SIGTERM, with `/readyz` failing and everything still served, until the server is told:
    as long as it takes until nobody sends new calls (two probes, and what caches the answer). `finish`: where no server
    handles SIGTERM, seconds for what is still in flight then. `about`: ``version``, ``serviceId`` … for the answers.

    Ready begins with the end of the ASGI lifespan's startup; without a lifespan, and in WSGI, at once. With
    `started=False` it begins when `start()` is called. Raises ConfigurationError naming the argument.
    """

    def __init__(
        self,
        app: Any = None,  # noqa: ANN401 - an ASGI or a WSGI application
        *,
        requires: Mapping[str, Knowing] | None = None,
        grace: float | timedelta = 5.0,
        finish: float | timedelta = 30.0,
        live: str = "/livez",
        ready: str = "/readyz",
        started: bool = True,
        about: Mapping[str, str] | None = None,
    ) -> None:
        for argument, path in (("live", live), ("ready", ready)):
            if not isinstance(path, str) or not path.startswith("/"):
                raise ConfigurationError(argument, path, 'a path that begins with "/"')
        require("ready", ready, "another path than that of `live`", lambda it: it != live)
        require("app", app, "an application, or None", lambda it: it is None or callable(it))
        require("started", started, "True or False", lambda it: isinstance(it, bool))
        expected = "a mapping of services to clients, or None"
        require("requires", requires, expected, lambda it: it is None or isinstance(it, Mapping))
        self._requires: dict[str, Knowing] = {}
        for given, client in (requires or {}).items():
            name = service_name("requires", given)
            if name in self._requires:
                argument, expected = "requires", f"{name!r} once, whatever its spelling"
                raise ConfigurationError(argument, given, expected)
            if not callable(getattr(client, "status", None)):
                argument, expected = f"requires[{name!r}]", "a client: an object with `status`"
                raise ConfigurationError(argument, client, expected)
            self._requires[name] = client
        self._app = app
        self._paths = {live: self.live, ready: self.ready}
        self._about = {} if about is None else facts("about", about)
        self._termination = Termination(
            self.drain,
            lambda: self.in_flight == 0,
            grace=seconds("grace", grace, zero=True),
            limit=seconds("finish", finish, zero=True),
        )
        self._lock = threading.Lock()
        self.started = started
        """Whether what has to be done before the first request is done."""
        self.draining = False
        """Whether the end has begun: ready no more, and answers close their connections."""
        self.in_flight = 0
        """Requests of the application under way."""

    def start(self) -> None:
        """Be ready from now on."""
        self.started = True

    def drain(self) -> None:
        """Be ready no more; everything is still served, over connections that are not kept."""
        self.draining = True

    def handle_sigterm(self) -> bool:
        """Drain at SIGTERM, and pass it on after the grace; false outside the main thread.

        ASGI does so by itself, at startup. Servers that take signals from their event loop (``add_signal_handler``, as
        Hypercorn does) hear SIGTERM in any case: with those, use a ``preStop`` hook.
        """
        return self._termination.install()

    def live(self) -> Report:
        """Return what `/livez` says."""
        return ALIVE

    def ready(self) -> Report:
        """Return what `/readyz` says."""
        return readiness(started=self.started, draining=self.draining, requires=self._requires)

    def _answer(self, method: str, path: str) -> tuple[int, bytes, list[tuple[str, str]]] | None:
        """Return status, body and headers; None for what is the application's."""
        report = self._paths.get(path)
        if report is None:
            return None if self._app is not None else (_NOT_FOUND, b"", [])
        if method not in {"GET", "HEAD"}:
            return _NOT_ALLOWED, b"", [("allow", "GET, HEAD")]
        found = report()
        return found.code, found.body(self._about), [("content-type", MEDIA_TYPE), ("cache-control", "no-store")]

    # ASGI.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of ASGI 3."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        answer = self._answer(scope["method"], self._path(scope)) if scope["type"] == "http" else None
        if answer is None:
            if self._app is not None:
                await self._serve(scope, receive, send)
            return
        status, body, headers = self._closing(answer, of_http_1=scope.get("http_version", "1.1").startswith("1"))
        encoded = [(name.encode(), value.encode()) for name, value in headers]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _path(self, scope: Scope) -> str:
        # ASGI's path begins with `root_path`, where the server or a mount has one; some servers leave it out.
        path: str = scope["path"]
        root = (scope.get("root_path") or "").rstrip("/")
        return path if path in self._paths or not path.startswith(f"{root}/") else path[len(root) :]

    def _closing(
        self, answer: tuple[int, bytes, list[tuple[str, str]]], *, of_http_1: bool
    ) -> tuple[int, bytes, list[tuple[str, str]]]:
        status, body, headers = answer
        headers = [*headers, ("content-length", str(len(body)))]
        return status, body, [*headers, ("connection", "close")] if self.draining and of_http_1 else headers

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        of_http_1 = scope["type"] == "http" and scope.get("http_version", "1.1").startswith("1")

        async def last(message: Message) -> None:
            # Whoever keeps connections should find another replica before this one is gone.
            if message["type"] == "http.response.start" and of_http_1 and self.draining:
                kept = [pair for pair in message.get("headers", []) if pair[0].lower() != b"connection"]
                message = {**message, "headers": [*kept, (b"connection", b"close")]}
            await send(message)

        self._count(1)
        try:
            await self._app(scope, receive, last)
        finally:
            self._count(-1)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        waiting, self.started = self.started, False

        def serving() -> None:
            self.started = self.started or waiting
            self.handle_sigterm()

        await Lifespan(receive, send, serving).of(self._app, scope)

    # WSGI.

    def wsgi(self, environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request of WSGI (PEP 3333)."""
        method = environ["REQUEST_METHOD"]
        answer = self._answer(method, environ.get("PATH_INFO", ""))
        if answer is not None:
            status, body, headers = self._closing(answer, of_http_1=False)  # hop-by-hop headers are the server's
            start_response(_REASONS[status], headers)
            return [b"" if method == "HEAD" else body]
        self._count(1)
        try:
            body_parts: Iterable[bytes] = self._app(environ, start_response)
        except BaseException:
            self._count(-1)
            raise
        return _Counted(body_parts, lambda: self._count(-1))

    def _count(self, step: int) -> None:
        with self._lock:
            self.in_flight += step


class _Counted:
    """A body that says when it has been sent."""

    def __init__(self, parts: Iterable[bytes], done: Callable[[], None]) -> None:
        self._parts = parts
        self._done = [done]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parts)

    def close(self) -> None:
        try:
            close = getattr(self._parts, "close", None)
            if close is not None:
                close()
        finally:
            while self._done:
                self._done.pop()()
