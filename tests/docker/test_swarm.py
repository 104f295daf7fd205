"""Swarm: a name is one virtual address, ``tasks.NAME`` is every replica; scaled and updated while calls go on."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docker.engine import IMAGE, Engine

pytestmark = pytest.mark.timeout(900)
NETWORK = "swarm-test"
RATE, SECONDS = 100, 60


@pytest.fixture
def swarm(engine: Engine, notes: Path) -> Iterator[Engine]:
    engine.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
    try:
        engine.docker("network", "create", "--driver", "overlay", "--attachable", NETWORK)
        engine.docker(
            "service", "create", "--detach", "--name", "web", "--replicas", "2", "--network", NETWORK,
            "--env", "NOTES=/notes/posts", "--mount", f"type=bind,source={notes},target=/notes",
            "--stop-grace-period", "15s", "--update-order", "start-first", "--update-delay", "2s",
            "--no-resolve-image", f"{IMAGE}:1",
        )  # fmt: skip
        running(engine, 2)
        yield engine
    finally:
        engine.docker("service", "rm", "web", check=False)
        engine.docker("swarm", "leave", "--force", check=False)
        engine.docker("network", "rm", "docker_gwbridge", check=False)


def running(engine: Engine, count: int) -> None:
    """Wait until so many replicas run, which in Swarm is once they are healthy."""
    replicas = ""
    for _ in range(600):
        replicas = engine.docker("service", "ls", "--filter", "name=web", "--format", "{{.Replicas}}")
        if replicas == f"{count}/{count}":
            return
        time.sleep(0.1)
    pytest.fail(f"web: {replicas}")


def load(engine: Engine, name: str, seconds: float = SECONDS) -> Any:
    begun = engine.begin(
        "run", "--rm", "--network", NETWORK, "-v", f"{Path(__file__).parent}/load.py:/load.py:ro",
        IMAGE, "python", "/load.py", name, str(RATE), str(seconds),
    )  # fmt: skip
    assert begun.stdout is not None
    assert begun.stdout.readline().strip() == "ready", begun.communicate()[1]
    return begun


def result_of(begun: Any) -> dict[str, Any]:
    out, err = begun.communicate(timeout=SECONDS + 120)
    assert begun.returncode == 0, err[-3000:]
    found: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return found


def test_scaled_and_updated(swarm: Engine, notes: Path) -> None:
    begun = load(swarm, "tasks.web")
    time.sleep(3)
    swarm.docker("service", "scale", "--detach", "web=6")
    running(swarm, 6)
    time.sleep(3)
    swarm.docker("service", "scale", "--detach", "web=2")
    time.sleep(8)
    swarm.docker("service", "update", "--detach", "--no-resolve-image", "--image", f"{IMAGE}:2", "web")
    found = result_of(begun)
    assert found["failed"] == []
    assert len(found["answered"]) >= 6
    assert found["versions"].keys() == {"1", "2"}
    seen = Counter((notes / "posts").read_text(encoding="utf-8").split())
    assert [name for name, times in seen.items() if times > 1] == []
    assert len(seen) >= found["posts"]["answered"]


def test_a_virtual_address_is_said_to_be_one(swarm: Engine) -> None:
    described = result_of(load(swarm, "web", 2.0))["described"]
    assert "a fleet of 1" in described
    assert "is it a virtual address in front of several replicas?" in described
    assert "in Docker Swarm, tasks.web stands for every replica" in described
    assert "a fleet of 2" in result_of(load(swarm, "tasks.web", 2.0))["described"]
