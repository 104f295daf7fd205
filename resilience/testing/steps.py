"""What a scripted network does for one request: answer, refuse, hang, and all that in its own time."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import httpx

from resilience.core.errors import ConfigurationError, require
from resilience.core.outcome import Ok
from resilience.core.units import seconds as in_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ConnectionRefused = ConnectionRefusedError
"""Nobody listens there: nothing is sent."""
ConnectionReset = ConnectionResetError
"""The request was sent, and the connection is gone."""

_STATUSES = range(100, 600)
_PIECES = "bytes or text, or a list of pieces: bytes, Hang(), seconds to wait, exceptions"
_EXPECTED = (
    "a status, Answer(…), Ok(body), Hang(), After(seconds, step), an exception or its type, an httpx.Response, or a "
    "function of the request that returns one of these"
)


@dataclass(frozen=True, slots=True)
class Hang:
    """Answer nothing, until one of the caller's limits. `phase`: ``read`` (the request was sent) or ``connect``."""

    phase: str = "read"

    def __post_init__(self) -> None:
        """Check the phase."""
        require("phase", self.phase, "read or connect", ("read", "connect").__contains__)


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer with a status (100 to 599) and a body: `content` as bytes or text, or `json`.

    A list as `content` is a body in pieces: bytes, ``Hang()``, seconds to wait, or an exception that ends it early.
    Raises ConfigurationError.
    """

    status: int = 200
    content: bytes | str | Sequence[bytes | float | Hang | type[Exception]] = field(default=b"", kw_only=True)
    json: Any = field(default=None, kw_only=True)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], kw_only=True)

    def __post_init__(self) -> None:
        """Check all but the JSON."""
        require("status", self.status, "a status from 100 to 599", _is_status)
        require("headers", self.headers, "a mapping of names to texts", lambda value: isinstance(value, Mapping))
        content: object = self.content
        if not isinstance(content, bytes | str):
            require("content", content, _PIECES, lambda value: isinstance(value, Iterable))
            object.__setattr__(self, "content", tuple(_piece(it) for it in cast("Iterable[object]", content)))


def _piece(piece: object) -> object:
    if isinstance(piece, int | float):
        return in_seconds("content", piece, zero=True, infinite=True)
    require("content", piece, _PIECES, _is_piece)
    return piece


def _is_piece(value: object) -> bool:
    kind = value if isinstance(value, type) else type(value)
    return isinstance(value, bytes | Hang) or issubclass(kind, Exception)


@dataclass(frozen=True, slots=True)
class After:
    """Do a step, but `seconds` (from 0) later."""

    seconds: float
    step: Step

    def __post_init__(self) -> None:
        """Check both."""
        object.__setattr__(self, "seconds", in_seconds("seconds", self.seconds, zero=True, infinite=True))
        check_step(self.step)


Step: TypeAlias = """(
    int | Answer | Ok[Any] | Hang | After | Exception | type[Exception] | httpx.Response
    | Callable[[httpx.Request], Any]
)"""
"""One thing to do for a request."""


def check_step(step: object, /, argument: str = "step") -> None:
    """Raise ConfigurationError for what is no step."""
    if isinstance(step, int):
        require(argument, step, "a status from 100 to 599", _is_status)
        return
    if isinstance(step, type) and not issubclass(step, Exception):
        raise ConfigurationError(argument, cast("object", step), _EXPECTED)
    if not (isinstance(step, Answer | Ok | Hang | After | Exception | httpx.Response) or callable(step)):
        raise ConfigurationError(argument, step, _EXPECTED)
    if isinstance(step, httpx.Response):
        body_of(step, argument)


def body_of(response: httpx.Response, /, argument: str = "step") -> tuple[bytes, list[tuple[str, str]]]:
    """Return the body of a response as it is sent, and its headers; ConfigurationError if it can be read but once."""
    headers = response.headers.multi_items()
    if isinstance(response.stream, httpx.ByteStream):
        return b"".join(response.stream), headers
    try:
        decoded = response.content
    except httpx.ResponseNotRead:
        expected = "an httpx.Response that has been read, or whose content is bytes: it may have to be sent again"
        raise ConfigurationError(argument, response, expected) from None
    return decoded, [(name, value) for name, value in headers if name not in _OF_THE_STREAM]


_OF_THE_STREAM = {"content-encoding", "content-length", "transfer-encoding"}
"""Headers that say how a body was sent."""


def error_of(step: Exception | type[Exception], request: httpx.Request | None) -> Exception:
    """Return what httpx raises where an operating system would say `step`; its own exceptions as they are."""
    if isinstance(step, type):
        kind, cause = step, None
    else:
        kind, cause = type(step), step
    if issubclass(kind, httpx.RequestError):
        return cause if cause is not None else kind("scripted", request=request)
    found = next((seen for told, seen in _AS_HTTPX if issubclass(kind, told)), None)
    if found is None:
        return cause if cause is not None else kind("scripted")
    raised = found(f"scripted: {cause if cause is not None else kind.__name__}", request=request)
    raised.__cause__ = cause if cause is not None else kind("scripted")
    return raised


_AS_HTTPX: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (ConnectionRefusedError, httpx.ConnectError),
    (socket.gaierror, httpx.ConnectError),
    (ssl.SSLError, httpx.ConnectError),
    (TimeoutError, httpx.ReadTimeout),
    (EOFError, httpx.RemoteProtocolError),
    (OSError, httpx.ReadError),
)
"""As httpcore maps them; most specific first."""

UNSENT = (httpx.ConnectError, httpx.ConnectTimeout)
"""Failures before anything is sent."""


def _is_status(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in _STATUSES
