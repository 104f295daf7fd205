"""What a client was told about connections, in httpx's own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Seconds an idle connection lives when `limits=` is not given: below the 5 s after which uvicorn, node and others
# close theirs, so that a connection is rarely found closed on reuse.
KEEPALIVE = 4.0


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How connections are opened and kept. Durations are seconds."""

    http1: bool = True
    http2: bool = False
    keepalive_expiry: float | None = KEEPALIVE
    max_idle: float = float("inf")
    uds: str | None = None
    local_address: str | None = None
    socket_options: Any = None
