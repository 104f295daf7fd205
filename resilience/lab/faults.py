"""What is wrong with a server: one frozen description, and which requests it hits."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

__all__ = ["HEALTHY", "Fault", "Stride"]

_WINDOW = 10
_PARTS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A server's misbehaviour; every field's default is health.

    Attributes:
        delay: seconds before the answer (before the reset, with ``reset="after"``).
        status: answered instead of the usual status, 200-599.
        ratio: share of the requests that are hit, 0-1; exact in every ten.
        retry_after: the ``Retry-After`` header: seconds, or a date as text.
        reset: ``"before"`` resets the connection when a request's head arrives, uncounted;
            ``"after"`` resets it when the request was read and counted.
        truncate: announce the whole body, send half of it, close.
        drip: seconds between the ten pieces in which the body is sent.
        idle_close: seconds after which an idle connection is closed, unannounced;
            0 closes right after each response. Concerns connections, so ``ratio`` and the limits do not apply.
        garbage: answer with bytes that are no HTTP.
        endless_headers: send header lines without end (HTTP/1.1 only).
        refuse_streams: share of HTTP/2 streams answered ``RST_STREAM`` ``REFUSED_STREAM``, uncounted, 0-1.
        methods: only requests with these methods are hit; empty: all.
        path: only requests whose target starts so are hit; empty: all.

    """

    delay: float = 0.0
    status: int = 200
    ratio: float = 1.0
    retry_after: float | str | None = None
    reset: Literal["before", "after"] | None = None
    truncate: bool = False
    drip: float = 0.0
    idle_close: float | None = None
    garbage: bool = False
    endless_headers: bool = False
    refuse_streams: float = 0.0
    methods: tuple[str, ...] = ()
    path: str = ""

    def __post_init__(self) -> None:
        """Refuse what no server can do."""
        for name in ("delay", "drip"):
            _check(name, getattr(self, name), 0.0, math.inf)
        for name in ("ratio", "refuse_streams"):
            _check(name, getattr(self, name), 0.0, 1.0)
        _check("status", self.status, 200, 599)
        if self.idle_close is not None:
            _check("idle_close", self.idle_close, 0.0, math.inf)
        if self.reset not in {None, "before", "after"}:
            message = f'reset={self.reset!r}: must be None, "before" or "after"'
            raise ValueError(message)

    def concerns(self, method: str, target: str) -> bool:
        """Say whether the limits of this fault let it hit such a request."""
        return (not self.methods or method in self.methods) and target.startswith(self.path)

    def as_dict(self) -> dict[str, object]:
        """Give the fields that differ from health, for the control channel."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> Self:
        """Build a fault from what :meth:`as_dict` gave and JSON carried."""
        fields_given: dict[str, Any] = given | {"methods": tuple(given.get("methods", ()))}
        return cls(**fields_given)


class Stride:
    """Decides which of many requests are hit: exactly ``ratio`` of every ten, in a seeded random order.

    A plain stride would beat in time with a client's round robin, plain randomness would make
    counts vary from run to run; this does neither.
    """

    __slots__ = ("_parts", "_random", "_seen", "_window")

    def __init__(self, ratio: float, seed: str) -> None:
        """Take the share, 0-1, and what to seed the order with."""
        self._parts = round(ratio * _PARTS)
        self._random = random.Random(seed)
        self._seen = 0
        self._window: list[bool] = []

    def hit(self) -> bool:
        """Say whether the next request is hit."""
        if self._parts >= _PARTS or self._parts <= 0:
            return self._parts > 0
        if not self._window:
            start, end = self._seen, self._seen + _WINDOW
            hits = end * self._parts // _PARTS - start * self._parts // _PARTS
            self._window = [True] * hits + [False] * (_WINDOW - hits)
            self._random.shuffle(self._window)
            self._seen = end
        return self._window.pop()


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high or value == math.inf:
        limit = "a finite number of at least 0" if high == math.inf else f"between {low:g} and {high:g}"
        message = f"{name}={value!r}: must be {limit}"
        raise ValueError(message)


HEALTHY = Fault()
"""No fault."""
