"""One cell: one subject under one scenario, once. Runs inside its own namespaces and prints its row.

``python -m benchmarks.scoreboard.cell JSON``, started by :func:`run`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.scoreboard import network
from benchmarks.scoreboard.row import Evidence, row
from benchmarks.scoreboard.scenarios import SCENARIOS, SEEDS
from benchmarks.scoreboard.schedule import schedule
from benchmarks.scoreboard.subjects import SUBJECTS
from benchmarks.scoreboard.world import World

if TYPE_CHECKING:
    from benchmarks.scoreboard.proxies import Proxy

_HEAD_START = 0.2
_PATIENCE = 30.0


class CellError(RuntimeError):
    """A cell could not be run."""


def run(scenario: str, subject: str, round_: int, seeds: str) -> dict[str, Any]:
    """Run one cell in namespaces of its own and return its row; raise CellError with what it said."""
    spec = json.dumps([scenario, subject, round_, seeds])
    command = [*network.entering(), sys.executable, "-m", "benchmarks.scoreboard.cell", spec]
    limit = SCENARIOS[scenario].seconds + 2 * _PATIENCE
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired as error:
        message = f"not over after {limit:.0f} s"
        raise CellError(message) from error
    if done.returncode:
        raise CellError((done.stderr.strip().splitlines() or ["no word"])[-1])
    return json.loads(done.stdout.splitlines()[-1])


def _measure(scenario_name: str, subject_name: str, round_: int, seeds: str) -> dict[str, Any]:
    scenario, subject = SCENARIOS[scenario_name], SUBJECTS[subject_name]
    seed = f"{SEEDS[seeds]}/{scenario_name}/{round_}"
    plan = {"scenario": scenario_name, "seed": seed}
    with tempfile.TemporaryDirectory(prefix="scoreboard-") as name:
        scratch = Path(name)
        network.set_up(scratch)
        with World(scenario, subject_name, subject.proxy is not None, round_, subject.grpc) as world:
            proxy = subject.start(world.services, scenario, scratch)
            world.start_gateways()
            told = world.told(world.services[0])
            loaded = _load(world, subject_name, told.text(), plan, scratch, proxy)
            proxy_cpu = proxy.cpu() if proxy else 0.0
            evidence = Evidence(
                due=schedule(scenario, seed),
                requests=[seen for server in world.fleet for seen in server.requests],
                connections=sum(server.accepted for server in world.fleet),
                above=[_count(gateway) for gateway in world.gateways],
                proxy_cpu=proxy_cpu,
                **loaded,
            )
    head = {"scenario": scenario_name, "subject": subject_name, "round": round_, "seeds": seeds, "seed": seed}
    front = {"front": "aiohttp"} if subject.proxy else {}
    return {**head, **front, **row(scenario, evidence)}


def _load(
    world: World, subject: str, told: str, plan: dict[str, str], scratch: Path, proxy: Proxy | None
) -> dict[str, Any]:
    reading, writing = os.pipe()
    pipe = subprocess.PIPE
    with (scratch / "said").open("w+") as said:
        command = [
            sys.executable,
            "-m",
            "benchmarks.scoreboard.caller",
            subject,
            told,
            json.dumps({**plan, "pipe": reading}),
        ]
        caller = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=said, text=True, pass_fds=[reading])
        assert caller.stdin is not None
        assert caller.stdout is not None
        if caller.stdout.readline() != "ready\n":
            said.seek(0)
            raise CellError((said.read().strip().splitlines() or ["the caller ended without a word"])[-1])
        if proxy:
            proxy.settle()
        start = time.monotonic() + _HEAD_START
        command = [
            sys.executable,
            "-m",
            "benchmarks.scoreboard.generator",
            json.dumps({**plan, "pipe": writing, "start": start}),
        ]
        generator = subprocess.Popen(command, stdout=pipe, text=True, pass_fds=[writing])
        caller.stdin.write(f"{start!r}\n")
        caller.stdin.flush()
        for at, act in world.scenario.acts:
            time.sleep(max(0.0, start + at - time.monotonic()))
            getattr(world, act)()
        lags, _ = generator.communicate()
        result, _ = caller.communicate(timeout=_PATIENCE)
        return {**json.loads(result), "lags": json.loads(lags)}


def _count(gateway: subprocess.Popen[str]) -> list[str]:
    out, _ = gateway.communicate("\n", timeout=_PATIENCE)
    return json.loads(out.splitlines()[-1])


if __name__ == "__main__":
    print(json.dumps(_measure(*json.loads(sys.argv[1]))))
