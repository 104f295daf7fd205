"""Bodies as a guard sees them: decompressed, no further than its ceiling, and still there for the caller."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import httpx

from resilience.core.outcome import BAD
from resilience.http.exchange import packed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from resilience.core.call import RoutedCall

# How many bytes one compressed byte may become: deflate's longest match, the 128 KiB that a block of four bytes stands
# for in zstd, and what brotli makes of a run (measured: 0.6 MiB; a single command of its may copy 16 MiB).
_GROWTH = {"gzip": 1032, "deflate": 1032, "zstd": 32 * 1024, "br": 1024 * 1024}
# Decompressed bytes that are made at a time, or nearly so, where the ceiling is below that: a small body that is a very
# large one (a "decompression bomb") does not get the memory for it.
_AT_ONCE = 1024 * 1024
# Compressed bytes that are worth a step in any case: with 8, a body that brotli made small took ten times as long.
_LEAST = 32


async def read(call: RoutedCall, response: httpx.Response, most: float) -> bytes | None:
    """Return the body, decompressed, or None when it is longer than `most` bytes. The response stays unread."""
    stream = response.stream
    if not isinstance(stream, httpx.ByteStream):
        # The attempt has stopped reading at the ceiling, and there is more: it is to blame, and to be closed.
        call.attempts[-1].verdict = BAD
        return None
    # Each coding is taken off by itself, the outermost first: what comes of one may be the next one's bomb.
    chunks: Iterable[bytes] = stream
    for coding in reversed(response.headers.get_list("content-encoding", split_commas=True)):
        chunks = _within(packed(most), _decoded(chunks, coding.strip().lower(), most))
    try:
        return b"".join(_within(most, chunks))
    except _TooLongError:
        return None


def shown(call: RoutedCall, response: httpx.Response) -> httpx.Response:
    """Return the response as one that a caller has: knowing its request and, unless it is streamed, with its body."""
    if not isinstance(response.stream, httpx.ByteStream):
        response.request = call.request
        return response
    return _Shown(
        response.status_code,
        headers=response.headers,
        stream=response.stream,
        extensions=response.extensions,
        request=call.request,
    )


class _Shown(httpx.Response):
    """A response whose body, all there, is decompressed when it is looked at: many checks look at the headers alone."""

    @property
    def content(self) -> bytes:
        """Return the body."""
        return self.read()


class _TooLongError(Exception):
    """There is more of a body than is wanted."""


def _within(most: float, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Go through a body as long as it is not longer than that."""
    for chunk in chunks:
        most -= len(chunk)
        if most < 0:
            raise _TooLongError
        yield chunk


def _decoded(chunks: Iterable[bytes], coding: str, most: float) -> Iterator[bytes]:
    """Take one coding off, by a response of its own, which is then dropped."""
    pieces = _Pieces(chunks, at_once(coding, most))
    return httpx.Response(200, headers={"content-encoding": coding}, stream=pieces).iter_bytes()


def at_once(coding: str, most: float) -> float:
    """Return how many bytes of a coding are decoded at a time, where so many may come of all."""
    return most if math.isinf(most) else max(_LEAST, max(most, _AT_ONCE) // _GROWTH.get(coding, 1))


class _Pieces(httpx.SyncByteStream):
    """A body in pieces of at most so many bytes."""

    def __init__(self, chunks: Iterable[bytes], at_once: float) -> None:
        self._chunks = chunks
        self._at_once = at_once

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            step = int(min(self._at_once, max(len(chunk), 1)))
            for begin in range(0, len(chunk), step):
                yield chunk[begin : begin + step]
