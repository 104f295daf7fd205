"""The headline in other documents: the table and two pictures, between two comments, replaced by the command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.scoreboard.subjects import CONTROL, SUBJECTS
from benchmarks.scoreboard.table import cell

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
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "--:|" * len(names)]
    for section in sections:
        cells = [cell(section, name, _percent) for name in names]
        lines.append(f"| {section.scenario.name.replace('-', '&#8209;')} | " + " | ".join(cells) + " |")
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
        "Per cent of the calls answered in time, and requests sent per call. Bold: nobody has more in time, by more than "
        "what twins differ by, for as many sends or fewer. ~: measured under noise only.",
        *(
            f"![{s.scenario.name}: {s.scenario.title}]({way}/{s.scenario.name}.png)"
            for s in sections
            if s.scenario.name in PICTURES
        ),
    ]
    document.write_text("\n\n".join([before + BEGIN, *block, END + after]), encoding="utf-8")


def _percent(share: float) -> str:
    """One decimal; 100 only when it is."""
    return "100" if share >= 1 else f"{min(99.9, 100 * share):.1f}"
