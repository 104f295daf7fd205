"""``docs/events.md`` lists every event, with its level and every field."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from resilience.core.events import CallEnded, CircuitChanged, Event

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text(encoding="utf-8")
ROWS = {row[1]: row for row in re.finditer(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)}
LEVELS = {10: "DEBUG", 20: "INFO", 30: "WARNING"}
STATES = {"open": "circuit_opened", "half-open": "circuit_half_open", "closed": "circuit_closed"}


def kinds() -> dict[str, type[Event]]:
    """Every event by its name; a circuit's change has three."""
    found: dict[str, type[Event]] = dict.fromkeys(STATES.values(), CircuitChanged)
    return found | {kind.name: kind for kind in Event.__subclasses__() if isinstance(kind.name, str)}


@pytest.mark.parametrize("name", sorted(kinds()))
def test_the_page_has_a_row_with_the_fields_of(name: str) -> None:
    listed = set(re.findall(r"`(\w+)`", ROWS[name][4])) | {"service"}
    expected = {field.name for field in fields(kinds()[name])}
    if name in STATES.values() and name != "circuit_opened":
        expected -= {"open_for"}
    assert listed == expected


def test_the_page_has_no_other_events() -> None:
    assert set(ROWS) == set(kinds())


@pytest.mark.parametrize("name", sorted(kinds()))
def test_every_field_is_explained(name: str) -> None:
    explained = PAGE.split("## Fields")[1].split("##")[0]
    for field in fields(kinds()[name]):
        assert re.search(rf"^\|.*`{field.name}`.*\|.*\|", explained, re.MULTILINE), field.name


@pytest.mark.parametrize(("state", "name"), STATES.items())
def test_a_circuits_change_is_named_after_its_state(state: str, name: str) -> None:
    assert CircuitChanged("web:80", "10.0.0.1:80", state, "why").name == name


@pytest.mark.parametrize("outcome", ["ok", "status", "failed", "rejected", "deadline", "cancelled"])
def test_every_outcome_of_a_call_is_explained_and_has_its_level(outcome: str) -> None:
    assert f"`{outcome}`" in PAGE
    levels = [CallEnded("s", "GET", "o", n, (), 0.0, 0.0, outcome).level for n in (1, 2)]
    failed = outcome in {"failed", "rejected", "deadline", "status"}
    assert [LEVELS[level] for level in levels] == (["WARNING"] * 2 if failed else ["DEBUG", "INFO"])
