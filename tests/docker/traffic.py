"""Calls that go on in a container of the same network while replicas come and go, and what became of them."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import pytest

from tests.docker.engine import IMAGE, Engine

RATE = 100
"""Calls a second."""
LEFT = 3.0
"""Seconds after which the load has asked for the addresses again (``max_ttl`` 2 s), and been answered."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of all calls."""

    phases: dict[str, Any]
    described: str

    def sum(self, what: str) -> Counter[str]:
        """Return a count of the phases together."""
        return sum((Counter(phase[what]) for phase in self.phases.values()), Counter())

    def all(self, what: str) -> list[str]:
        """Return what is listed in the phases, together."""
        return [line for phase in self.phases.values() for line in phase[what]]

    def answered(self, phase: str) -> set[str]:
        """Return the replicas that answered calls of a phase."""
        return set(self.phases[phase]["answered"])

    def helped(self) -> int:
        """Return how many calls took more than one attempt."""
        return sum(phase["helped"] for phase in self.phases.values())


class Traffic:
    """One load under way."""

    def __init__(self, engine: Engine, network: str, name: str) -> None:
        script = Path(__file__).with_name("load.py")
        self._running = engine.begin(
            "run", "--rm", "--interactive", "--no-healthcheck", "--network", network,
            "--volume", f"{script}:/load.py:ro", "--env", "PYTHONPATH=/app",
            IMAGE, "python", "/load.py", name, str(RATE),
        )  # fmt: skip
        self._heard("begin")

    def _heard(self, phase: str) -> None:
        assert self._running.stdout is not None
        line = self._running.stdout.readline().strip()
        assert line == phase, (line, self._running.communicate()[1])

    def phase(self, name: str) -> None:
        """Count calls for another phase from now on."""
        assert self._running.stdin is not None
        self._running.stdin.write(f"{name}\n")
        self._heard(name)

    def known(self, name: str, healthy: Callable[[], list[str]]) -> list[str]:
        """Count another phase once the load knows who is there; return who that is, after two seconds of it."""
        time.sleep(LEFT)
        self.phase(name)
        there = healthy()
        time.sleep(2)
        return there

    def end(self) -> Result:
        """Let the last calls end."""
        out, err = self._running.communicate(timeout=60)
        assert self._running.returncode == 0, err[-3000:]
        found = json.loads(out.strip().splitlines()[-1])
        result = Result(found["phases"], found["described"])
        calls = sum(phase["calls"] for phase in result.phases.values())
        assert calls >= 0.95 * RATE * found["seconds"], "the load did not keep its pace"
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it, whatever it does."""
        if self._running.poll() is None:
            self._running.kill()
            self._running.communicate()


class Replicas(Protocol):
    """Those of one service, however they are run."""

    @property
    def notes(self) -> Path: ...

    def scale(self, count: int) -> None: ...

    def settled(self, count: int) -> None: ...

    def healthy(self) -> list[str]: ...


def scaled_up_and_down(replicas: Replicas, traffic: Traffic) -> tuple[Result, list[str]]:
    """From two to six and back, and nothing is lost; return what became of the calls, and the two that are left."""
    time.sleep(2)
    there = {}
    for name, count in (("six", 6), ("two", 2)):
        replicas.scale(count)
        replicas.settled(count)
        there[name] = traffic.known(name, replicas.healthy)
    result = traffic.end()
    lossless(result, replicas.notes)
    assert [len(them) for them in there.values()] == [6, 2]
    for name, them in there.items():
        assert result.answered(name) == hosts(them)
    assert len(result.phases["two"]["addresses"]) == 2
    assert "a fleet of 2" in result.described
    return result, there["two"]


def replaced(result: Result, notes: Path, new: list[str]) -> None:
    """Assert that version 2 has taken the place of version 1, and nothing was lost."""
    lossless(result, notes)
    assert result.phases["begin"]["versions"].keys() == {"1", "2"}
    assert result.phases["new"]["versions"].keys() == {"2"}
    assert result.answered("new") == hosts(new)


def lossless(result: Result, notes: Path, *, posts_failed: bool = False) -> None:
    """Nothing that may be repeated has failed, no POST was seen twice, and every one that was answered was seen.

    `posts_failed`: some may, those that a server may have begun when it was killed; else none.
    """
    posts = result.sum("posts")
    seen = Counter((notes / "posts").read_text(encoding="utf-8").split())
    failed = result.all("posts_failed")
    twice = [name for name, times in seen.items() if times > 1]
    calls = sum(phase["calls"] for phase in result.phases.values())
    print(
        f"{calls} calls, {result.helped()} of them helped; {calls - posts['sent']} idempotent, "
        f"{len(result.all('failed'))} failed; {posts['sent']} POSTs, {len(failed)} failed, {len(twice)} seen twice; "
        f"{len(result.sum('answered'))} replicas answered: "
        + ", ".join(f"{key} {phase['answered']}" for key, phase in result.phases.items())
    )
    # What is kept of the description: the endpoints as they were in the end.
    for line in [*result.all("failed"), *failed, *(it for it in result.described.splitlines() if ", circuit " in it)]:
        print(line)
    assert result.all("failed") == []
    assert twice == []
    assert posts["answered"] <= len(seen) <= posts["sent"]
    assert posts["answered"] + len(failed) == posts["sent"] > 0
    if not posts_failed:
        assert failed == []


def until(true: Callable[[], bool], what: str, seconds: float = 240.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds:g} s: {what}")
        time.sleep(0.2)


def hosts(identities: Iterable[str]) -> set[str]:
    """Return the host names that containers have by default: how replicas call themselves."""
    return {identity[:12] for identity in identities}
