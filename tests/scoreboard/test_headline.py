"""The headline in other documents: what stands between the comments is replaced, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.scoreboard.board import board
from benchmarks.scoreboard.headline import BEGIN, END, headline, insert
from benchmarks.scoreboard.outputs import circumstances
from benchmarks.scoreboard.subjects import CONTROL
from tests.scoreboard.test_standing import made

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [
    made(scenario="hung", within=0.99996),
    made(CONTROL, scenario="hung", within=0.99496),
    made("httpx", scenario="hung", within=0.5, kept=False),
    made("ours LeastRequest", scenario="hung", sends=1.25),
]


def test_a_place_is_filled_again_and_again(tmp_path: Path) -> None:
    document = tmp_path / "docs" / "page.md"
    document.parent.mkdir()
    document.write_text(f"# Title\n\n{BEGIN}\nwhat was here\n{END}\n\nThe rest.\n")
    for _ in range(2):
        insert(document, board(ROWS), tmp_path / "results", all_of_ours=True)
    text = document.read_text()
    assert text.startswith(f"# Title\n\n{BEGIN}\n\n| | rounds, A/A spread | httpx | ours |")
    assert text.endswith(f"{END}\n\nThe rest.\n")
    assert "what was here" not in text
    assert text.count("](../results/hung.png)") == 1


def test_a_document_without_a_place_is_refused(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(f"{BEGIN} and no end")
    with pytest.raises(ValueError, match="no place"):
        insert(document, board(ROWS), tmp_path, all_of_ours=True)


def test_only_a_hundred_is_a_hundred_and_noise_is_marked() -> None:
    lines = headline(board(ROWS), all_of_ours=True).splitlines()
    assert lines[0] == "| | rounds, A/A spread | httpx | ours | ours LeastRequest |"
    assert lines[2] == "| hung | 0–1, 0.50 | ~50.0<br>×1.00 | **99.9**<br>×1.00 | **100**<br>×1.25 |"


def test_the_readme_leaves_some_of_ours_out() -> None:
    assert headline(board(ROWS), all_of_ours=False).splitlines()[0] == "| | rounds, A/A spread | httpx | ours |"


def test_a_document_says_which_of_ours_it_leaves_out(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    for all_of_ours in (False, True):
        document.write_text(f"{BEGIN}{END}")
        insert(document, board(ROWS), tmp_path, all_of_ours=all_of_ours)
        said = "In the documentation's table only: ours LeastRequest." in document.read_text()
        assert said is not all_of_ours


def test_rows_of_proxies_that_httpx_called_are_counted() -> None:
    said = "1 of the proxies' cells are older"
    old, new = made("nginx"), made("haproxy", front="aiohttp")
    assert said in circumstances([old, new, *ROWS])
    assert "older" not in circumstances([new, *ROWS])
