"""Adapters: they can be made, say how they are set up, are short; configurations name what they were told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.scoreboard import subjects
from benchmarks.scoreboard.scenarios import QUICK, SCENARIOS, SEEDS
from benchmarks.scoreboard.subjects import SUBJECTS, Subject
from benchmarks.scoreboard.told import Told
from benchmarks.scoreboard.world import World

FOLDER = Path(subjects.__file__).parent
FILES = [file for file in FOLDER.glob("*.py") if file.name != "__init__.py"]
PROXIES = [it for it in SUBJECTS.values() if it.proxy is not None]
CLIENTS = [it for it in SUBJECTS.values() if it.proxy is None and it.module != "by_hand"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_adapter_has_fewer_than_60_lines_of_code(file: Path) -> None:
    assert len([line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]) < 60


@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=lambda it: it.name)
def test_every_subject_says_how_it_is_set_up(subject: Subject) -> None:
    assert len(subject.note) > 20


@pytest.mark.parametrize("subject", CLIENTS, ids=lambda it: it.name)
def test_a_client_can_be_opened_and_closed(subject: Subject) -> None:
    async def open_and_close() -> None:
        told = Told(name="web.lab.internal", port=8080, attempt=0.3, total=2.0, via="127.0.0.1:1")
        async with subject.open(told) as call:
            assert callable(call)

    asyncio.run(open_and_close())


@pytest.mark.parametrize("subject", PROXIES, ids=lambda it: it.name)
@pytest.mark.parametrize("scenario", ["healthy", "rolling", "tiers"])
def test_a_proxy_is_told_what_the_others_are_told(subject: Subject, scenario: str, tmp_path: Path) -> None:
    plan = SCENARIOS[scenario]
    world = World(plan, subject.name, proxied=True)
    configure = subject.proxy
    assert callable(configure)
    command = configure(world.services, plan, tmp_path)
    assert command[0] == subject.module
    (written,) = [file for file in tmp_path.iterdir() if file.is_file()]
    text = written.read_text(encoding="utf-8")
    assert "300ms" in text
    for service in world.services:
        assert service.name in text
        assert service.via.rpartition(":")[2] in text


def test_in_three_rounds_each_of_three_replicas_is_the_victim_once() -> None:
    plan = SCENARIOS["hung"]
    worlds = [World(plan, "httpx", proxied=False, round=number) for number in (1, 2, 3, 4)]
    assert [world.victim.host for world in worlds] == ["10.77.0.11", "10.77.0.12", "10.77.0.13", "10.77.0.11"]


def test_reporting_seeds_are_not_tuning_seeds() -> None:
    assert SEEDS["report"] != SEEDS["tuning"]


def test_what_is_done_to_the_world_exists_and_happens_in_the_run() -> None:
    for scenario in SCENARIOS.values():
        assert scenario.starts < scenario.ends <= scenario.seconds
        for at, act in scenario.acts:
            assert callable(getattr(World, act))
            assert at < scenario.seconds


def test_the_quick_board_is_part_of_the_board() -> None:
    assert len(subjects.QUICK) == 3
    assert len(QUICK) == 5
    assert set(subjects.QUICK) <= set(SUBJECTS)
    assert set(QUICK) <= set(SCENARIOS)
    assert sum(SCENARIOS[name].seconds + 4 for name in QUICK) * 3 < 240
