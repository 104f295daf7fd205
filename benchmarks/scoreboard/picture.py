"""One picture per scenario: every subject's calls and latencies over time, small multiples, the fault marked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks.scoreboard.scenarios import WINDOW
from benchmarks.scoreboard.standing import seconds
from benchmarks.scoreboard.subjects import CONTROL, SUBJECTS
from benchmarks.scoreboard.wording import percent

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.scoreboard.board import Section
    from benchmarks.scoreboard.standing import Standing

_COLUMNS = 4
_WIDTH, _DOTS = 10.0, 160
"""Inches and dots an inch: at a README's 830 pixels the smallest letters are still 9 pixels high."""
_GOOD, _LATE, _LOST, _MEDIAN, _SLOW = "#3a9d6e", "#e6b84f", "#d43d3d", "#2f6fb0", "#8a4fb5"
_FLOOR, _CEILING = 2.0, 6000.0
_TICKS = {10: "10 ms", 100: "100 ms", 1000: "1 s"}
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
}


def draw(section: Section, file: Path) -> None:
    """Write the picture as PNG."""
    shown = [it for name, it in section.standings.items() if name != CONTROL]
    columns = min(_COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH * columns / _COLUMNS, 2.1 * rows + 0.8), dpi=_DOTS, layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(2 * rows, columns, height_ratios=[3, 2.4] * rows)
        for index, it in enumerate(shown):
            row, column = divmod(index, columns)
            above = figure.add_subplot(grid[2 * row, column])
            below = figure.add_subplot(grid[2 * row + 1, column], sharex=above)
            _calls(above, it, first=column == 0)
            _latencies(below, it, section, first=column == 0)
            _name(above, it)
            for axis in (above, below):
                _fault(axis, section)
            last = index + columns >= len(shown)
            above.tick_params(labelbottom=False)
            below.tick_params(labelbottom=last)
        figure.suptitle(f"{section.scenario.name}: {section.scenario.title}", x=0.01, ha="left", fontweight="bold")
        keys = [
            Patch(color=_GOOD, label=f"in {section.scenario.objective * 1000:g} ms"),
            Patch(color=_LATE, label="later"),
            Patch(color=_LOST, label="lost"),
            Line2D([], [], color=_MEDIAN, label="median"),
            Line2D([], [], color=_SLOW, label="99th percentile"),
        ]
        if section.scenario.name != "healthy":
            keys.append(Patch(color="#b9b9b9", alpha=0.5, label="fault"))
        figure.legend(
            handles=keys, loc="outside lower left", ncols=len(keys) if columns == _COLUMNS else 3, frameon=False
        )
        figure.savefig(file)


def _name(axis: Axes, it: Standing) -> None:
    """Put the name and, below it, the two numbers above the panel."""
    weight = "bold" if SUBJECTS[it.subject].ours else "normal"
    axis.set_title(it.subject, loc="left", fontsize=9, fontweight=weight, pad=14)
    text = f"{'~ ' if it.noisy else ''}{percent(it.within)} % in time, ×{it.sends:.2f} sent"
    axis.annotate(
        text, (0, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", fontsize=8, color="#444444"
    )


def _calls(axis: Axes, it: Standing, *, first: bool) -> None:
    middles = [seconds(index) for index in range(len(it.windows))]
    in_time = [100 * window[2] for window in it.windows]
    late = [100 * (window[1] - window[2]) for window in it.windows]
    lost = [100 * (1 - window[1]) for window in it.windows]
    width = WINDOW * 0.9
    axis.bar(middles, in_time, width=width, color=_GOOD, zorder=2)
    axis.bar(middles, late, bottom=in_time, width=width, color=_LATE, zorder=2)
    axis.bar(
        middles, lost, bottom=[a + b for a, b in zip(in_time, late, strict=True)], width=width, color=_LOST, zorder=2
    )
    axis.set_ylim(0, 100)
    axis.set_yticks([0, 50, 100], ["0", "50", "100 %"] if first else ["", "", ""])
    axis.set_xlim(0, len(it.windows) * WINDOW)


def _latencies(axis: Axes, it: Standing, section: Section, *, first: bool) -> None:
    edges = [index * WINDOW for index in range(len(it.windows) + 1)]
    for column, color in ((4, _SLOW), (3, _MEDIAN)):
        values = [min(window[column], 0.9 * _CEILING) for window in it.windows]
        axis.stairs(values, edges, color=color, linewidth=1.4, baseline=None)
    axis.axhline(section.scenario.objective * 1000, color="#999999", linewidth=0.7, linestyle=":")
    axis.set_yscale("log")
    axis.set_ylim(_FLOOR, _CEILING)
    axis.set_yticks(list(_TICKS), list(_TICKS.values()) if first else [""] * len(_TICKS))
    axis.minorticks_off()
    axis.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    ticks = list(range(0, math.ceil(section.scenario.seconds) + 1, 2 if section.scenario.seconds < 12 else 4))
    axis.set_xticks(ticks, [f"{tick}{' s' if tick == ticks[-1] else ''}" for tick in ticks])


def _fault(axis: Axes, section: Section) -> None:
    if section.scenario.name != "healthy":
        axis.axvspan(section.scenario.starts, section.scenario.ends, color="#b9b9b9", alpha=0.35, linewidth=0, zorder=0)
        for edge in (section.scenario.starts, section.scenario.ends):
            axis.axvline(edge, color="#333333", linewidth=0.9, linestyle="--", zorder=3)
