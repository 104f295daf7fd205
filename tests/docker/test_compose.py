"""Compose: replicas come and go, are replaced by another image, are killed, while calls go on."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docker.engine import IMAGE, ROOT, Engine

pytestmark = pytest.mark.timeout(900)
PROJECT = "resilience"
RATE, SECONDS = 100, 60


class Project:
    """The example's compose file, with notes of the POSTs."""

    def __init__(self, engine: Engine, folder: Path, notes: Path) -> None:
        self.engine = engine
        self.notes = notes / "posts"
        self._extra = folder / "extra.yml"
        service = {"environment": {"NOTES": "/notes/posts"}, "volumes": [f"{notes}:/notes"]}
        self._services: dict[str, Any] = {"web": service}
        self.image(1)

    def image(self, version: int) -> None:
        """Have the replicas made of another image from now on."""
        self._services["web"]["image"] = f"{IMAGE}:{version}"
        self._services["front"] = {"image": f"{IMAGE}:1"}
        self._extra.write_text(json.dumps({"version": "3.8", "services": self._services}), encoding="utf-8")

    def compose(self, *arguments: str) -> str:
        """Run docker-compose."""
        files = ["-f", str(ROOT / "examples/containers/compose.yml"), "-f", str(self._extra)]
        return str(self.engine.run("docker-compose", "-p", PROJECT, *files, *arguments).stdout)

    def scale(self, count: int) -> None:
        """Have so many replicas."""
        self.compose("up", "-d", "--no-build", "--no-recreate", "--scale", f"web={count}", "web", "front")

    def replicas(self) -> list[str]:
        """Return the identities of the replicas that run."""
        return self.compose("ps", "-q", "web").split()

    def settled(self, service: str, count: int) -> None:
        """Wait until so many containers of a service say that they are healthy."""
        for _ in range(600):
            states = [
                self.engine.docker("inspect", "-f", "{{.State.Health.Status}}", identity)
                for identity in self.compose("ps", "-q", service).split()
            ]
            if states.count("healthy") >= count:
                return
            time.sleep(0.1)
        pytest.fail(f"{service}: {states}")

    def load(self) -> Any:
        """Begin the load, in a container of the same network; return it once it calls."""
        running = self.engine.begin(
            "run", "--rm", "--network", f"{PROJECT}_default", "-v", f"{Path(__file__).parent}/load.py:/load.py:ro",
            IMAGE, "python", "/load.py", "web", str(RATE), str(SECONDS),
        )  # fmt: skip
        assert running.stdout is not None
        assert running.stdout.readline().strip() == "ready", running.communicate()[1]
        return running


@pytest.fixture
def project(engine: Engine, tmp_path: Path, notes: Path) -> Iterator[Project]:
    made = Project(engine, tmp_path, notes)
    try:
        made.scale(2)
        made.settled("web", 2)
        yield made
    finally:
        made.compose("down", "-v", "-t", "1")


def result_of(running: Any, project: Project) -> dict[str, Any]:
    """Return what the load says; nothing that may be repeated has failed, and no POST was made twice."""
    out, err = running.communicate(timeout=SECONDS + 120)
    assert running.returncode == 0, err[-3000:]
    found: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    assert found["failed"] == []
    seen = Counter(project.notes.read_text(encoding="utf-8").split())
    assert [name for name, times in seen.items() if times > 1] == []
    assert len(seen) >= found["posts"]["answered"]
    return found


def test_scaled_up_and_down(project: Project) -> None:
    running = project.load()
    time.sleep(5)
    project.scale(6)
    time.sleep(20)
    project.scale(2)
    found = result_of(running, project)
    assert len(found["answered"]) == 6
    assert found["posts"].get("failed", 0) == 0
    assert "a fleet of 2" in found["described"]


def test_another_image_replica_by_replica(project: Project) -> None:
    project.scale(3)
    project.settled("web", 3)
    running = project.load()
    time.sleep(3)
    project.image(2)
    old = project.replicas()
    # Compose itself would stop them all at once: so one new for each old, and then the old one goes.
    for number, identity in enumerate(old, 1):
        project.scale(3 + 1)
        project.settled("web", 4)
        project.engine.docker("stop", "-t", "15", identity)
        project.engine.docker("rm", identity)
        assert len(project.replicas()) == 3, number
    found = result_of(running, project)
    assert found["versions"].keys() == {"1", "2"}
    assert found["posts"].get("failed", 0) == 0


def test_killed(project: Project) -> None:
    project.scale(4)
    project.settled("web", 4)
    running = project.load()
    time.sleep(5)
    for identity in project.replicas()[:3]:
        project.engine.docker("kill", "-s", "KILL", identity)
        time.sleep(5)
    project.scale(4)
    found = result_of(running, project)
    assert found["calls"] == RATE * SECONDS


def test_the_service_in_front_is_ready_by_what_it_knows(project: Project) -> None:
    def ask(path: str) -> tuple[int, Any]:
        code = (
            "import httpx; r = httpx.get('http://front:8080"
            + path
            + "', timeout=10); print(r.status_code); print(r.text)"
        )
        said = project.engine.docker(
            "run", "--rm", "--network", f"{PROJECT}_default", IMAGE, "python", "-c", code
        ).splitlines()
        return int(said[0]), json.loads(said[1])

    project.settled("front", 1)
    assert ask("/readyz")[1]["checks"] == {"web": [{"status": "pass", "output": "not called yet"}]}
    status, body = ask("/")
    assert (status, body["version"]) == (200, "1")
    assert ask("/readyz")[1]["status"] == "pass"


def test_containers_are_nobody_in_particular(project: Project) -> None:
    identity = project.replicas()[0]
    assert project.engine.docker("exec", identity, "id", "-un") == "app"
    lines = project.engine.docker("logs", identity).splitlines()
    assert json.loads(lines[0])["event"] == "lifespan.startup"
