"""A network that does what a script says: for a client's calls, endpoint by endpoint."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# What users script is checked at run time; httpx declares `extensions` as a bare dict.

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import httpx

from resilience.core.errors import ConfigurationError
from resilience.http.routed import ENDPOINT, WIRE
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.blocking import BLOCKING, run_blocking
from resilience.runtimes.clock import StuckError
from resilience.runtimes.clock_world import clock_here
from resilience.runtimes.stand_in import here
from resilience.testing.steps import UNSENT, After, Answer, Hang, body_of, check_step, error_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from resilience.core.outcome import Ok
    from resilience.core.ports import Runtime
    from resilience.http.wire import Wire
    from resilience.testing.steps import Step

_PORTS = {"http": 80, "https": 443}


class Scripts(Protocol):
    """What makes a :class:`Script` of the same arguments, as the fixture ``resilience_script`` does."""

    def __call__(
        self, steps: Iterable[Step] | Mapping[str, Iterable[Step] | Step], *, then: Step | None = None
    ) -> Script:
        """Return a new script."""
        ...


@dataclass(frozen=True, slots=True)
class Sent:
    """One request that has reached the scripted network."""

    endpoint: str
    """``host:port``."""
    method: str
    url: str
    at: float
    """When; monotonic seconds."""
    request: httpx.Request


class Script(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A transport for ``Client(transport=…)`` and ``AsyncClient(transport=…)`` that plays `steps`, in order.

    A list is for all endpoints together. A mapping has a list for each ``host:port`` (or ``host``), or one step, which
    is then always done. Steps: a status, ``Answer(…)``, ``Ok(body)``, ``Hang()``, ``After(seconds, step)``, an
    exception or its type (``ConnectionRefused``, ``httpx.ReadTimeout``), an ``httpx.Response``, a function of the
    request. `then` is for every request after the last step; without it such a request fails with AssertionError.

    Policies, balancing and discovery are on, as against real servers; only ``Auto()`` looks nothing up and takes each
    name for one endpoint. Raises ConfigurationError for what is no step.
    """

    routed = True

    def __init__(
        self, steps: Iterable[Step] | Mapping[str, Iterable[Step] | Step], *, then: Step | None = None
    ) -> None:
        self._lines: dict[str, list[Step]] = {}
        self._always: dict[str, Step] = {}
        self._lock = threading.Lock()
        self._then = then
        if then is not None:
            check_step(then, "then")
        if isinstance(steps, Mapping):
            for name, line in cast("Mapping[str, Any]", steps).items():
                self._take(name, line)
        elif isinstance(steps, Iterable) and not isinstance(steps, str | bytes):
            self._take("", steps)
        else:
            argument, expected = "steps", "a list of steps, or a mapping of 'host:port' to such a list, or to one step"
            raise ConfigurationError(argument, steps, expected)
        self.sent: list[Sent] = []
        """Every request so far."""
        self.unexpected: list[Sent] = []
        """Requests that the script had no step for."""

    def _take(self, name: str, line: Iterable[Step] | Step) -> None:
        where = f"steps[{name!r}]" if name else "steps"
        name = name.lower()  # as names are everywhere
        if isinstance(line, list | tuple | Iterator):
            self._lines[name] = list(cast("Iterable[Step]", line))
            for number, step in enumerate(self._lines[name]):
                check_step(step, f"{where}[{number}]")
        else:
            check_step(line, where)
            self._always[name] = cast("Step", line)

    @property
    def left(self) -> dict[str, int]:
        """How many steps are still to come, by endpoint (``""``: for all together), where there are any."""
        return {name: len(line) for name, line in self._lines.items() if line}

    def assert_done(self) -> None:
        """Raise AssertionError unless every step was played and no request came without one."""
        if self.left:
            message = f"the script is not over: {self.left} steps were not asked for"
            raise AssertionError(message)
        if self.unexpected:
            message = f"the script had no step for {[(sent.method, sent.endpoint) for sent in self.unexpected]}"
            raise AssertionError(message)

    # The transport.

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Do the next step, in plain code."""
        return run_blocking(self._play(request, _runtime(request, BLOCKING)))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Do the next step, in a task."""
        return await self._play(request, _runtime(request, ANYIO))

    def close(self) -> None:
        """Close nothing: the same script may serve another client."""

    async def aclose(self) -> None:
        """Close nothing: the same script may serve another client."""

    async def _play(self, request: httpx.Request, runtime: Runtime) -> httpx.Response:
        return await _Play(request, runtime).do(self._next(request, runtime.now()))

    def _next(self, request: httpx.Request, now: float) -> Step:
        endpoint = request.extensions.get(ENDPOINT) or _authority(request.url)
        sent = Sent(endpoint, request.method, str(request.url), now, request)
        with self._lock:
            self.sent.append(sent)
            known = endpoint.lower()
            for name in (known, known.rpartition(":")[0], ""):
                if name in self._always:
                    return self._always[name]
                line = self._lines.get(name)
                if line:
                    return line.pop(0)
            if self._then is not None:
                return self._then
            self.unexpected.append(sent)
            number = sum(1 for other in self.sent if other.endpoint == endpoint)
        message = f"the script has no step for request {number} to {endpoint}: {request.method} {request.url}"
        raise AssertionError(message)


