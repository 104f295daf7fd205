"""What is doubtful about a configuration that is valid: every warning, with its line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resilience.http.doubts import doubts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resilience.config.lines import Path
    from resilience.config.load import Configuration


@dataclass(frozen=True, slots=True)
class Doubt:
    """One warning: about which service or pipeline, and where it stands."""

    source: str
    line: int | None
    about: str
    warning: str

    def __str__(self) -> str:
        """Return ``file:line: service: warning``."""
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        return f"{place}: {self.about}: {self.warning}"


def doubts_of(configuration: Configuration) -> tuple[Doubt, ...]:
    """Return every warning, in the order of the file."""
    found = sorted(_all(configuration), key=lambda it: (it.line or 0, it.about, it.warning))
    return tuple(dict.fromkeys(found))


def _all(configuration: Configuration) -> Iterator[Doubt]:
    source = configuration.source
    for warning in doubts(configuration.defaults, None):
        yield Doubt(source, _line(configuration, ("defaults",), warning), "defaults", warning)
    for name, service in configuration.services.items():
        for warning in doubts(service, None):
            yield Doubt(source, _line(configuration, ("services", name), warning), name, warning)
    for name, pipeline in configuration.pipelines.items():
        for warning in pipeline.describe().warnings:
            yield Doubt(source, _line(configuration, ("pipelines", name), warning), name, warning)


def _line(configuration: Configuration, table: Path, warning: str) -> int | None:
    """Return the line of the key that the warning names first, where the table has one; else that of the table."""
    words = {word: place for place, word in reversed(list(enumerate(re.findall(r"\w+", warning))))}
    named = [
        (words[str(path[-1])], line)
        for path, line in configuration.lines.items()
        if path[: len(table)] == table and len(path) > len(table) and str(path[-1]) in words
    ]
    return min(named)[1] if named else configuration.line(*table)
