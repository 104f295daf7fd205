"""The record: one JSON line per cell that was run, appended as it ends. What is on record is not run again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

Row = dict[str, Any]


class Rows:
    """The rows of one file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def append(self, row: Row) -> None:
        """Record a row at once: an interrupted run loses one cell at most."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")

    def read(self, seeds: str) -> list[Row]:
        """Return the rows made with these seeds, in the order they were recorded; a torn last line is left out."""
        if not self.file.exists():
            return []
        found: list[Row] = []
        for line in self.file.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return [row for row in found if row["seeds"] == seeds]


def finished(rows: list[Row], scenario: str, subject: str, round_: int, tries: int) -> bool:
    """Tell whether a cell needs no further run: one was kept, or the noise rule has dropped as many as are allowed."""
    mine = [row for row in rows if (row["scenario"], row["subject"], row["round"]) == (scenario, subject, round_)]
    return any(row["kept"] for row in mine) or len(mine) >= tries
