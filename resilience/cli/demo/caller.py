"""One side's process: calls on schedule, and a line on stdout for every call that is over.

Started as ``python -m resilience.cli.demo.caller SIDE URL DNS SECONDS``. It says when it is ready, and is told the
instant of the first call, in monotonic seconds.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import anyio

from resilience.cli.demo.scenes import RATE
from resilience.cli.demo.sides import PLAIN, WORKERS, ask_the_demo, ours, plain
from resilience.lab import run_load

if TYPE_CHECKING:
    import httpx

    from resilience.lab import Sample

_SERVER_ERROR = 500


class HTTPError(Exception):
    """An answer, but not the one that was wanted."""


async def call(side: str, url: str, dns_address: str, seconds: float) -> None:
    """Call `url` for so many seconds, from the instant that stdin tells."""
    if side == PLAIN:
        ask_the_demo(dns_address)
    clients = [plain() if side == PLAIN else ours(dns_address) for _ in range(WORKERS)]

    async def one(number: int) -> str:
        response: httpx.Response = await clients[number % WORKERS].get(
            url, headers={"x-request-id": f"{side}-{number}"}
        )
        if response.status_code >= _SERVER_ERROR:
            message = f"{response.status_code}"
            raise HTTPError(message)
        return response.headers["x-server"]

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    start = float(sys.stdin.readline())
    await anyio.sleep(max(0.0, start - time.monotonic()))
    await run_load(one, rate=RATE, seconds=seconds, on_sample=tell, drain=5.0)
    for client in clients:
        await client.aclose()


def tell(sample: Sample) -> None:
    """Write one line."""
    fields = [sample.scheduled, sample.latency, sample.lag, sample.error, sample.label]
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(call, sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]))
