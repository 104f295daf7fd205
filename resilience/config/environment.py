"""Environment variables that take the place of single keys."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from resilience.config.problems import STRUCTURES, ConfigurationFileError, Problem, followed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resilience.config.lines import Path

_BETWEEN = "__"


def overridden(
    data: Mapping[str, Any], environment: Mapping[str, str], prefix: str
) -> tuple[dict[str, Any], dict[Path, str]]:
    """Return the data with what the environment says, and which variable has set which path.

    ``PREFIX__SERVICES__WEB_INTERNAL__RETRY`` is for the key that is spelled so but for case and signs; a key that is
    not there yet is the variable's own in small letters. Services have to be there: their names have more signs.
    """
    result = cast("dict[str, Any]", _copied(data))
    names: dict[Path, str] = {}
    for variable in sorted(environment):
        if not variable.startswith(f"{prefix}{_BETWEEN}"):
            continue
        words = variable.removeprefix(f"{prefix}{_BETWEEN}").split(_BETWEEN)
        path: list[str | int] = []
        inside: Any = result
        for number, word in enumerate(words):
            keys = _keys(inside, word)
            if not keys or not word:
                raise _refusal(variable, words, "a variable for a key of the file, its parts joined by two underscores")
            key = keys[0]
            if len(keys) > 1:
                same = " and ".join(map(repr, keys))
                raise _refusal(variable, words, f"a variable for one key: {same} are spelled alike here")
            if path == ["services"] and key not in inside:
                known = ", ".join(inside) or "none"
                raise _refusal(variable, words, f"a service that is in the file ({known}); or give all of them as JSON")
            path.append(key)
            if number + 1 == len(words):
                inside[key] = _value(variable, environment[variable])
            else:
                inside = inside[key] if isinstance(key, int) else inside.setdefault(key, {})
        names[tuple(path)] = variable
    return result, names


def _keys(inside: Any, word: str) -> Sequence[str | int]:  # noqa: ANN401 - a table, a list, or no place for a key
    """Return the keys that a word stands for: one, or none, or several that are spelled alike."""
    if isinstance(inside, list):
        places = range(len(cast("Sequence[Any]", inside)))
        return [place for place in places if word == str(place)]
    if not isinstance(inside, dict):
        return ()
    return [key for key in cast("Mapping[str, Any]", inside) if _plain(key) == _plain(word)] or [word.lower()]


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def variable_of(path: Path, lines: Mapping[Path, int], names: Mapping[Path, str]) -> tuple[str, Path] | None:
    """Return the variable that a path is from, and the path that it has set; None for what is the file's."""
    heads = [path[:length] for length in range(len(path), 0, -1)]
    for head in heads:
        if head in names:
            return names[head], head
    for head in heads:
        if head in lines:
            break
        # A table that is not in the file: there would be none without the variables for what is inside it.
        inside = next((it for it in names if it[: len(head)] == head), None)
        if inside is not None:
            return names[inside], inside
    return None


def meant_as_json(data: Any, path: Path, expected: str) -> str | None:  # noqa: ANN401 - what a parser has given
    """Return what to expect of a variable whose text was meant to be JSON and is not; None for any other.

    Such a text is not to be shown: it may be a whole table, with secrets in it.
    """
    try:
        for key in path:
            data = data[key]
    except (LookupError, TypeError):  # another variable has taken the place of what this one has set
        return None
    if not isinstance(data, str):
        return None
    if expected in STRUCTURES:
        return f"{expected}, in valid JSON"
    return f"valid JSON, or {expected}" if data.lstrip().startswith(("{", "[")) else None


def _value(variable: str, text: str) -> Any:  # noqa: ANN401 - whatever JSON gives
    with followed(variable):
        try:
            return json.loads(text)
        except ValueError:
            return text


def _copied(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in cast("Mapping[str, Any]", value).items()}
    return [_copied(inner) for inner in cast("Sequence[Any]", value)] if isinstance(value, list) else value


def _refusal(variable: str, words: list[str], expected: str) -> ConfigurationFileError:
    return ConfigurationFileError([Problem(f"the variable {variable}", None, (), _BETWEEN.join(words), expected)])
