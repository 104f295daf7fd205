"""Counts a server writes and its parent reads without asking: they outlive SIGSTOP and SIGKILL.

Both share one unnamed file. Its first page holds three 64-bit counters (accepted, open, read),
mapped by both; behind it the server appends one line for each request it has read, before it answers.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from pathlib import Path
from typing import NamedTuple

__all__ = ["Counts", "Seen", "Tally"]

_PAGE = mmap.ALLOCATIONGRANULARITY
_ACCEPTED, _OPEN, _READ = 0, 1, 2
_CHUNK = 1 << 20


class Seen(NamedTuple):
    """One request a server has read to its end."""

    method: str
    path: str
    id: str


class Tally:
    """The server's end: three counters and a log."""

    __slots__ = ("_fd", "_page")

    def __init__(self, fd: int) -> None:
        """Map the first page of the inherited file."""
        self._fd = fd
        self._page = memoryview(mmap.mmap(fd, _PAGE)).cast("Q")
        self._page[_OPEN] = 0

    def opened(self) -> None:
        """Count a connection that was accepted."""
        self._page[_ACCEPTED] += 1
        self._page[_OPEN] += 1

    def closed(self) -> None:
        """Count a connection that ended."""
        self._page[_OPEN] -= 1

    def read(self, method: str, path: str, request_id: str) -> None:
        """Log a request read to its end: one append, so that a kill never leaves half a line."""
        os.write(self._fd, f"{method}\t{path}\t{request_id}\n".encode("latin-1", "replace"))
        self._page[_READ] += 1


class Counts:
    """The parent's end."""

    def __init__(self) -> None:
        """Make the shared file."""
        self._fd, name = tempfile.mkstemp(prefix="lab-")
        weakref.finalize(self, os.close, self._fd)
        Path(name).unlink()
        os.truncate(self._fd, _PAGE)
        os.lseek(self._fd, _PAGE, os.SEEK_SET)  # the offset is shared with the server: its log starts here
        self._page = memoryview(mmap.mmap(self._fd, _PAGE)).cast("Q")
        self._position = _PAGE
        self._tail = b""
        self._seen: list[Seen] = []
        self._total = 0
        self._accepted_before = 0

    def fileno(self) -> int:
        """Give the descriptor a server inherits."""
        return self._fd

    @property
    def accepted(self) -> int:
        """Connections accepted since the last reset."""
        return self._page[_ACCEPTED] - self._accepted_before

    @property
    def open(self) -> int:
        """Connections open now (as last written by the server)."""
        return self._page[_OPEN]

    @property
    def read(self) -> int:
        """Requests read since the last reset."""
        return max(0, self._page[_READ] - self._total + len(self._seen))

    def requests(self) -> list[Seen]:
        """Give the requests read since the last reset, oldest first."""
        while chunk := os.pread(self._fd, _CHUNK, self._position):
            self._position += len(chunk)
            *lines, self._tail = (self._tail + chunk).split(b"\n")
            self._seen += [Seen(*line.decode("latin-1").split("\t")) for line in lines]
            self._total += len(lines)
        return self._seen.copy()

    def reset(self) -> None:
        """Forget what was counted so far."""
        self.requests()
        self._seen.clear()
        self._accepted_before = self._page[_ACCEPTED]
