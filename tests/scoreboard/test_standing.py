"""From rows to places: rounds that count, the A/A spread, who is better, what must hold."""

from __future__ import annotations

import math
from typing import Any

import pytest

from benchmarks.scoreboard.board import board
from benchmarks.scoreboard.promises import promises
from benchmarks.scoreboard.reasons import REASONS, because
from benchmarks.scoreboard.scenarios import SCENARIOS
from benchmarks.scoreboard.standing import FINEST, betters, goodput, spread, standing
from benchmarks.scoreboard.subjects import CONTROL, OURS, SUBJECTS
from benchmarks.scoreboard.table import markdown


def made(subject: str = OURS, round_: int = 1, **changes: Any) -> dict[str, Any]:
    row = {
        "scenario": "killed", "subject": subject, "round": round_, "seeds": "report", "kept": True, "lag_p99": 1.0,
        "calls": 100, "success": 1.0, "within": 1.0, "lost": 0, "during": {}, "p50": 10.0, "p99": 20.0,
        "settled_p99": 15.0, "posts": 10, "posts_lost": 0, "sends": 1.0, "sends_during": 1.0, "duplicated": 0,
        "recovered": 0.0, "connections": 3, "cpu": 1.0, "proxy_cpu": 0.0, "errors": {},
        "windows": [[10, 10, 10, 10.0, 20.0]] * 16,
    }  # fmt: skip
    return row | changes


def test_dropped_rounds_are_counted_and_do_not_count() -> None:
    found = standing(OURS, [made(), made(kept=False, within=0.2, duplicated=1)])
    assert found is not None
    assert (found.rounds, found.dropped, found.noisy, found.within) == (1, 1, False, 1.0)
    assert found.duplicated == 1  # noise excuses no duplicate


def test_with_all_rounds_dropped_their_numbers_are_shown_as_noisy() -> None:
    found = standing(OURS, [made(kept=False, within=0.2)])
    assert found is not None
    assert (found.noisy, found.within) == (True, 0.2)
    assert standing(OURS, []) is None


def test_never_recovering_outweighs_any_number() -> None:
    found = standing(OURS, [made(recovered=None), made(recovered=None), made(recovered=1.0)])
    assert found is not None
    assert math.isinf(found.recovered)


def test_the_spread_is_the_most_that_twins_were_apart_in_one_round() -> None:
    rows = [made(within=0.99), made(CONTROL, within=0.97), made(round_=2), made(CONTROL, 2, kept=False, within=0.0)]
    assert spread(rows, OURS, CONTROL) == pytest.approx(0.02)
    assert spread([], OURS, CONTROL) == FINEST


def test_better_is_more_in_time_for_as_many_sends() -> None:
    mine, good, costly = (
        standing(name, [made(name, within=within, sends=sends)])
        for name, within, sends in (("mine", 0.9, 1.0), ("good", 0.95, 1.0), ("costly", 0.99, 1.5))
    )
    assert mine
    assert good
    assert costly
    assert betters(mine, [mine, good, costly], 0.01) == ["good"]
    assert betters(mine, [mine, good, costly], 0.06) == []
    assert betters(costly, [mine, good, costly], 0.01) == []


def test_noisy_rivals_beat_nobody() -> None:
    mine, rival = standing("a", [made(within=0.5, success=0.5)]), standing("b", [made(kept=False)])
    assert mine
    assert rival
    assert not betters(mine, [mine, rival], 0.0)


def test_promises_name_what_was_measured_and_do_not_hold_for_the_control() -> None:
    rows = [made(sends=1.2, lost=3), made(CONTROL, sends=9.0), made("httpx", success=0.5, within=0.5)]
    found = {p.what: p for p in promises(board(rows))}
    assert not found["sends ÷ call ≤ 1.1 when one fails"].holds
    assert found["sends ÷ call ≤ 1.1 when one fails"].measured == "1.200 (killed)"
    assert not found["killed: 0 GETs lost"].holds
    assert found["0 POSTs twice"].holds
    assert {p.subject for p in found.values()} == {OURS}


def test_the_document_says_what_was_dropped() -> None:
    sections = board([made(), made("httpx", kept=False, within=0.5)])
    text = markdown(sections, promises(sections), "- here")
    assert "| killed | 0–1, no control | ~50.00<br>×1.00 | **100.00**<br>×1.00 |" in text
    assert "| ~ httpx | 100.00 | 50.00 |" in text
    assert "`.venv/bin/python -m benchmarks scoreboard --cell 'killed/ours/1'`" in text


def test_late_answers_are_no_goodput() -> None:
    late = [[20, 20, 5, 500.0, 900.0]] * 48
    found = standing(OURS, [made(windows=late), made(round_=2, windows=late)])
    assert found
    assert goodput(found, 3.0, 13.0) == 10.0  # 5 of each window's 20, two windows a second
    lines = {p.what: p for p in promises(board([made(scenario="halved", windows=late)]))}
    line = lines["halved: in time ≥ 90 % of the half"]
    assert (line.measured, line.holds) == ("11 %", False)  # 10 of 90: nine in ten of the 100 a second are GETs
    assert "ADR 15" in line.why


def test_the_best_comes_first_and_the_others_are_counted() -> None:
    rows = [made(within=0.9), made(CONTROL, within=0.9), made("httpx", within=0.95), made("nopanic", within=0.97)]
    section = board(rows)[0]
    assert section.betters(OURS) == ["nopanic", "httpx"]
    line = promises([section])[-1]
    assert line.measured == "killed (behind nopanic, 97.00 %, and 1 more)"
    assert (line.holds, line.why) == (False, "killed: not explained yet")


def test_where_twins_are_far_apart_nobody_is_first() -> None:
    rows = [made(within=0.95), made(CONTROL, within=0.9), made("httpx", within=0.97), made("nopanic", within=0.5)]
    section = board(rows)[0]
    assert not any(section.first(name) for name in section.standings)
    text = markdown([section], promises([section]), "- here")
    wide = "| killed | 1, 5.00<br>spread too wide to rank | 97.00<br>×1.00 | 50.00<br>×1.00 | 95.00<br>×1.00 |"
    assert wide in text
    assert promises([section])[-1].measured == "spread too wide to rank: killed"


def test_reasons_are_of_what_there_is() -> None:
    for scenario, name in REASONS:
        assert scenario in SCENARIOS
        assert SUBJECTS[name].ours
    said = because(OURS, ["slow", "hung", "reset"])
    assert said.startswith("slow, hung: round robin sends")
    assert said.endswith("; reset: not explained yet")
