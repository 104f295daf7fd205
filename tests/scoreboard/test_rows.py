"""The record: appended, resumed, never torn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.scoreboard.command import main
from benchmarks.scoreboard.rounds import Plan
from benchmarks.scoreboard.rows import Rows, finished

if TYPE_CHECKING:
    from pathlib import Path


def made(round_: int, *, kept: bool, seeds: str = "report") -> dict[str, object]:
    return {"scenario": "hung", "subject": "ours", "round": round_, "kept": kept, "seeds": seeds}


def test_rows_are_read_back_by_their_seeds(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "deep" / "rows.jsonl")
    assert rows.read("report") == []
    rows.append(made(1, kept=True))
    rows.append(made(1, kept=True, seeds="tuning"))
    assert rows.read("report") == [made(1, kept=True)]


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "rows.jsonl")
    rows.append(made(1, kept=True))
    with rows.file.open("a") as file:
        file.write('{"scenario": "hu')
    assert len(rows.read("report")) == 1


def test_a_kept_cell_is_finished_and_a_dropped_one_is_tried_so_often() -> None:
    assert finished([made(1, kept=True)], "hung", "ours", 1, 3)
    assert not finished([made(1, kept=False)], "hung", "ours", 1, 3)
    assert finished([made(1, kept=False)] * 3, "hung", "ours", 1, 3)
    assert not finished([made(1, kept=True)], "hung", "ours", 2, 3)


def test_rounds_are_outermost_and_turns_change() -> None:
    cells = list(Plan(["healthy", "hung"], ["a", "b", "c"], 2, "report", 1).cells())
    assert [round_ for round_, _, _ in cells] == [1] * 6 + [2] * 6
    assert [subject for _, _, subject in cells[:3]] == ["b", "c", "a"]
    assert [subject for _, _, subject in cells[6:9]] == ["c", "a", "b"]
    assert len(set(cells)) == len(cells)


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(SystemExit, match="unknown: hanged; there are: healthy, killed"):
        main(["--scenario", "hanged"])


@pytest.mark.parametrize(
    "cell", ["killed/SUBJECT/1", "nope/ours/1", "killed/ours", "killed/ours/x", "killed/ours/0", "killed/ours/1/1", "/"]
)
def test_what_is_no_cell_is_refused_with_those_there_are(cell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--cell", cell])
    assert refused.value.code == 2
    said = capsys.readouterr().err
    assert "healthy, killed" in said
    assert "httpx, by hand" in said


@pytest.mark.parametrize("option", ["--rounds=-1", "--rounds=0", "--jobs=0"])
def test_there_is_no_round_before_the_first(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main([option])
    assert refused.value.code == 2
    assert "is no whole number from 1" in capsys.readouterr().err
