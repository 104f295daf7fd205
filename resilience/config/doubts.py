"""What is doubtful about a configuration that is valid: every warning, with its line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resilience.config.problems import printable
from resilience.http.doubts import doubts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

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
        return f"{place}: {printable(self.about)}: {self.warning}"


def doubts_of(configuration: Configuration) -> tuple[Doubt, ...]:
    """Return every warning, in the order of the file."""
    found = sorted(_all(configuration), key=lambda it: (it.line or 0, it.about, it.warning))
    return tuple(dict.fromkeys(found))


def _all(configuration: Configuration) -> Iterator[Doubt]:
    keys = _keys(configuration)

    def doubt(table: Path, about: str, warning: str) -> Doubt:
        return Doubt(configuration.source, _line(configuration, table, keys.get(table, ()), warning), about, warning)

    for warning in doubts(configuration.defaults, None):
        yield doubt(("defaults",), "defaults", warning)
    for name, service in configuration.services.items():
        for warning in doubts(service, None):
            yield doubt(("services", name), name, warning)
    for name, pipeline in configuration.pipelines.items():
        for warning in pipeline.describe().warnings:
            yield doubt(("pipelines", name), name, warning)


def _keys(configuration: Configuration) -> Mapping[Path, list[tuple[str, int]]]:
    """Return the keys in each table that warnings are about, with their lines."""
    found: dict[Path, list[tuple[str, int]]] = {}
    for path, line in configuration.lines.items():
        table = path[:1] if path[0] == "defaults" else path[:2]
        if len(path) > len(table):
            found.setdefault(table, []).append((str(path[-1]), line))
    return found


def _line(configuration: Configuration, table: Path, keys: Iterable[tuple[str, int]], warning: str) -> int | None:
    """Return the line of the key that the warning names first, where the table has one; else that of the table."""
    words = {word: place for place, word in reversed(list(enumerate(re.findall(r"\w+", warning))))}
    named = [(words[key], line) for key, line in keys if key in words]
    return min(named)[1] if named else configuration.line(*table)
