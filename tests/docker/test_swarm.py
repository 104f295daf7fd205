"""Swarm: a name is one virtual address, ``tasks.NAME`` is every replica; scaled, updated, killed while calls go on."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.engine import IMAGE, ROOT, Engine
from tests.docker.traffic import LEFT, Result, Traffic, hosts, lossless, replaced, scaled_up_and_down, until

pytestmark = pytest.mark.timeout(900)
NAME = "example"
NETWORK = f"{NAME}_default"


class Stack:
    """The example's compose file as a stack, with notes of the POSTs."""

    def __init__(self, engine: Engine, folder: Path, notes: Path) -> None:
        self.engine = engine
        self.notes = notes
        mine = {
            "image": f"{IMAGE}:1",
            "environment": {"NOTES": "/notes/posts", "WORK": "0.1"},
            "volumes": [f"{notes}:/notes"],
        }
        extra = folder / "extra.yml"
        networks = {"default": {"attachable": True}}
        extra.write_text(
            json.dumps({"version": "3.8", "services": {"web": mine}, "networks": networks}), encoding="utf-8"
        )
        files = ["-c", str(ROOT / "examples/containers/compose.yml"), "-c", str(extra)]
        engine.docker(
            "stack", "deploy", *files, "--resolve-image", "never", NAME, environment={"WEB": "tasks.web"}
        )  # fmt: skip

    def containers(self, *filters: str) -> list[str]:
        """Return the identities of the replicas that run."""
        service = ("--filter", f"label=com.docker.swarm.service.name={NAME}_web")
        return self.engine.docker("ps", "--quiet", "--no-trunc", *service, *filters).split()

    def healthy(self) -> list[str]:
        """Return those that say that they are healthy."""
        return self.containers("--filter", "health=healthy")

    def settled(self, count: int) -> None:
        """Wait until so many replicas are healthy, and no others are left."""
        until(lambda: len(self.healthy()) == len(self.containers()) == count, f"{count} replicas, all healthy")

    def scale(self, count: int) -> None:
        """Have so many replicas."""
        self.engine.docker("service", "scale", "--detach", f"{NAME}_web={count}")

    def remove(self) -> None:
        """Take all of it away."""
        self.engine.docker("stack", "rm", NAME, check=False)
        until(lambda: not self.engine.docker("ps", "--quiet"), "no container is left")
        until(
            lambda: NETWORK not in self.engine.docker("network", "ls", "--format", "{{.Name}}").split(),
            "the network is gone",
        )


@pytest.fixture(scope="module")
def swarm(engine: Engine) -> Iterator[Engine]:
    engine.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
    try:
        yield engine
    finally:
        engine.docker("swarm", "leave", "--force")


@pytest.fixture
def stack(swarm: Engine, tmp_path: Path, notes: Path) -> Iterator[Stack]:
    made = Stack(swarm, tmp_path, notes)
    try:
        made.settled(2)
        yield made
    finally:
        made.remove()


@pytest.fixture
def traffic(stack: Stack) -> Iterator[Traffic]:
    with Traffic(stack.engine, NETWORK, "tasks.web") as made:
        yield made


def test_scaled_up_and_down(stack: Stack, traffic: Traffic) -> None:
    scaled_up_and_down(stack, traffic)


def test_another_image(stack: Stack, traffic: Traffic) -> None:
    old = stack.healthy()
    stack.engine.docker("service", "update", "--detach", "--no-resolve-image", "--image", f"{IMAGE}:2", f"{NAME}_web")
    until(lambda: not set(old) & set(stack.containers()), "the old replicas are gone")
    stack.settled(2)
    new = traffic.known("new", stack.healthy)
    replaced(traffic.end(), stack.notes, new)


def test_killed(stack: Stack, traffic: Traffic) -> None:
    stack.scale(4)
    stack.settled(4)
    time.sleep(LEFT)
    traffic.phase("kills")
    four = stack.healthy()
    # Swarm names another only once it is healthy, which takes longer than the pause between two kills: one is left.
    for killed in (four[:3], four[3:]):
        for identity in killed:
            stack.engine.kill(identity)
            time.sleep(2)
        until(lambda: len(stack.healthy()) == 4, "others have taken their place")
        time.sleep(LEFT)
    after = traffic.known("after", stack.healthy)
    result = traffic.end()
    lossless(result, stack.notes, posts_failed=True)
    assert result.phases["kills"]["helped"] > 0  # there were calls under way where it was killed
    assert not set(four) & set(after)
    assert result.answered("after") == hosts(after)


def test_a_virtual_address_is_said_to_be_one(stack: Stack) -> None:
    def called(name: str) -> Result:
        with Traffic(stack.engine, NETWORK, name) as traffic:
            time.sleep(1)
            return traffic.end()

    described = called("web").described
    assert "a fleet of 1" in described
    assert "is it a virtual address in front of several replicas?" in described
    assert "in Docker Swarm, tasks.web stands for every replica" in described
    every = called("tasks.web")
    assert "a fleet of 2" in every.described
    assert "virtual address" not in every.described
    assert every.answered("begin") == hosts(stack.healthy())
