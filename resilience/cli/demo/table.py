"""The closing table, in the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from resilience.cli.demo.screen import BAD, DIM, GOOD
from resilience.cli.demo.sides import CAPTION

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from resilience.cli.demo.tally import Row, Stretch

_WIDE = 118
"""Columns of a terminal in which faults are told in full."""


def table(rows: Sequence[Row], sends: Sequence[float], width: int) -> Table:
    """Return the table; `sends` are the requests per call that the servers have read, plain httpx's first."""
    wide = width >= _WIDE
    made = Table(
        title="What became of the calls", title_style="bold", caption=CAPTION, caption_justify="left", expand=False
    )
    made.add_column("from here to the next fault" if wide else "fault")
    for side in ("plain httpx" if wide else "httpx", "resilience"):
        made.add_column(f"{side}: lost", justify="right")
        made.add_column("median", justify="right", style=DIM)
        made.add_column("p99", justify="right", style=DIM)
    for number, row in enumerate(rows):
        title = Text(row.title if wide else row.short, row.color or "bold")
        made.add_row(title, *_cells(row.plain), *_cells(row.ours), end_section=number == len(rows) - 2)
    made.add_section()
    plain, ours = (f"{number:.3f}" for number in sends)
    made.add_row("requests the servers read per call" if wide else "reads per call", plain, "", "", ours, "", "")
    return made


def _cells(stretch: Stretch) -> tuple[Text, str, str]:
    lost = Text(f"{stretch.lost} of {stretch.sent}", BAD if stretch.lost else GOOD)
    return lost, ms(stretch.latency(0.5)), ms(stretch.latency(0.99))


def ms(seconds: float) -> str:
    """Write a latency in milliseconds."""
    return "–" if math.isnan(seconds) else f"{seconds * 1000:.0f} ms"


def errors(found: Counter[str]) -> str:
    """Write the failures by kind, the most frequent first."""
    return ", ".join(f"{number} × {text.rstrip(': .')}" for text, number in found.most_common(6)) or "none"
