"""Bodies as a guard sees them: decompressed, no further than its ceiling, and still there for the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from resilience.core.outcome import BAD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resilience.core.call import RoutedCall

# Compressed bytes that are decompressed at a time: gzip makes at most a thousandfold of them, so that a small body
# which is a very large one does not get the memory for it (a "decompression bomb").
_PIECE = 1024


async def read(call: RoutedCall, response: httpx.Response, most: float) -> bytes | None:
    """Return the body, decompressed, or None when it is longer than `most` bytes. The response stays unread."""
    stream = response.stream
    if not isinstance(stream, httpx.ByteStream):
        # The attempt has stopped reading at the ceiling, and there is more: it is to blame, and to be closed.
        call.attempts[-1].verdict = BAD
        return None
    size = 0
    found: list[bytes] = []
    # Decompressed by a response of its own, which is then dropped.
    for chunk in httpx.Response(response.status_code, headers=response.headers, stream=_Pieces(stream)).iter_bytes():
        size += len(chunk)
        if size > most:
            return None
        found.append(chunk)
    return b"".join(found)


class _Pieces(httpx.SyncByteStream):
    """A body that is all there, in small pieces."""

    def __init__(self, inner: httpx.ByteStream) -> None:
        self._inner = inner

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._inner:
            for begin in range(0, len(chunk), _PIECE):
                yield chunk[begin : begin + _PIECE]
