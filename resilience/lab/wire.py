"""HTTP/1.1 on the wire, as much of it as the lab's server needs: request heads, bodies, response heads."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus

__all__ = ["MAX_HEAD", "MalformedError", "Request", "parse_head", "response_head", "take_body"]

MAX_HEAD = 65_536
_CHUNKED = -1
_REASONS = {int(status): status.phrase for status in HTTPStatus}


class MalformedError(ValueError):
    """The bytes received are no HTTP request."""


@dataclass(slots=True)
class Request:
    """A request being read; ``headers`` has lower-case names, ``length`` is -1 for a chunked body."""

    method: str
    target: str
    headers: dict[str, str]
    keep_alive: bool = True
    length: int = 0
    body: bytearray = field(default_factory=bytearray)

    @property
    def id(self) -> str:
        """The ``x-request-id`` the caller sent, or nothing."""
        return self.headers.get("x-request-id", "")


def parse_head(head: bytes) -> Request:
    """Parse a request line and its headers, without the empty line that ends them."""
    first, *lines = head.decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):  # noqa: PLR2004 - method, target, version
        message = f"no request line: {first[:80]!r}"
        raise MalformedError(message)
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            message = f"no header line: {line[:80]!r}"
            raise MalformedError(message)
        headers[name.lower()] = value.strip()
    connection = headers.get("connection", "").lower()
    request = Request(parts[0], parts[1], headers, parts[2] != "HTTP/1.0" and "close" not in connection)
    if "chunked" in headers.get("transfer-encoding", "").lower():
        request.length = _CHUNKED
    elif (length := headers.get("content-length")) is not None:
        if not length.isdecimal():
            message = f"content-length: {length[:80]!r}"
            raise MalformedError(message)
        request.length = int(length)
    return request


def take_body(request: Request, buffer: bytearray) -> bool:
    """Move the body from ``buffer`` into ``request``; say whether it is complete."""
    if request.length == 0:
        return True
    if request.length == _CHUNKED:
        return _take_chunks(request, buffer)
    if len(buffer) < request.length:
        return False
    request.body += buffer[: request.length]
    del buffer[: request.length]
    return True


def response_head(status: int, headers: list[tuple[str, str]]) -> bytes:
    """Write a status line and headers, with the empty line that ends them."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    return f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\n{lines}\r\n".encode("latin-1")


def _take_chunks(request: Request, buffer: bytearray) -> bool:
    while (end := buffer.find(b"\r\n")) >= 0:
        size = _chunk_size(bytes(buffer[:end]))
        start, stop = end + 2, end + 2 + size
        if size == 0:  # trailers, if any, end with an empty line as the head does
            last = buffer.find(b"\r\n\r\n", end)
            if last >= 0:
                del buffer[: last + 4]
            return last >= 0
        if len(buffer) < stop + 2:
            return False
        request.body += buffer[start:stop]
        del buffer[: stop + 2]
    return False


def _chunk_size(line: bytes) -> int:
    try:
        return int(line.split(b";")[0], 16)
    except ValueError:
        message = f"chunk size: {line[:80]!r}"
        raise MalformedError(message) from None
