"""The board as Markdown: the headline, what must hold, a table per scenario, how each subject is set up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.scoreboard.scenarios import LAG_LIMIT
from benchmarks.scoreboard.subjects import CONTROL, SUBJECTS
from benchmarks.scoreboard.wording import AGAIN, FIRST, HEADER, MEANING, TOO_WIDE, about, again, line, percent, rounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.scoreboard.board import Section
    from benchmarks.scoreboard.promises import Promise

RULE = (
    "Calls leave when they are due, whatever becomes of the earlier ones; a process of its own says when, and its lag is "
    f"recorded. A round whose lag has a 99th percentile above {LAG_LIMIT * 1000:g} ms is dropped, and counted as dropped: this rule stood "
    "before the first round. Subjects take turns within a round; within a round all get the same calls. Each subject's client is a "
    "process of its own; all of a cell lives in network namespaces of its own, where the subject looks names up through the "
    "system's resolver, at the lab's DNS server. One call in ten is a POST without an idempotency key."
)


def headline(sections: Sequence[Section]) -> str:
    """Calls in time and sends per call: a row per scenario, a column per subject."""
    names = [name for name in SUBJECTS if name != CONTROL and any(name in section.standings for section in sections)]
    return _rows(
        ("", "rounds, A/A spread", *names),
        ([section.scenario.name, apart(section), *(cell(section, name) for name in names)] for section in sections),
    )


def apart(section: Section) -> str:
    """Write how many rounds count and how far the twins were apart, and what follows when that is far."""
    return rounds(section) + ("" if section.ranked else f"<br>{TOO_WIDE}")


def cell(section: Section, name: str, percent: Callable[[float], str] = percent) -> str:
    """Write the share in time, bold for the first and ~ for noise, above the sends per call; empty without a row."""
    it = section.standings.get(name)
    if it is None:
        return ""
    text = percent(it.within)
    if it.noisy:
        text = f"~{text}"
    elif section.first(name):
        text = f"**{text}**"
    return f"{text}<br>×{it.sends:.2f}"


def markdown(sections: Sequence[Section], kept: Sequence[Promise], circumstances: str) -> str:
    """Write the whole document."""
    parts = [
        "# Scoreboard",
        circumstances,
        RULE,
        "## Calls answered in time, %, and sends per call",
        headline(sections),
        f"Bold: {FIRST}. ~: the noise rule dropped every round of this cell; the number is for orientation only.",
        "## What must hold of ours",
        _rows(
            ("must hold", "of", "measured", "", "why not"),
            ([p.what, p.subject, p.measured, "✓" if p.holds else "✗", p.why] for p in kept),
        ),
        "## Scenario by scenario",
        "\n".join(f"- *{name}*: {meaning}" for name, meaning in MEANING.items()),
        AGAIN,
    ]
    for section in sections:
        parts += [
            f"### {section.scenario.name}: {section.scenario.title}",
            about(section),
            f"![{section.scenario.title}]({section.scenario.name}.png)",
            _rows(HEADER, (line(it, section) for it in section.standings.values())),
            f"Run one again: `{again(section)}`",
        ]
    parts += ["## How each subject is set up", "\n".join(f"- **{name}**: {s.note}" for name, s in _present(sections))]
    return "\n\n".join(parts) + "\n"


def _present(sections: Sequence[Section]) -> list[tuple[str, object]]:
    return [(name, it) for name, it in SUBJECTS.items() if any(name in section.standings for section in sections)]


def _rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|---|" + "--:|" * (len(header) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
