"""What is wrong with a configuration: where, which key, which value, and what would be right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from resilience.config.values import REFUSED
from resilience.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator

    from pydantic import ValidationError

    from resilience.config.lines import Path

_LONGEST = 60
"""Characters of a value that are shown."""
_UNKNOWN = "no such key"
ONCE = "once"
"""What is expected of a key that stands twice in an object: which value would it have?"""
STRUCTURES = ("a table", "a list")
"""What is expected where a variable has to be JSON."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `source`: the file, or the variable; `line`: None where there is none.

    `value` is None for a key that there is not, and for a text that is no TOML or JSON: it may be a secret that has got
    into the wrong place, or hold some.
    """

    source: str
    line: int | None
    path: Path
    value: object
    expected: str

    @property
    def key(self) -> str:
        """The path as one writes it in TOML."""
        return ".".join(_quoted(part) for part in self.path)

    def __str__(self) -> str:
        """Return ``file:line: key = value: expected …``, without key or value where there is nothing to show."""
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        if _UNKNOWN in self.expected:
            return f"{place}: {self.key}: {self.expected}"
        if self.expected.startswith(ONCE):
            return f"{place}: {self.key}: expected {self.expected}"
        if self.value is None and not self.path:
            return f"{place}: expected {self.expected}"
        key = f"{self.key} = " if self.path else ""
        return f"{place}: {key}{_short(self.value)}: expected {self.expected}"


class ConfigurationFileError(ConfigurationError):
    """A configuration cannot be used. `problems`: all that is wrong; the fields tell the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        super().__init__(first.key or first.source, first.value, first.expected)
        self.args = ("\n".join(map(str, problems)),)
        self.problems = tuple(problems)


@contextmanager
def followed(source: str, /) -> Generator[None]:
    """Refuse what is nested more deeply than Python can follow."""
    try:
        yield
    except RecursionError:
        # Without the cause, which has a thousand lines to it.
        raise ConfigurationFileError([Problem(source, None, (), None, "tables and lists nested less deeply")]) from None


def of_validation(error: ValidationError, data: object) -> list[tuple[Path, object, str]]:
    """Return (path, value, what was expected) for everything pydantic has found, each path once."""
    found: dict[Path, tuple[Path, object, str]] = {}
    for detail in error.errors(include_url=False):
        kind = detail["type"]
        context = cast("Mapping[str, Any]", detail.get("ctx") or {})
        path = _path(detail["loc"], data, new=kind in _NO_VALUE)
        expected = _expected(kind, detail["msg"], context)
        value = None if kind in _NO_VALUE else detail["input"]
        if kind == REFUSED:
            path, value = (*path, context["argument"]), context["value"]
        elif kind == "union_tag_invalid":  # a bare word stands for a table with nothing but its kind
            value = _at(data, path)
            if isinstance(value, Mapping):
                path, value = (*path, "kind"), cast("Mapping[str, object]", value)["kind"]
        if path in found:
            known = found[path][2]
            expected = known if expected in known else f"{known}; or {expected}"
        found[path] = (path, value, expected)
    # Of alternatives that were tried, the one that got furthest tells most.
    around = {path[:length] for path in found for length in range(len(path))}
    return [it for path, it in found.items() if path not in around]


def _path(location: tuple[int | str, ...], data: object, *, new: bool) -> Path:
    """Return the keys of the data; pydantic puts the names of the alternatives it has tried in between.

    `new`: the last one is a key that pydantic wants, or does not know, and no alternative.
    """
    path: list[str | int] = []
    inside: Any = data
    for number, part in enumerate(location):
        if isinstance(inside, Mapping) and part in inside:
            inside = cast("Mapping[str | int, Any]", inside)[part]
        elif isinstance(inside, Sequence) and not isinstance(inside, str) and isinstance(part, int):
            inside = _item(inside, part)
        elif not new or number + 1 < len(location) or not isinstance(inside, Mapping):
            continue
        path.append(part)
    return tuple(path)


def _at(data: object, path: Path) -> object:
    inside: Any = data
    for part in path:
        inside = inside[part]
    return inside


def _item(items: Any, number: int) -> Any:  # noqa: ANN401 - a list, of anything
    return items[number] if number < len(items) else None


_NO_VALUE = frozenset({"missing", "extra_forbidden"})
_SAYS = {
    "extra_forbidden": _UNKNOWN,
    "missing": "a value: this key is needed",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "union_tag_invalid": "a kind among {expected_tags}",
    "union_tag_not_found": "a table with a kind",
    "literal_error": "{expected}",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number from {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number up to {le:g}",
    "too_short": "at least {min_length} of them",
    "value_error": "{error}",
    REFUSED: "{expected}",
}


def _expected(kind: str, message: str, context: Mapping[str, Any]) -> str:
    says = _SAYS.get(kind)
    return message if says is None else says.format(**context)


def _quoted(part: str | int) -> str:
    text = str(part)
    return text if text.replace("_", "").replace("-", "").isalnum() else f'"{printable(text)}"'


def printable(text: str, /) -> str:
    """Return a text that fits into a line, and does nothing to a terminal."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def _short(value: object) -> str:
    text = "a table" if isinstance(value, Mapping) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