class _Play:
    """One request, and what is done for it. Waits on nothing but the runtime."""

    def __init__(self, request: httpx.Request, runtime: Runtime) -> None:
        self.request = request
        self.runtime = runtime
        self.wire: Wire | None = request.extensions.get(WIRE)

    async def do(self, step: Any) -> httpx.Response:  # noqa: ANN401 - a step, or what a function has returned for one
        """Do a step."""
        if isinstance(step, After):
            await self.wait(step.seconds)
            return await self.do(step.step)
        if isinstance(step, Hang):
            await self.wait(math.inf, step.phase)
        if isinstance(step, Exception) or (isinstance(step, type) and issubclass(step, Exception)):
            error = error_of(step, self.request)
            if not isinstance(error, UNSENT):
                self.note_sent()
            raise error
        if callable(step) and not isinstance(step, httpx.Response):
            told = step(self.request)
            check_step(told)
            return await self.do(told)
        self.note_sent()
        if self.wire is not None:
            self.wire.received += 1
        return self.response(cast("int | Answer | Ok[Any] | httpx.Response", step))

    def response(self, step: int | Answer | Ok[Any] | httpx.Response) -> httpx.Response:
        """Return the answer."""
        if isinstance(step, httpx.Response):
            body, headers = body_of(step)
            stream = httpx.ByteStream(body)
            return httpx.Response(step.status_code, headers=headers, stream=stream, extensions=dict(step.extensions))
        if isinstance(step, int):
            return httpx.Response(step)
        answer = step if isinstance(step, Answer) else _answer_of(step.value)
        if answer.json is not None:
            return httpx.Response(answer.status, headers=answer.headers, json=answer.json)
        if isinstance(answer.content, bytes | str):
            return httpx.Response(answer.status, headers=answer.headers, content=answer.content)
        return httpx.Response(answer.status, headers=answer.headers, stream=_Pieces(self, answer.content))

    def note_sent(self) -> None:
        """Note that the request has gone out: from here on it may have been processed."""
        if self.wire is not None:
            self.wire.written += 1

    async def wait(self, seconds: float, phase: str = "read") -> None:
        """Let `seconds` pass, or raise what httpx raises when a limit ends the wait."""
        timeouts = self.request.extensions.get("timeout") or {}
        limit: float | None = timeouts.get(phase)
        wire = self.wire
        if wire is not None:
            limit = wire.connect_limit(limit) if phase == "connect" else wire.limit(limit)
        if limit is None or seconds <= limit:
            if seconds == math.inf and clock_here() is None and here(BLOCKING) is BLOCKING:
                message = "Hang() without any time limit: in real time this would never end; use virtual()"
                raise StuckError(message)
            await self.pass_time(seconds)
            return
        if phase == "read":
            self.note_sent()
        await self.pass_time(limit)
        if wire is not None:
            wire.timed_out()
        raise error_of(httpx.ConnectTimeout if phase == "connect" else httpx.ReadTimeout, self.request)

    async def pass_time(self, seconds: float) -> None:
        """Let `seconds` pass; on a virtual runtime they do not count among what policies have slept."""
        await getattr(self.runtime, "pass_time", self.runtime.sleep)(seconds)

    async def piece(self, piece: bytes | float | Hang | type[Exception]) -> bytes:
        """Return the next part of a body, in its time."""
        if isinstance(piece, bytes):
            return piece
        if isinstance(piece, int | float):
            await self.wait(piece)
            return b""
        if isinstance(piece, Hang):
            await self.wait(math.inf)
            return b""
        raise error_of(piece, self.request)


class _Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in pieces."""

    def __init__(self, play: _Play, pieces: Iterable[Any]) -> None:
        self._play = play
        self._pieces = tuple(pieces)

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            chunk = run_blocking(self._play.piece(piece))
            if chunk:
                yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            chunk = await self._play.piece(piece)
            if chunk:
                yield chunk


def _answer_of(value: object) -> Answer:
    return Answer(content=value) if isinstance(value, bytes | str) else Answer(json=value)


def _runtime(request: httpx.Request, usual: Runtime) -> Runtime:
    wire: Wire | None = request.extensions.get(WIRE)
    return here(usual) if wire is None or wire.call is None else wire.call.runtime


def _authority(url: httpx.URL) -> str:
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{host}:{url.port or _PORTS.get(url.scheme, 0)}"
