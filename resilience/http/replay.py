"""May this request be sent a second time? Its method, its headers, and its body have to agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from resilience.http.private import file_behind, sibling
from resilience.policies.verdicts import IDEMPOTENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def repeatable(request: httpx.Request, options: Mapping[str, Any]) -> bool:
    """Tell whether repeating the request is harmless, and possible.

    Harmless by RFC 9110's idempotent methods, an ``Idempotency-Key``, or the caller's word. Possible when the body
    can be produced again: generators and unseekable files cannot, and would silently be sent empty.
    """
    harmless = options.get("idempotent")
    if harmless is None:
        harmless = request.method in IDEMPOTENT or "idempotency-key" in request.headers
    return bool(harmless) and replayable(request)


def replayable(request: httpx.Request) -> bool:
    """Tell whether the body gives the same bytes again. An allow-list: what is not known to, does not."""
    stream = request.stream
    if isinstance(stream, httpx.ByteStream | FileBody):
        return True
    fields = getattr(stream, "fields", None)  # multipart: httpx rewinds each file before it sends it
    if fields is None:
        return False
    return all(_rewinds(getattr(field, "file", b"")) for field in fields)


def shareable(request: httpx.Request) -> bool:
    """Tell whether several can send the body at the same time: bytes, or a form whose every part is bytes or text.

    A file has one position, for all who read it.
    """
    stream = request.stream
    if isinstance(stream, httpx.ByteStream):
        return True
    fields = getattr(stream, "fields", None)
    return fields is not None and all(isinstance(getattr(field, "file", b""), str | bytes) for field in fields)


def with_file_rewound(request: httpx.Request) -> httpx.Request:
    """Return the request with a body that can be produced again, if it is a seekable file; else the request itself."""
    stream = request.stream
    if isinstance(stream, httpx.ByteStream):
        return request
    file = file_behind(stream)
    if file is None or not _rewinds(file):
        return request
    twin = sibling(request, request.extensions)
    twin.stream = FileBody(file)
    return twin


class FileBody(httpx.SyncByteStream):
    """A file's content from where it stood, each time anew."""

    CHUNK = 65_536
    """Bytes read at a time, as httpx does."""

    def __init__(self, file: Any) -> None:  # noqa: ANN401 - whatever reads, seeks and tells
        self._file = file
        self._start = file.tell()

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(self._start)
        while chunk := self._file.read(self.CHUNK):
            yield chunk


def _rewinds(file: object) -> bool:
    if isinstance(file, str | bytes):
        return True
    seekable = getattr(file, "seekable", None)
    return bool(seekable is not None and seekable())
