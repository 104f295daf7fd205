# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# matplotlib leaves its keyword arguments untyped.
"""The picture: both sides' seconds beside each other, faults shaded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from resilience.cli.demo.sides import CODE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from resilience.cli.demo.scenes import Script
    from resilience.cli.demo.tally import Tally

_GOOD, _BAD, _MEDIAN, _SLOW = "#3a9d6e", "#d43d3d", "#2f6fb0", "#d98f2b"
_LEAST, _MOST = 0.002, 3.0
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.titlesize": 11.5,
}


def draw(script: Script, sides: Sequence[Tally], file: Path) -> None:
    """Write the picture as PNG."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(13, 6.4), dpi=130, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(2, len(sides), sharex=True, sharey="row", height_ratios=(3, 2))
        for column, tally in enumerate(sides):
            above, below = axes[0][column], axes[1][column]
            whole = tally.between(0)
            above.set_title(
                f"{CODE[tally.side]}\n{whole.lost} of {whole.sent} calls lost", loc="left", pad=22, fontweight="bold"
            )
            _answers(above, script, tally)
            _latencies(below, script, tally)
            for axis in (above, below):
                _faults(axis, script, named=axis is above)
                axis.set_xlim(0, script.seconds)
                axis.margins(0)
            below.set_xlabel("seconds")
        axes[0][0].set_ylabel("calls due in each second")
        axes[1][0].set_ylabel("latency (log)")
        figure.savefig(file)


def _answers(axis: Axes, script: Script, tally: Tally) -> None:
    seconds = range(math.ceil(script.seconds))
    found = [tally.second(number) for number in seconds]
    middles = [number + 0.5 for number in seconds]
    answered = [stretch.sent - stretch.lost for stretch in found]
    axis.bar(middles, answered, width=0.86, color=_GOOD, label="answered", zorder=2)
    axis.bar(middles, [s.lost for s in found], bottom=answered, width=0.86, color=_BAD, label="lost", zorder=2)
    axis.legend(loc="lower right", ncols=2, framealpha=0.9, fontsize=8.5)


def _latencies(axis: Axes, script: Script, tally: Tally) -> None:
    found = [tally.second(number) for number in range(math.ceil(script.seconds))]
    edges = list(range(len(found) + 1))
    axis.stairs([s.latency(0.99) for s in found], edges, color=_SLOW, linewidth=1.6, label="slowest 1 %", baseline=None)
    axis.stairs([s.latency(0.5) for s in found], edges, color=_MEDIAN, linewidth=1.6, label="median", baseline=None)
    axis.set_yscale("log")
    axis.set_ylim(_LEAST, _MOST)
    axis.set_yticks([0.01, 0.1, 0.3, 1, 2], ["10 ms", "100 ms", "300 ms", "1 s", "2 s"])
    axis.minorticks_off()
    axis.grid(axis="y", color="#dddddd", linewidth=0.7)
    axis.legend(loc="lower right", ncols=2, framealpha=0.9, fontsize=8.5)


def _faults(axis: Axes, script: Script, *, named: bool) -> None:
    for scene in script.scenes:
        axis.axvspan(scene.starts, scene.ends, color=scene.color, alpha=0.16, linewidth=0, zorder=0)
        if named:
            axis.text(
                (scene.starts + scene.ends) / 2,
                1.02,
                scene.short,
                transform=axis.get_xaxis_transform(),
                ha="center",
                va="bottom",
                color=scene.color,
                fontweight="bold",
            )
