"""This library: untold, as two lines make it; told what the others are told; with each balancer."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import resilience
from benchmarks.scoreboard.told import headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.scoreboard.told import Call, Told

_TOLD = "`Service(attempt_timeout=attempt, total_timeout=total"
NOTE = {
    "untold": "`resilience.AsyncClient()`, nothing else said: httpx's 5 s are the only limit of an attempt",
    "told": f"{_TOLD})`, round robin",
    "least-request": f"{_TOLD}, balancer=LeastRequest())`",
    "peak-ewma": f"{_TOLD}, balancer=PeakEwma())`",
    "limit": f"{_TOLD}, balancer=PeakEwma(), limit=AdaptiveLimit(TargetLatency(attempt / 4)))`",
    "hedge": f"{_TOLD}, balancer=PeakEwma(), hedge=Hedge(after=quantile(0.95, ceiling=0.1)))`",
}


def _service(told: Told, variant: str) -> resilience.Service:
    limits = {"attempt_timeout": told.attempt, "total_timeout": told.total}
    match variant:
        case "untold":
            return resilience.Service()
        case "told":
            return resilience.Service(**limits)
        case "least-request":
            return resilience.Service(**limits, balancer=resilience.LeastRequest())
        case "peak-ewma":
            return resilience.Service(**limits, balancer=resilience.PeakEwma())
        case "limit":
            limit = resilience.AdaptiveLimit(resilience.TargetLatency(told.attempt / 4))
            return resilience.Service(**limits, balancer=resilience.PeakEwma(), limit=limit)
        case _:
            hedge = resilience.Hedge(after=resilience.quantile(0.95, ceiling=0.1))
            return resilience.Service(**limits, balancer=resilience.PeakEwma(), hedge=hedge)


@asynccontextmanager
async def open(told: Told, variant: str) -> AsyncIterator[Call]:  # noqa: A001 - what every adapter calls it
    """Open a client."""
    async with resilience.AsyncClient(defaults=_service(told, variant), base_url=told.url) as client:

        async def call(method: str, path: str, request_id: str) -> int:
            return (await client.request(method, path, headers=headers(request_id))).status_code

        yield call
