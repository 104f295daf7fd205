"""The board: all standings, found from the rows once, for table, pictures and page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.scoreboard.scenarios import SCENARIOS, Scenario
from benchmarks.scoreboard.standing import WIDEST, Standing, betters, spread, standing
from benchmarks.scoreboard.subjects import CONTROL, OURS, SUBJECTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.scoreboard.rows import Row


@dataclass(frozen=True, slots=True)
class Section:
    """One scenario: who took part, and how much the control strayed."""

    scenario: Scenario
    noise: float
    controlled: bool
    """Whether the control ran in a round that was kept."""
    standings: dict[str, Standing]

    def first(self, subject: str) -> bool:
        """Tell whether nobody is better by more than the noise for the same sends, where that means anything."""
        return self.ranked and not self.betters(subject)

    def betters(self, subject: str) -> list[str]:
        """Name those who are better, the best first."""
        return betters(self.standings[subject], self.rivals, self.noise)

    @property
    def ranked(self) -> bool:
        """Whether the twins were close enough for anybody to be called first."""
        return self.noise <= WIDEST

    @property
    def rounds(self) -> str:
        """How many rounds count: `6`, or `5–6` when the noise rule has dropped some of some subjects."""
        counts = [0 if it.noisy else it.rounds for it in self.standings.values()]
        return f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)}–{max(counts)}"

    @property
    def rivals(self) -> list[Standing]:
        """All but the control."""
        return [it for name, it in self.standings.items() if name != CONTROL]


def board(rows: Sequence[Row]) -> list[Section]:
    """Sum all rows up, in the order of the scenarios and subjects."""
    sections = []
    for name, scenario in SCENARIOS.items():
        mine = [row for row in rows if row["scenario"] == name]
        found = {s: standing(s, [row for row in mine if row["subject"] == s]) for s in SUBJECTS}
        standings = {s: it for s, it in found.items() if it is not None}
        if standings:
            kept = {row["subject"] for row in mine if row["kept"]}
            sections.append(Section(scenario, spread(mine, OURS, CONTROL), {OURS, CONTROL} <= kept, standings))
    return sections
