"""Compose: replicas come and go, are replaced by another image, are killed, while calls go on."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docker.engine import IMAGE, ROOT, Engine
from tests.docker.traffic import LEFT, Traffic, hosts, lossless, replaced, scaled_up_and_down, until

pytestmark = pytest.mark.timeout(900)
PROJECT = "resilience"
NETWORK = f"{PROJECT}_default"


class Project:
    """The example's compose file, with notes of the POSTs."""

    def __init__(self, engine: Engine, folder: Path, notes: Path) -> None:
        self.engine = engine
        self.notes = notes
        self._extra = folder / "extra.yml"
        service = {"environment": {"NOTES": "/notes/posts", "WORK": "0.1"}, "volumes": [f"{notes}:/notes"]}
        self._services: dict[str, Any] = {"web": service, "front": {"image": f"{IMAGE}:1"}}
        self.image(1)

    def image(self, version: int) -> None:
        """Have the replicas made of another image from now on."""
        self._services["web"]["image"] = f"{IMAGE}:{version}"
        self._extra.write_text(json.dumps({"version": "3.8", "services": self._services}), encoding="utf-8")

    def compose(self, *arguments: str) -> str:
        """Run docker-compose."""
        files = ["-f", str(ROOT / "examples/containers/compose.yml"), "-f", str(self._extra)]
        return str(self.engine.run("docker-compose", "-p", PROJECT, *files, *arguments).stdout)

    def scale(self, count: int, *services: str) -> None:
        """Have so many replicas."""
        only = ("--no-build", "--no-recreate", "--no-deps")
        self.compose("up", "-d", *only, "--scale", f"web={count}", "web", *services)

    def healthy(self, service: str = "web") -> list[str]:
        """Return the identities of the containers that say that they are healthy."""
        return self.engine.docker(
            "ps", "--quiet", "--no-trunc", "--filter", f"label=com.docker.compose.service={service}",
            "--filter", "health=healthy",
        ).split()  # fmt: skip

    def settled(self, count: int, service: str = "web") -> None:
        """Wait until so many containers of a service say that they are healthy."""
        until(lambda: len(self.healthy(service)) == count, f"{count} of {service} healthy")

    def address(self, identity: str) -> str:
        """Return a container's address."""
        return self.engine.docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", identity)

    def said(self, identity: str) -> list[dict[str, Any]]:
        """Return what a container has logged, every line of it."""
        done = self.engine.run("docker", "logs", identity)
        return [json.loads(line) for line in (done.stdout + done.stderr).splitlines()]


@pytest.fixture
def project(engine: Engine, tmp_path: Path, notes: Path) -> Iterator[Project]:
    made = Project(engine, tmp_path, notes)
    try:
        made.scale(2, "front")
        made.settled(2)
        yield made
    finally:
        made.compose("down", "-v", "-t", "1")


@pytest.fixture
def traffic(project: Project) -> Iterator[Traffic]:
    with Traffic(project.engine, NETWORK, "web") as made:
        yield made


def test_scaled_up_and_down(project: Project, traffic: Traffic) -> None:
    result, two = scaled_up_and_down(project, traffic)
    assert result.phases["two"]["addresses"].keys() == {project.address(identity) for identity in two}


def test_another_image_replica_by_replica(project: Project, traffic: Traffic) -> None:
    project.image(2)
    old = project.healthy()
    # Compose itself would stop them all at once: so one new for each old, and then the old one goes.
    for identity in old:
        project.scale(3)
        project.settled(3)
        project.engine.docker("stop", "--time", "15", identity)
        project.engine.docker("rm", identity)
    new = traffic.known("new", project.healthy)
    replaced(traffic.end(), project.notes, new)
    assert len(new) == 2
    assert not set(old) & set(new)


def test_killed(project: Project, traffic: Traffic) -> None:
    project.scale(4)
    project.settled(4)
    four = project.healthy()
    time.sleep(LEFT)
    traffic.phase("kills")
    begun = {identity: project.engine.docker("inspect", "-f", "{{.State.StartedAt}}", identity) for identity in four}
    for identity in four * 2:
        project.engine.kill(identity)
        time.sleep(2)
    project.settled(4)
    traffic.known("after", project.healthy)
    result = traffic.end()
    lossless(result, project.notes, posts_failed=True)
    assert result.phases["kills"]["helped"] > 0  # there were calls under way where it was killed
    assert result.answered("after") == hosts(four)
    for identity in four:  # by the engine, since it is told to: the same containers
        assert project.engine.docker("inspect", "-f", "{{.State.StartedAt}}", identity) != begun[identity]


def test_the_service_in_front_is_ready_by_what_it_knows(project: Project) -> None:
    def ask(path: str) -> tuple[int, Any]:
        code = f"import httpx; r = httpx.get('http://front:8080{path}', timeout=9); print(r.status_code); print(r.text)"
        said = project.engine.docker("run", "--rm", "--network", NETWORK, IMAGE, "python", "-c", code).splitlines()
        return int(said[0]), json.loads(said[1])

    project.settled(1, "front")
    assert ask("/readyz")[1]["checks"] == {"web": [{"status": "pass", "output": "not called yet"}]}
    status, body = ask("/")
    assert (status, body["version"]) == (200, "1")
    assert ask("/readyz")[1]["status"] == "pass"
    front = project.said(project.healthy("front")[0])
    assert "endpoints_changed" in {line["event"] for line in front}  # the library speaks the same log
    assert all({"event", "level", "timestamp"} <= line.keys() for line in front)


def test_its_health_is_what_our_own_command_says(project: Project) -> None:
    def health() -> Any:
        return json.loads(project.engine.docker("inspect", "-f", "{{json .State.Health}}", identity))

    identity = project.healthy()[0]
    check = project.engine.docker("inspect", "-f", "{{json .Config.Healthcheck.Test}}", identity)
    assert json.loads(check) == ["CMD", "python", "-m", "resilience", "health", "http://127.0.0.1:8080/readyz"]
    assert health()["Log"][-1]["ExitCode"] == 0
    assert health()["Log"][-1]["Output"].startswith("healthy: 200 in ")
    project.engine.kill(identity, "STOP")
    until(lambda: health()["Status"] == "unhealthy", "a replica that hangs is unhealthy")
    assert health()["Log"][-1]["ExitCode"] == 1
    assert health()["Log"][-1]["Output"].startswith("unhealthy: ")
    project.engine.kill(identity, "CONT")
    until(lambda: health()["Status"] == "healthy", "a replica that goes on is healthy")


def test_containers_are_nobody_in_particular_and_log_json_to_their_end(project: Project) -> None:
    identity = project.healthy()[0]
    status = project.engine.docker("exec", identity, "cat", "/proc/1/status").splitlines()
    ids = [line.split()[1:] for line in status if line.startswith(("Uid:", "Gid:"))]
    assert len(ids) == 2
    assert "0" not in {number for numbers in ids for number in numbers}
    assert project.engine.run("docker", "exec", identity, "touch", "/app/web.py", check=False).returncode != 0
    project.engine.docker("stop", "--time", "15", identity)
    said = project.said(identity)
    assert [line["event"] for line in said] == ["lifespan.startup", "lifespan.shutdown"]
    assert all({"event", "level", "timestamp", "version"} <= line.keys() for line in said)
    assert project.engine.docker("inspect", "-f", "{{.State.ExitCode}}", identity) in {"0", "143"}  # not 137
