"""The headline in other documents: the table and two pictures, between two comments, replaced by the command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.scoreboard.subjects import CONTROL, SUBJECTS
from benchmarks.scoreboard.table import apart, cell
from benchmarks.scoreboard.wording import FIRST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.scoreboard.board import Section

BEGIN = "<!-- scoreboard: what is between these comments is written by `python -m benchmarks scoreboard` -->"
END = "<!-- end of the scoreboard -->"
ROOT = Path(__file__).parents[2]
PICTURES = ("hung", "slow")
OURS = ("ours untold", "ours", "ours PeakEwma", "ours PeakEwma+limit")
"""Of ours, these are in the README; every other subject is. The documentation has all."""


def headline(sections: Sequence[Section], *, all_of_ours: bool) -> str:
    """Per cent of the calls answered in time and sends per call: a row per scenario, a column per subject."""
    names = [
        name
        for name, subject in SUBJECTS.items()
        if name != CONTROL
        and (all_of_ours or not subject.ours or name in OURS)
        and any(name in section.standings for section in sections)
    ]
    lines = ["| | rounds, A/A spread | " + " | ".join(names) + " |", "|---|" + "--:|" * (len(names) + 1)]
    for section in sections:
        cells = [cell(section, name, _percent) for name in names]
        lines.append(
            f"| {section.scenario.name.replace('-', '&#8209;')} | {apart(section)} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines)


def insert(document: Path, sections: Sequence[Section], folder: Path, *, all_of_ours: bool) -> None:
    """Replace what stands between the comments of a document; ValueError when it has none."""
    text = document.read_text(encoding="utf-8")
    before, found, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (found and end):
        message = f"{document}: no place for the scoreboard's headline, {BEGIN} … {END}"
        raise ValueError(message)
    way = Path(os.path.relpath(folder, document.parent)).as_posix()
    block = [
        headline(sections, all_of_ours=all_of_ours),
        f"Per cent of the calls answered in time, and requests sent per call. Bold: {FIRST}. ~: measured under noise only."
        + ("" if all_of_ours else _left_out(sections)),
        *(
            f"![{s.scenario.name}: {s.scenario.title}]({way}/{s.scenario.name}.png)"
            for s in sections
            if s.scenario.name in PICTURES
        ),
    ]
    document.write_text("\n\n".join([before + BEGIN, *block, END + after]), encoding="utf-8")


def _left_out(sections: Sequence[Section]) -> str:
    """Say which of ours the reader does not see here, and where they are."""
    names = [
        name
        for name, subject in SUBJECTS.items()
        if subject.ours and name not in {CONTROL, *OURS} and any(name in section.standings for section in sections)
    ]
    return f" In the documentation's table only: {' and '.join(names)}." if names else ""


def _percent(share: float) -> str:
    """One decimal; 100 only when it is."""
    return "100" if share >= 1 else f"{min(99.9, 100 * share):.1f}"
