"""The page: everything in one file, nothing to be loaded."""

from __future__ import annotations

import platform
from html import escape
from importlib.metadata import version
from typing import TYPE_CHECKING

from resilience.cli.demo.chart import chart
from resilience.cli.demo.scenes import RATE
from resilience.cli.demo.sides import CAPTION, CODE, OURS, PLAIN
from resilience.cli.demo.table import errors, ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resilience.cli.demo.scenes import Script
    from resilience.cli.demo.tally import Row, Stretch, Tally

_STYLE = """
:root { color-scheme: light dark; --text: #1c2733; --soft: #5d6b7a; --line: #d9dfe6; --page: #fff; --card: #f6f8fa;
  --good: #3a9d6e; --bad: #d43d3d; --median: #2f6fb0; --slow: #c77d1c; }
@media (prefers-color-scheme: dark) { :root { --text: #e3e9ef; --soft: #97a5b3; --line: #313b46; --page: #12181f;
  --card: #1a222b; --good: #46b380; --bad: #ea5a5a; --median: #6fa8dc; --slow: #e0a952; } }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--text); background: var(--page); margin: 0 auto;
  padding: 2.5rem 1.25rem 4rem; max-width: 1320px; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .4rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p { max-width: 72ch; margin: .5rem 0; } .soft { color: var(--soft); }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 1.25rem;
  margin: 1.5rem 0; }
.side { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.1rem .6rem; }
.side h2 { margin: 0; } .side code { font-size: .82rem; color: var(--soft); }
.lost { font-size: 2.1rem; font-weight: 650; line-height: 1.2; margin: .5rem 0 0; } .lost small { font-size: .95rem;
  font-weight: 400; color: var(--soft); } .none { color: var(--good); } .some { color: var(--bad); }
svg { width: 100%; height: auto; margin-top: .5rem; font: 11px system-ui, sans-serif; }
svg .good { fill: var(--good); } svg .bad { fill: var(--bad); } svg .axis { stroke: var(--soft); }
svg .grid { stroke: var(--line); } svg .tick { text-anchor: end; fill: var(--soft); } svg .time, svg .fault {
  text-anchor: middle; } svg .time { fill: var(--soft); } svg .fault { font-weight: 650; }
svg polyline { fill: none; stroke-width: 2; } svg .median { stroke: var(--median); } svg .slow { stroke: var(--slow); }
.key { font-size: .85rem; color: var(--soft); } .key b { font-weight: 600; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { text-align: right; padding: .4rem .7rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; } th { font-weight: 600; }
tr.all td { font-weight: 650; border-top: 2px solid var(--line); } .dot { display: inline-block; width: .7em;
  height: .7em; border-radius: 50%; margin-right: .5em; }
code { font-family: ui-monospace, monospace; }
"""

_KEY = (
    '<p class="key">Above: calls due in each second, <b style="color:var(--good)">answered</b> and '
    '<b style="color:var(--bad)">lost</b>. Below: latency on a logarithmic scale, '
    '<b style="color:var(--median)">median</b> and <b style="color:var(--slow)">slowest 1 %</b>. '
    "Point at a second for its numbers.</p>"
)
_SCHEDULE = (
    "Calls leave on schedule whatever becomes of the earlier ones, and are timed from the moment they were due, "
    "so a slow second costs every call that was due in it."
)


def page(script: Script, sides: Sequence[Tally], rows: Sequence[Row], sends: Sequence[float]) -> str:
    """Return the page as HTML."""
    plain, ours = (tally.between(0) for tally in sides)
    title = f"Plain httpx lost {plain.lost} of {plain.sent} calls, resilience {ours.lost}"
    lead = (
        f"Six HTTP servers behind one name, {RATE:.0f} calls a second from each side for {script.seconds:.0f} seconds, "
        f"while {len(script.scenes)} faults come one after the other. Everything ran on one machine: real processes, "
        "real sockets, a real DNS server."
    )
    made_with = escape(f"Python {platform.python_version()} and httpx {version('httpx')}")
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>',
        f"<h1>{escape(title)}</h1><p>{escape(lead)}</p>",
        f'<div class="sides">{"".join(_side(script, tally) for tally in sides)}</div>',
        _KEY,
        "<h2>Fault by fault</h2>",
        '<p class="soft">Each row counts from the start of its fault to the start of the next.</p>',
        _table(rows, sends),
        "<h2>How it was measured</h2>",
        f"<p>{escape(CAPTION)}</p>",
        f"<p>{_SCHEDULE}</p>",
        f'<p class="soft">Made by <code>make demo</code> with {made_with}.</p></body></html>',
    ]
    return "\n".join(parts)


def _side(script: Script, tally: Tally) -> str:
    whole = tally.between(0)
    name = {PLAIN: "Plain httpx", OURS: "resilience"}[tally.side]
    mood = "some" if whole.lost else "none"
    return (
        f'<section class="side"><h2>{name}</h2><code>{escape(CODE[tally.side])}</code>'
        f'<p class="lost {mood}">{whole.lost} lost <small>of {whole.sent} · median {ms(whole.latency(0.5))} · '
        f"p99 {ms(whole.latency(0.99))}</small></p>{chart(script, tally, RATE)}"
        f'<p class="key">Lost: {escape(errors(tally.errors()))}.</p></section>'
    )


def _table(rows: Sequence[Row], sends: Sequence[float]) -> str:
    lines = [
        '<div class="scroll"><table><thead>',
        '<tr><th></th><th colspan="3">plain httpx</th><th colspan="3">resilience</th></tr>',
        f"<tr><th>Fault</th>{'<th>lost</th><th>median</th><th>p99</th>' * 2}</tr></thead><tbody>",
    ]
    for row in rows:
        kind = ' class="all"' if row is rows[-1] else ""
        dot = f'<span class="dot" style="background:{row.color}"></span>' if row.color else ""
        lines.append(f"<tr{kind}><td>{dot}{escape(row.title)}</td>{_cells(row.plain)}{_cells(row.ours)}</tr>")
    plain, ours = (f"{number:.3f}" for number in sends)
    lines.append(f'<tr><td>requests the servers read per call</td><td>{plain}</td><td colspan="2"></td><td>{ours}</td>')
    return "\n".join([*lines, '<td colspan="2"></td></tr></tbody></table></div>'])


def _cells(stretch: Stretch) -> str:
    mood = "some" if stretch.lost else "none"
    lost = f'<td class="{mood}">{stretch.lost} of {stretch.sent}</td>'
    return f"{lost}<td>{ms(stretch.latency(0.5))}</td><td>{ms(stretch.latency(0.99))}</td>"
