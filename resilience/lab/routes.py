"""What the lab's server answers to which target: the same over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from resilience.lab.faults import Fault
    from resilience.lab.wire import Request

__all__ = ["CREDENTIALS", "SSE_INTERVAL", "Answer", "answer", "failure"]

CREDENTIALS = ("user", "secret")
"""What ``/auth`` accepts."""
SSE_INTERVAL = 0.05
"""Seconds between the events of ``/sse``."""
_JSON = ("content-type", "application/json")


@dataclass(slots=True)
class Answer:
    """A response before it is written; ``wait`` seconds precede it, ``events`` makes it an endless stream."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    wait: float = 0.0
    events: bool = False


def answer(name: str, request: Request) -> Answer:
    """Answer as the healthy server ``name``: see :class:`resilience.lab.Server` for the targets."""
    url = urlsplit(request.target)
    _, first, *rest = [*url.path.split("/"), ""]
    argument = rest[0] if rest else ""
    try:
        match first:
            case "bytes":
                return Answer(200, [("content-type", "application/octet-stream")], bytes(int(argument)))
            case "echo":
                kind = request.headers.get("content-type", "application/octet-stream")
                return Answer(200, [("content-type", kind)], bytes(request.body))
            case "headers":
                return Answer(200, [_JSON], json.dumps(request.headers).encode())
            case "sse":
                return Answer(200, [("content-type", "text/event-stream"), ("cache-control", "no-store")], events=True)
            case "slow":
                return _small(name, url.path, wait=float(argument))
            case "status":
                return _small(name, url.path, status=int(argument))
            case "redirect":
                to = parse_qs(url.query).get("to", ["/"])[0]
                return Answer(302, [("location", to), _JSON], b"{}")
            case "auth":
                return _authenticated(name, request)
            case _:
                return _small(name, request.target)
    except (ValueError, OverflowError, MemoryError) as error:
        return Answer(400, [_JSON], json.dumps({"server": name, "error": str(error)}).encode())


def failure(name: str, fault: Fault) -> Answer:
    """Answer as the server ``name`` under a fault that sets the status."""
    headers: list[tuple[str, str]] = [_JSON]
    if fault.retry_after is not None:
        after = fault.retry_after
        headers.append(("retry-after", after if isinstance(after, str) else f"{after:g}"))
    return Answer(fault.status, headers, json.dumps({"server": name, "error": fault.status}).encode())


def _small(name: str, path: str, *, status: int = 200, wait: float = 0.0) -> Answer:
    if wait < 0 or not 200 <= status <= 599:  # noqa: PLR2004 - final statuses of HTTP
        message = f"out of range: {path}"
        raise ValueError(message)
    body = b"" if status in {204, 304} else json.dumps({"server": name, "path": unquote(path)}).encode()
    return Answer(status, [_JSON], body, wait)


def _authenticated(name: str, request: Request) -> Answer:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    try:
        credentials = base64.b64decode(given, validate=True).decode("utf-8", "replace")
    except binascii.Error:
        credentials = ""
    if scheme.lower() == "basic" and credentials == ":".join(CREDENTIALS):
        return _small(name, "/auth")
    return Answer(401, [("www-authenticate", 'Basic realm="lab"'), _JSON], b"{}")
