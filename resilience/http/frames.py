"""HTTP/2 frames as they come off the wire, with farewells taken out.

A GOAWAY without an error is a server's polite end: it still answers every stream up to the one it names. The h2 library
ends all of them as soon as it sees it. So it does not get to see it: the connection takes no new streams, those that
the server will not answer are told so, and the others finish.
"""

from __future__ import annotations

# RFC 9113 4.1: a frame begins with length (3 bytes), type, flags, stream (4); 6.8: GOAWAY is type 7.
_HEADER = 9
_GOAWAY = 7
_NO_ERROR = 0
_STREAM_MASK = 0x7FFF_FFFF
# RFC 9113 6.5.2: what a peer may send when we have not asked for more, and we never do.
LARGEST = 16_384


class OversizedFrameError(ValueError):
    """The peer announced a frame beyond the limit: it does not speak HTTP/2, or means ill."""


class Frames:
    """Feed it what was read, in any portions; pass on what it returns."""

    __slots__ = ("_head", "_kept", "_left", "last_stream")

    def __init__(self) -> None:
        self._head = b""
        """The beginning of a header that has not come whole yet."""
        self._left = 0
        """Bytes of the current frame's payload still to come."""
        self._kept: bytearray | None = None
        """The current frame, while it may be a farewell."""
        self.last_stream: int | None = None
        """The last stream the server will answer, once it has said so."""

    def feed(self, data: bytes, /) -> bytes:
        """Return the bytes that are not of a farewell. Raises OversizedFrameError."""
        if not self._head and self._left == 0 and _is_one_harmless_frame(data):
            return data
        passed = bytearray()
        data = self._head + data
        self._head = b""
        at = 0
        while at < len(data):
            if self._left:
                at = self._take_payload(data, at, passed)
                continue
            header = data[at : at + _HEADER]
            if len(header) < _HEADER:
                self._head = header
                break
            at += _HEADER
            self._left = int.from_bytes(header[:3], "big")
            if self._left > LARGEST:
                message = f"a frame of {self._left} bytes was announced; {LARGEST} are allowed"
                raise OversizedFrameError(message)
            if header[3] == _GOAWAY and self._left:
                self._kept = bytearray(header)
            else:
                passed += header
        return bytes(passed)

    def _take_payload(self, data: bytes, at: int, passed: bytearray) -> int:
        portion = data[at : at + self._left]
        self._left -= len(portion)
        if self._kept is None:
            passed += portion
        else:
            self._kept += portion
            if self._left == 0:
                self._farewell(self._kept, passed)
                self._kept = None
        return at + len(portion)

    def _farewell(self, frame: bytearray, passed: bytearray) -> None:
        last = int.from_bytes(frame[_HEADER : _HEADER + 4], "big") & _STREAM_MASK
        code = int.from_bytes(frame[_HEADER + 4 : _HEADER + 8], "big")
        if len(frame) < _HEADER + 8 or code != _NO_ERROR:
            passed += frame  # an accusation: h2 shall end the connection
            return
        self.last_stream = last if self.last_stream is None else min(last, self.last_stream)


def _is_one_harmless_frame(data: bytes) -> bool:
    """Tell whether this is exactly one frame, and no farewell: what most reads are."""
    return (
        len(data) >= _HEADER
        and data[3] != _GOAWAY
        and _HEADER + int.from_bytes(data[:3], "big") == len(data) <= LARGEST
    )
