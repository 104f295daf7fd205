"""Runs inside a container: calls a service by name until its input ends, and prints what became of the calls as JSON.

Each line of the input begins a phase, and is repeated once it has begun: calls count for the phase they began in. It is
an open loop: calls leave on schedule, whatever becomes of the others.
"""

import json
import random
import sys
from collections import Counter
from typing import Any

import anyio
import structlog
from front import service  # the example's own description of it; /app is on the path

import resilience


class Phase:
    """What became of the calls that began in it."""

    def __init__(self) -> None:
        self.calls = 0
        self.answered: Counter[str] = Counter()
        """By server."""
        self.versions: Counter[str] = Counter()
        self.addresses: Counter[str] = Counter()
        """Attempts, by where they went."""
        self.helped = 0
        """Calls that were answered after more than one attempt."""
        self.failed: list[str] = []
        """Calls that may be repeated and came to nothing."""
        self.posts: Counter[str] = Counter()
        self.posts_failed: list[str] = []


async def main(name: str, rate: float) -> None:
    """Call: two in three are GETs, the others POSTs without a key, but with a number of their own.

    By chance: a strict order keeps step with round robin, and a circuit's turn to be probed always fell on a POST.
    """
    draw = random.Random(7)
    phases = {"begin": Phase()}
    now = "begin"
    ended = False

    async with (
        resilience.AsyncClient(services={name: service}, timeout=3.0) as client,
        anyio.create_task_group() as group,
    ):

        async def call(number: int, phase: Phase) -> None:
            method = "POST" if draw.random() < 1 / 3 else "GET"
            phase.calls += 1
            phase.posts["sent"] += method == "POST"
            try:
                headers = {"x-request-id": f"post-{number}"}
                response = await client.request(method, f"http://{name}:8080/", headers=headers)
                response.raise_for_status()
                found: Any = response.json()
            except Exception as error:
                attempts = "; ".join(str(it) for it in getattr(error, "attempts", ()))
                told = f"call {number}, {number / rate:.1f} s: {type(error).__name__}: {error} ({attempts})"
                (phase.posts_failed if method == "POST" else phase.failed).append(told)
                return
            attempts = response.extensions["resilience"].attempts
            phase.addresses.update(str(attempt.endpoint).rpartition(":")[0] for attempt in attempts)
            phase.helped += len(attempts) > 1
            phase.answered[found["server"]] += 1
            phase.versions[found["version"]] += 1
            phase.posts["answered"] += method == "POST"

        async def listen() -> None:
            nonlocal now, ended
            async for line in anyio.wrap_file(sys.stdin):
                now = line.strip()
                phases[now] = Phase()
                print(now, flush=True)
            ended = True

        structlog.reset_defaults()  # the example's log goes where results go here
        print("begin", flush=True)
        group.start_soon(listen)
        begun = anyio.current_time()
        number = 0
        while not ended:
            await anyio.sleep(max(0.0, begun + number / rate - anyio.current_time()))
            group.start_soon(call, number, phases[now])
            number += 1
        spent = anyio.current_time() - begun
        described = f"{client.describe()}\n" + "\n".join(
            f"{key}: {endpoint.address} {', '.join(endpoint.not_ready_because) or 'ready'}, circuit {endpoint.circuit}"
            for key, known in client.status().services.items()
            for endpoint in known.endpoints
        )
    print(
        json.dumps(
            {
                "seconds": spent,
                "described": described,
                "phases": {key: vars(phase) for key, phase in phases.items()},
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], float(sys.argv[2]))
