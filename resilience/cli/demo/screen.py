"""The live view: both sides' last seconds beside each other, and the state of the world above them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.columns import Columns
from rich.console import Group
from rich.panel import Panel
from rich.text import Text

from resilience.cli.demo.scenes import RATE
from resilience.cli.demo.sides import OURS, PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import RenderableType

    from resilience.cli.demo.scenes import Script
    from resilience.cli.demo.tally import Stretch, Tally

GOOD, BAD, DIM = "#4caf7d", "#e05252", "grey50"
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_ROWS = 6
_AXIS = 8
"""Columns left of a chart."""
_FASTEST, _SLOWEST = 0.01, 2.5
_MEDIAN, _SLOW = "#6fa8dc", "#e0a952"
_TITLES = {PLAIN: "plain httpx", OURS: "resilience"}
Cell = tuple[str, str]


def frame(
    script: Script, now: float, sides: Sequence[Tally], moods: Mapping[str, str], names: Sequence[str], width: int
) -> Group:
    """Return one picture of the whole, for a terminal `width` columns wide."""
    beside = width >= 2 * (_AXIS + 24)
    each = width // 2 if beside else width
    panels = [side(script, now, tally, each) for tally in sides]
    body: RenderableType = Columns(panels, padding=0, width=each) if beside else Group(*panels)
    return Group(_above(script, now, moods, names), body)


def _above(script: Script, now: float, moods: Mapping[str, str], names: Sequence[str]) -> Panel:
    scene = script.at(now)
    line = Text()
    line.append(" now  ", DIM)
    if scene is None:
        line.append("● ", GOOD)
        line.append("all is well")
    else:
        line.append("● ", scene.color)
        line.append(scene.title, f"bold {scene.color}")
    servers = Text()
    servers.append(" servers  ", DIM)
    for name in names:
        mood = moods.get(name)
        up = mood in {None, "restarted"}
        style = GOOD if up else DIM if mood == "gone" else BAD
        servers.append(f"{'●' if up else '○'} {name}", style)
        servers.append(f" {mood or 'up'}   ", DIM if mood is None else style)
    done = int(30 * min(1.0, max(0.0, now) / script.seconds))
    clock = Text(" time  ", DIM)
    clock.append("━" * done, GOOD)
    clock.append("━" * (30 - done), "grey30")
    clock.append(f"  {max(0, int(now))} of {script.seconds:.0f} s", DIM)
    title = f"[bold]six servers, one name, {RATE:.0f} calls a second on each side[/]"
    return Panel(Group(line, servers, clock), title=title, title_align="left", border_style=DIM)


def side(script: Script, now: float, tally: Tally, width: int) -> Panel:
    """Return one side's panel."""
    columns = min(width - _AXIS - 4, math.ceil(script.seconds))
    # The second that is not over yet would look like a dip.
    last = min(int(now), math.ceil(script.seconds))
    shown = range(max(0, last - columns), max(0, last))
    stretches = [tally.second(number) for number in shown]
    whole = tally.between(0)
    verdict = Text(" ")
    verdict.append(f"{whole.lost:>5} lost", f"bold {BAD if whole.lost else GOOD}")
    verdict.append(f"  of {whole.sent}", DIM)
    if whole.sent:
        verdict.append(f"    median {_ms(whole.latency(0.5))}   p99 {_ms(whole.latency(0.99))}", DIM)
    parts = [
        verdict,
        Text.assemble(" each second: calls ", ("answered", GOOD), " and ", ("lost", BAD), style=DIM),
        *_chart(stretches, _answered, ("100 %", "0 %")),
        Text.assemble(" latency: ", ("median", _MEDIAN), " and ", ("slowest 1 %", _SLOW), style=DIM),
        *_chart(stretches, _latencies, ("2 s", "10 ms")),
        _faults(script, shown),
    ]
    return Panel(
        Group(*parts), title=f"[bold]{_TITLES[tally.side]}[/]", title_align="left", border_style=DIM, width=width
    )


def _chart(
    stretches: Sequence[Stretch], column: Callable[[Stretch], list[Cell]], labels: tuple[str, str]
) -> list[Text]:
    cells = [column(stretch) for stretch in stretches]
    lines: list[Text] = []
    for row in range(_ROWS):
        label = labels[0] if row == 0 else labels[1] if row == _ROWS - 1 else ""
        line = Text(f"{label:>{_AXIS - 2}} ", DIM)
        line.append("│", DIM)
        for cell in cells:
            line.append(*cell[row])
        lines.append(line)
    return lines


def _answered(stretch: Stretch) -> list[Cell]:
    """Return a column from top to bottom: what was answered below, what was lost above it."""
    if not stretch.sent:
        return [(" ", "")] * _ROWS
    # At least an eighth of a row for a single lost call: it must not vanish in rounding.
    lost = stretch.lost / stretch.sent * _ROWS
    lost = max(lost, 1 / 8) if stretch.lost else 0.0
    filled = _ROWS - lost
    column: list[Cell] = []
    for row in range(_ROWS):
        part = min(1.0, max(0.0, filled - (_ROWS - 1 - row)))
        eighths = math.floor(part * 8)
        column.append(("█", GOOD) if eighths == 8 else (_EIGHTHS[eighths], f"{GOOD} on {BAD}"))  # noqa: PLR2004
    return column


def _latencies(stretch: Stretch) -> list[Cell]:
    if not stretch.sent:
        return [(" ", "")] * _ROWS
    median, slow = (_height(stretch.latency(share)) for share in (0.5, 0.99))
    column: list[Cell] = []
    for row in range(_ROWS):
        floor = _ROWS - 1 - row
        if median > floor:
            # What the median leaves of its cell belongs to the slow ones, when they reach beyond it.
            style = f"{_MEDIAN} on {_SLOW}" if slow > floor + 1 > median else _MEDIAN
            column.append((_EIGHTHS[max(1, math.floor(min(1.0, median - floor) * 8))], style))
        elif slow > floor:
            column.append((_EIGHTHS[max(1, math.floor(min(1.0, slow - floor) * 8))], _SLOW))
        else:
            column.append((" ", ""))
    return column


def _height(seconds: float) -> float:
    share = math.log(max(seconds, _FASTEST) / _FASTEST) / math.log(_SLOWEST / _FASTEST)
    return min(1.0, share) * _ROWS


def _faults(script: Script, shown: range) -> Text:
    line = Text(" " * (_AXIS - 1) + "└", DIM)
    for number in shown:
        scene = script.at(number + 0.5)
        if scene is None:
            line.append("─", DIM)
        else:
            place = number - int(scene.starts)
            letter = scene.short[place] if 0 <= place < len(scene.short) else " "
            line.append(letter, f"bold white on {scene.color}")
    return line


def _ms(seconds: float) -> str:
    return "–" if math.isnan(seconds) else f"{seconds * 1000:.0f} ms"
