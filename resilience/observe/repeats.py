"""The decision which of many equal lines is written."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

KEYS = 1_000
"""Kinds of event remembered at once: as many as a client keeps origins."""


class Repeats:
    """Lets one event of a kind through per `interval` seconds, and counts those it holds back."""

    __slots__ = ("_interval", "_lock", "_seen")

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._lock = threading.Lock()
        self._seen: dict[Hashable, tuple[float, int]] = {}
        """Kind → when one was let through, and how many were held back since; the longest silent kind first."""

    def admit(self, kind: Hashable, now: float, /) -> int | None:
        """Return how many of `kind` were held back since the last one, or None when this one is to be held back too."""
        with self._lock:
            since, held = self._seen.get(kind, (None, 0))
            if since is not None and now - since < self._interval:
                self._seen[kind] = (since, held + 1)
                return None
            self._seen.pop(kind, None)
            if len(self._seen) >= KEYS:
                del self._seen[next(iter(self._seen))]
            self._seen[kind] = (now, 0)
            return held
