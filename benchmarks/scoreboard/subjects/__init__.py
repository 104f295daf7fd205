"""The subjects: one adapter each, told the same, tuned as its own documentation says."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from benchmarks.scoreboard.proxies import Proxy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from benchmarks.scoreboard.scenarios import Scenario
    from benchmarks.scoreboard.told import Call, Told, Upstream

CONTROL = "A/A control"
"""One subject once more, under another name: how far both are apart is what the machine adds by itself."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One row of the board. Adapters are imported when they are used: none slows another's process down."""

    name: str
    module: str
    variant: str = ""
    needs: tuple[str, ...] = ()
    """What has to be installed: ``module:…`` or ``program:…``."""
    ours: bool = False
    grpc: bool = False
    """It calls gRPC servers, and those between the tiers are such."""

    @property
    def adapter(self) -> object:
        """The module in this folder."""
        return import_module(f"{__name__}.{self.module}")

    @property
    def note(self) -> str:
        """How it is set up, and after whose advice."""
        notes = self.adapter.NOTE  # type: ignore[attr-defined]
        own = notes[self.variant] if self.variant else notes
        front = getattr(self.adapter, "FRONT", "")
        return f"{own}. {front}" if front else own

    @property
    def proxy(self) -> object | None:
        """The function that writes the proxy's configuration, when the subject is a proxy in the path."""
        return getattr(self.adapter, "configure", None)

    def open(self, told: Told) -> AbstractAsyncContextManager[Call]:
        """Open the client."""
        adapter = self.adapter
        return adapter.open(told, self.variant) if self.variant else adapter.open(told)  # type: ignore[attr-defined]

    def start(self, upstreams: Sequence[Upstream], scenario: Scenario, scratch: Path) -> Proxy | None:
        """Start the proxy in the path, if this is one."""
        configure = self.proxy
        return Proxy(configure(upstreams, scenario, scratch), upstreams) if configure else None  # type: ignore[operator]


OURS = "ours"
SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject("httpx", "httpx_by_name"),
        Subject("by hand", "by_hand"),
        Subject("httpx-retries", "httpx_retries_", needs=("module:httpx_retries",)),
        Subject("httpware", "httpware_", needs=("module:httpware",)),
        Subject("nopanic", "nopanic_", needs=("module:nopanic",)),
        Subject("grpcio", "grpc_", needs=("module:grpc",), grpc=True),
        Subject("haproxy", "haproxy", needs=("program:haproxy", "module:aiohttp")),
        Subject("nginx", "nginx", needs=("program:nginx", "module:aiohttp")),
        Subject("caddy", "caddy", needs=("program:caddy", "module:aiohttp")),
        Subject("ours untold", "ours", "untold", ours=True),
        Subject(OURS, "ours", "told", ours=True),
        Subject(CONTROL, "ours", "told", ours=True),
        Subject("ours LeastRequest", "ours", "least-request", ours=True),
        Subject("ours PeakEwma", "ours", "peak-ewma", ours=True),
        Subject("ours PeakEwma+limit", "ours", "limit", ours=True),
        Subject("ours PeakEwma+hedge", "ours", "hedge", ours=True),
    )
}
"""By name, in the order of the board."""

QUICK = ("httpx", "haproxy", OURS)
"""The subjects of ``--quick``; what is not installed is replaced by the next that is."""
