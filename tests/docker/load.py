"""Runs inside a container: calls a service by name for a while, and prints what became of the calls as JSON."""

import json
import sys
from collections import Counter
from typing import Any

import anyio

import resilience
from resilience.lab import run_load


async def main(name: str, rate: float, seconds: float) -> None:
    """Call: nine in ten are GETs, the tenth is a POST with a number of its own."""
    service = resilience.Service(discovery=resilience.Dns(min_ttl=1, max_ttl=2))
    answered: Counter[str] = Counter()
    versions: Counter[str] = Counter()
    posts: Counter[str] = Counter()
    failed: list[str] = []

    async with resilience.AsyncClient(services={name: service}, timeout=3.0) as client:

        async def call(number: int) -> None:
            method = "POST" if number % 10 == 0 else "GET"
            try:
                url = f"http://{name}:8080/"
                response = await client.request(method, url, headers={"x-request-id": f"post-{number}"})
                response.raise_for_status()
                found: Any = response.json()
            except Exception as error:
                if method == "POST":
                    posts["failed"] += 1
                else:
                    failed.append(f"{number / rate:.1f} s: {type(error).__name__}: {error}")
                raise
            answered[found["server"]] += 1
            versions[found["version"]] += 1
            posts["answered"] += method == "POST"

        print("ready", flush=True)
        report = await run_load(call, rate=rate, seconds=seconds)
        described = str(client.describe())
    result = {
        "calls": len(report.samples),
        "failed": failed,
        "posts": posts,
        "answered": answered,
        "versions": versions,
        "described": described,
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))
