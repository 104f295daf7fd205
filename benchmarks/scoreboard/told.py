"""What every subject is told, and what it gives back: the whole interface of an adapter."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Protocol

Call = Callable[[str, str, str], Awaitable[int]]
"""Make one call (method, path, value of ``x-request-id``) and give the status; raise when there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One upstream, and how long things may take. Seconds."""

    name: str
    """The upstream's DNS name: it has an address per replica."""
    port: int
    attempt: float
    total: float
    via: str = ""
    """``host:port`` of a proxy in the path."""

    @property
    def url(self) -> str:
        """The upstream's origin."""
        return f"http://{self.name}:{self.port}"

    def text(self) -> str:
        """As JSON, for a command line."""
        return json.dumps(asdict(self))


class Lost(Exception):  # noqa: N818 - what the board calls it
    """An answer that says the call has failed."""


def headers(request_id: str) -> dict[str, str]:
    """The headers of a call; warm-up calls have no id and are not counted."""
    return {"x-request-id": request_id} if request_id else {}


class Upstream(Protocol):
    """What a proxy's configuration needs of an upstream."""

    name: str
    hosts: list[str]
    port: int
    via: str
