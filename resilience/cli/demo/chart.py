"""Charts as inline SVG: no script, no file beside the page, and a tooltip on every second."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from resilience.cli.demo.table import ms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resilience.cli.demo.scenes import Script
    from resilience.cli.demo.tally import Stretch, Tally

_WIDTH, _LEFT, _TOP = 620.0, 52.0, 26.0
_ANSWERS, _GAP, _LATENCY = 150.0, 26.0, 110.0
_BOTTOM = 24.0
_HEIGHT = _TOP + _ANSWERS + _GAP + _LATENCY + _BOTTOM
_FASTEST, _SLOWEST = 0.002, 3.0
_TICKS = ((0.01, "10 ms"), (0.1, "100 ms"), (0.3, "300 ms"), (1.0, "1 s"), (2.0, "2 s"))


def chart(script: Script, tally: Tally, rate: float) -> str:
    """Return one side's seconds as SVG: answered and lost calls above, latencies below."""
    seconds = math.ceil(script.seconds)
    step = (_WIDTH - _LEFT - 6) / script.seconds
    found = [tally.second(number) for number in range(seconds)]
    parts = [
        f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{escape(tally.side)}, second by second">',
        *_faults(script, step),
        *_answers(found, step, rate),
        *_latencies(found, step),
        *_clock(seconds, step),
        "</svg>",
    ]
    return "\n".join(parts)


def _x(second: float, step: float) -> float:
    return _LEFT + second * step


def _faults(script: Script, step: float) -> Iterator[str]:
    for scene in script.scenes:
        left, width = _x(scene.starts, step), (scene.ends - scene.starts) * step
        yield (
            f'<rect x="{left:.1f}" y="{_TOP - 4:g}" width="{width:.1f}" height="{_HEIGHT - _TOP - _BOTTOM + 4:g}" '
            f'fill="{scene.color}" opacity=".16"><title>{escape(scene.title)}</title></rect>'
        )
        yield (
            f'<text x="{left + width / 2:.1f}" y="{_TOP - 10:g}" class="fault" fill="{scene.color}">'
            f"{escape(scene.short)}</text>"
        )


def _answers(found: list[Stretch], step: float, rate: float) -> Iterator[str]:
    floor = _TOP + _ANSWERS
    most = max([rate, *(stretch.sent for stretch in found)])
    for second, stretch in enumerate(found):
        left, width = _x(second + 0.07, step), step * 0.86
        good = (stretch.sent - stretch.lost) / most * _ANSWERS
        bad = stretch.lost / most * _ANSWERS
        if stretch.lost:
            bad = max(bad, 1.5)  # a single lost call must be seen
        tip = f"second {second}: {stretch.sent - stretch.lost} answered, {stretch.lost} lost"
        across = f'x="{left:.1f}" width="{width:.1f}"'
        yield f'<g><title>{tip}</title><rect {across} y="{floor - good:.1f}" height="{good:.1f}" class="good"/>'
        yield f'<rect {across} y="{floor - good - bad:.1f}" height="{bad:.1f}" class="bad"/></g>'
    for value in (0.0, rate / 2, rate):
        y = floor - value / most * _ANSWERS
        yield f'<text x="{_LEFT - 6:g}" y="{y + 4:.1f}" class="tick">{value:.0f}</text>'
    yield f'<line x1="{_LEFT:g}" x2="{_WIDTH - 6:g}" y1="{floor:g}" y2="{floor:g}" class="axis"/>'


def _latencies(found: list[Stretch], step: float) -> Iterator[str]:
    for value, label in _TICKS:
        y = _level(value)
        yield f'<line x1="{_LEFT:g}" x2="{_WIDTH - 6:g}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
        yield f'<text x="{_LEFT - 6:g}" y="{y + 4:.1f}" class="tick">{label}</text>'
    for share, name in ((0.99, "slow"), (0.5, "median")):
        points: list[str] = []
        for second, stretch in enumerate(found):
            if stretch.sent:
                y = _level(stretch.latency(share))
                points += [f"{_x(second, step):.1f},{y:.1f}", f"{_x(second + 1, step):.1f},{y:.1f}"]
        yield f'<polyline points="{" ".join(points)}" class="{name}"/>'
    for second, stretch in enumerate(found):
        tip = f"second {second}: median {ms(stretch.latency(0.5))}, slowest 1 % {ms(stretch.latency(0.99))}"
        yield (
            f'<rect x="{_x(second, step):.1f}" y="{_TOP + _ANSWERS + _GAP:g}" width="{step:.1f}" '
            f'height="{_LATENCY:g}" fill="transparent"><title>{tip}</title></rect>'
        )


def _level(seconds: float) -> float:
    share = math.log(min(_SLOWEST, max(_FASTEST, seconds)) / _FASTEST) / math.log(_SLOWEST / _FASTEST)
    return _TOP + _ANSWERS + _GAP + _LATENCY * (1 - share)


def _clock(seconds: int, step: float) -> Iterator[str]:
    floor = _HEIGHT - _BOTTOM
    yield f'<line x1="{_LEFT:g}" x2="{_WIDTH - 6:g}" y1="{floor:g}" y2="{floor:g}" class="axis"/>'
    for second in range(0, seconds + 1, 10):
        yield f'<text x="{_x(second, step):.1f}" y="{floor + 16:g}" class="time">{second} s</text>'
