"""The page: headline, promises, pictures and tables in one HTML file; nothing is loaded."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING

from benchmarks.scoreboard.subjects import CONTROL, SUBJECTS
from benchmarks.scoreboard.table import RULE, apart
from benchmarks.scoreboard.wording import AGAIN, FIRST, HEADER, MEANING, about, again, line, percent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.scoreboard.board import Section
    from benchmarks.scoreboard.promises import Promise

_STYLE = """
:root { color-scheme: light dark; --text: #1c2733; --soft: #5d6b7a; --line: #d9dfe6; --page: #fff; --card: #f6f8fa;
  --good: #d3efdf; --fair: #fbeec9; --bad: #f8d4d4; }
@media (prefers-color-scheme: dark) { :root { --text: #e3e9ef; --soft: #97a5b3; --line: #313b46; --page: #12181f;
  --card: #1a222b; --good: #1d4733; --fair: #54461a; --bad: #5a2626; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page); margin: 0 auto;
  padding: 2rem 1.25rem 4rem; max-width: 1500px; }
h1 { font-size: 1.7rem; } h2 { margin-top: 2.4rem; } h3 { margin: 2.2rem 0 .3rem; } p { max-width: 90ch; }
.soft { color: var(--soft); font-size: .92rem; } .scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .86rem; margin: .6rem 0; }
th, td { text-align: right; padding: .3rem .55rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { vertical-align: bottom; }
td small { color: var(--soft); } .good { background: var(--good); } .fair { background: var(--fair); }
.bad { background: var(--bad); } tr.ours td:first-child { font-weight: 650; } td.words { text-align: left;
  white-space: normal; min-width: 22ch; } img { width: 100%; height: auto; background: #fff; border-radius: 8px; }
code { font-family: ui-monospace, monospace; font-size: .85em; background: var(--card); padding: .1em .3em; }
"""
_GOOD, _FAIR = 0.995, 0.95


def page(sections: Sequence[Section], kept: Sequence[Promise], circumstances: str, folder: Path) -> str:
    """Return the page; the pictures are taken from `folder`."""
    facts = "<br>".join(escape(fact.removeprefix("- ")) for fact in circumstances.splitlines())
    meaning = "".join(f"<li><b>{escape(name)}</b>: {escape(text)}</li>" for name, text in MEANING.items())
    notes = "".join(
        f"<li><b>{escape(name)}</b>: {_code(it.note)}</li>"
        for name, it in SUBJECTS.items()
        if any(name in section.standings for section in sections)
    )
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Scoreboard</title>',
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>',
            "<h1>The same load, the same fault, every alternative</h1>",
            f"<p>{escape(RULE)}</p>",
            "<h2>Calls answered in time, %, and sends per call</h2>",
            _headline(sections),
            f'<p class="soft">★: {escape(FIRST)}. '
            "~: the noise rule dropped every round of this cell; for orientation only.</p>",
            "<h2>What must hold of ours</h2>",
            _promises(kept),
            f"<h2>Scenario by scenario</h2><ul class=soft>{meaning}</ul><p class=soft>{_code(AGAIN)}</p>",
            *(_section(section, folder) for section in sections),
            f"<h2>How each subject is set up</h2><ul>{notes}</ul>",
            f"<h2>Circumstances</h2><p class=soft>{facts}</p></body></html>",
        ]
    )


def _headline(sections: Sequence[Section]) -> str:
    names = [name for name in SUBJECTS if name != CONTROL and any(name in section.standings for section in sections)]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = []
    for section in sections:
        cells = "".join(_cell(section, name) for name in names)
        rows.append(
            f'<tr><td title="{escape(section.scenario.title)}">{section.scenario.name}</td><td>{apart(section)}</td>{cells}</tr>'
        )
    return f'<div class="scroll"><table><tr><th></th><th>rounds,<br>A/A spread</th>{head}</tr>{"".join(rows)}</table></div>'


def _cell(section: Section, name: str) -> str:
    it = section.standings.get(name)
    if it is None:
        return "<td></td>"
    mood = "good" if it.within >= _GOOD else "fair" if it.within >= _FAIR else "bad"
    star = "★ " if section.first(name) and not it.noisy else ""
    return (
        f'<td class="{mood}">{star}{"~" if it.noisy else ""}{percent(it.within)}<br><small>×{it.sends:.2f}</small></td>'
    )


def _promises(kept: Sequence[Promise]) -> str:
    rows = [
        f'<tr><td>{escape(p.what)}</td><td>{escape(p.subject)}</td><td class="words">{escape(p.measured)}</td>'
        f'<td class="{"good" if p.holds else "bad"}">{"✓" if p.holds else "✗"}</td><td class="words">{escape(p.why)}</td></tr>'
        for p in kept
    ]
    head = "<tr><th>must hold</th><th>of</th><th>measured</th><th></th><th>why not</th></tr>"
    return f'<div class="scroll"><table>{head}{"".join(rows)}</table></div>'


def _section(section: Section, folder: Path) -> str:
    scenario = section.scenario
    data = base64.b64encode((folder / f"{scenario.name}.png").read_bytes()).decode()
    head = "".join(f"<th>{escape(name)}</th>" for name in HEADER)
    rows = []
    for it in section.standings.values():
        cells = "".join(f"<td>{escape(text)}</td>" for text in line(it, section))
        kind = ' class="ours"' if SUBJECTS[it.subject].ours else ""
        errors = ", ".join(f"{count} × {name}" for name, count in it.errors.items()) or "none"
        rows.append(f'<tr{kind} title="failures: {escape(errors)}">{cells}</tr>')
    return (
        f'<h3 id="{scenario.name}">{scenario.name}: {escape(scenario.title)}</h3><p class="soft">{escape(about(section))}</p>'
        f'<img alt="{escape(scenario.title)}" src="data:image/png;base64,{data}">'
        f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'
        f'<p class="soft">Run one again: <code>{escape(again(section))}</code></p>'
    )


def _code(text: str) -> str:
    """Turn Markdown's backticks into elements."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
