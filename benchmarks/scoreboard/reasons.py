"""Why a line of ours does not hold: a sentence for each scenario and subject, printed beside the ✗."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_ROUND_ROBIN = ("ours untold", "ours")
_NO_EWMA = (*_ROUND_ROBIN, "ours LeastRequest")
_ALL = (*_NO_EWMA, "ours PeakEwma", "ours PeakEwma+limit", "ours PeakEwma+hedge")
_SILENT = ("hung", "black-hole", "eleven")
_TABLE: tuple[tuple[tuple[str, ...], tuple[str, ...], str], ...] = (
    (
        ("slow", *_SILENT),
        _ROUND_ROBIN,
        "round robin sends each replica its share, a slow or silent one too until its circuit opens, and has to: it is the "
        "contract's default (ADR 13)",
    ),
    (
        ("slow", *_SILENT),
        ("ours LeastRequest",),
        "it counts calls in flight and knows no latency: a replica without any is chosen, however slow its last answer was",
    ),
    (
        ("503-all",),
        _ALL,
        "three attempts that fail with 30 % each leave 2.7 % of the fault's calls, 98.65 % over the cell: whoever makes three is "
        "above or below by the draw, some calls in a thousand",
    ),
    (
        ("dns-dead",),
        _ALL,
        "the restart cuts connections and refuses new ones for a moment: some calls in a thousand are answered late, by another "
        "replica; none is lost",
    ),
    (
        ("killed", "rolling"),
        ("ours PeakEwma+limit", "ours PeakEwma+hedge"),
        "limit and hedge cost processor time, and each cell had one core for client and servers: when a replica comes or goes, calls "
        "are late for up to a second of one round; none is lost",
    ),
    (
        ("hundred-hung",),
        ("ours PeakEwma+limit",),
        "while the hung calls end, 60 a second, others are late for half a second of one round, each cell having one core; "
        "none is lost or shed",
    ),
    (
        ("hundred-hung",),
        ("ours PeakEwma+hedge",),
        "the hung calls are hedged too, more hang for it, and each cell had one core: calls are late for up to a second; none is lost",
    ),
    (
        ("halved",),
        ("ours untold",),
        "no limit is on by default, of time or of calls in flight, since its target is the author's to know (ADR 15): all are "
        "answered, too late",
    ),
    (
        ("halved",),
        ("ours", "ours LeastRequest", "ours PeakEwma"),
        "no limit is on by default, since its target is the author's to know (ADR 15): servers go on with what was given up",
    ),
    (
        ("halved",),
        ("ours PeakEwma+hedge",),
        "hedges add load where there is none to spare, at 0.9 of the capacity before the fault, and no limit is on by default, since "
        "its target is the author's to know (ADR 15)",
    ),
)
REASONS = {(scenario, name): why for scenarios, names, why in _TABLE for scenario in scenarios for name in names}


def because(subject: str, scenarios: Iterable[str]) -> str:
    """Give the reasons of a subject, each behind the scenarios it is of; it says so where none is known."""
    grouped: dict[str, list[str]] = {}
    for scenario in scenarios:
        grouped.setdefault(REASONS.get((scenario, subject), "not explained yet"), []).append(scenario)
    return "; ".join(f"{', '.join(names)}: {why}" for why, names in grouped.items())
