"""grpcio: the client side of gRPC's own service config, calling the twin of the server."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc

from benchmarks.scoreboard.told import headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.scoreboard.told import Call, Told

NOTE = (
    "1.85, a gRPC twin of the servers: `dns:///`, re-resolved every second at most; `outlier_detection_experimental` (every 0.5 s, out for "
    "1 s, at most half; failure percentage 50 of 5 requests, 2 hosts) over `round_robin`; `retryPolicy` of GETs: 3 attempts on "
    "UNAVAILABLE, 50 ms backoff, `perAttemptRecvTimeout` = attempt (behind `grpc.experimental.enable_hedging`), `retryThrottling` 100/0.2; "
    "the deadline is the total"
)
_POLICY = {
    "maxAttempts": 3,
    "initialBackoff": "0.05s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_FAILURES = {"threshold": 50, "enforcementPercentage": 100, "minimumHosts": 2, "requestVolume": 5}
_OUTLIERS = {
    "interval": "0.5s",
    "baseEjectionTime": "1s",
    "maxEjectionPercent": 50,
    "failurePercentageEjection": _FAILURES,
}
_OPTIONS = {
    "grpc.experimental.enable_hedging": 1,
    "grpc.dns_min_time_between_resolutions_ms": 1000,
    "grpc.enable_http_proxy": 0,
}


@asynccontextmanager
async def open(told: Told) -> AsyncIterator[Call]:  # noqa: A001 - what every adapter calls it
    """Open a channel."""
    repeated = {"name": [{"service": "items"}], "retryPolicy": {**_POLICY, "perAttemptRecvTimeout": f"{told.attempt}s"}}
    config = {
        "loadBalancingConfig": [
            {"outlier_detection_experimental": {**_OUTLIERS, "childPolicy": [{"round_robin": {}}]}}
        ],
        "methodConfig": [repeated, {**repeated, "name": [{"service": "reports"}, {"service": "warm-up"}]}],
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.2},
    }
    options = [*_OPTIONS.items(), ("grpc.service_config", json.dumps(config))]
    async with grpc.aio.insecure_channel(f"dns:///{told.name}:{told.port}", options=options) as channel:

        async def call(method: str, path: str, request_id: str) -> int:
            metadata = tuple(headers(request_id).items())
            await channel.unary_unary(f"{path}/{method.lower()}")(b"", timeout=told.total, metadata=metadata)
            return 200

        yield call
