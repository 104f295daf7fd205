"""From a file, and from the environment, to services and pipelines; and every mistake told with its line."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from resilience.config.environment import meant_as_json, overridden, variable_of
from resilience.config.lines import lines_of, nearest
from resilience.config.model import FilePart
from resilience.config.problems import ONCE, ConfigurationFileError, Problem, followed, of_validation
from resilience.core.errors import ConfigurationError
from resilience.http.origins import checked_name
from resilience.pipeline import Pipeline

if TYPE_CHECKING:
    from resilience.config.lines import Path
    from resilience.http.service import Service

_WHOLE = "an object with services, defaults, pipelines"


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a file says: for ``Client(services=…, defaults=…)``, ``client.update(…)`` and ``Registry.update(…)``."""

    services: Mapping[str, Service]
    defaults: Service
    pipelines: Mapping[str, Pipeline]
    source: str = "the configuration"
    """Where it comes from."""
    lines: Mapping[Path, int] = field(default_factory=dict[Any, int], repr=False, compare=False)
    """Where in the file each key stands."""

    def line(self, *path: str | int) -> int | None:
        """Return the line of a key, or of the table around it; None for what is not from a file."""
        return nearest(self.lines, path)


def load(
    file: str | os.PathLike[str] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    prefix: str = "RESILIENCE",
) -> Configuration:
    """Read a configuration: from a ``.toml`` or ``.json`` file, then from `environment` (``os.environ``), which wins.

    Variables are named after the keys: ``RESILIENCE__DEFAULTS__TOTAL_TIMEOUT=2``,
    ``RESILIENCE__SERVICES__WEB_INTERNAL__RETRY__MAX_ATTEMPTS=5`` for a service called ``web.internal``; values are
    JSON, or text. Raises :class:`ConfigurationFileError`: every mistake with file, line, key, value, what was expected.
    """
    data: dict[str, Any] = {}
    lines: Mapping[Path, int] = {}
    source = "the environment" if file is None else str(file)
    names: Mapping[Path, str] = {}
    if file is not None and not isinstance(file, str | os.PathLike):
        raise ConfigurationError("file", file, "the path of a .toml or .json file, or None")  # noqa: EM101 - the argument's name
    if environment is not None and not isinstance(environment, Mapping):
        raise ConfigurationError("environment", environment, "a mapping such as os.environ, or None")  # noqa: EM101
    with followed(source):
        if file is not None:
            data, lines = _read(FilePath(file))
        if environment is not None:
            data, names = overridden(data, environment, prefix)
    return parse(data, source=source, lines=lines, names=names)


def parse(
    data: Mapping[str, Any],
    *,
    source: str = "the configuration",
    lines: Mapping[Path, int] | None = None,
    names: Mapping[Path, str] | None = None,
) -> Configuration:
    """Turn plain data, as a parser of any format gives it, into a configuration; errors as of :func:`load`.

    `source`, `lines` and `names` say where the data come from: a file, its lines, variables by the path they set.
    """
    if not isinstance(data, Mapping):
        raise ConfigurationFileError([Problem(source, None, (), None, _WHOLE)])
    with followed(source):
        return _parsed(data, source, lines or {}, names or {})


def _parsed(
    data: Mapping[str, Any], source: str, lines: Mapping[Path, int], names: Mapping[Path, str]
) -> Configuration:
    def problem(path: Path, value: object, expected: str) -> Problem:
        variable = variable_of(path, lines, names)
        if variable is None:
            return Problem(source, nearest(lines, path), path, value, expected)
        name, whole = variable
        meant = meant_as_json(data, whole, expected)
        return Problem(name, None, path, value, expected) if meant is None else Problem(name, None, (), None, meant)

    found: list[tuple[Path, object, str]] = []
    file = FilePart()
    try:
        file = FilePart.model_validate(dict(data))
    except ValidationError as error:
        found = of_validation(error, data)
    found += _misnamed(data.get("services"))
    if found:  # raised out here, without the cause: pydantic's own words show what may be a secret
        raise ConfigurationFileError(sorted((problem(*each) for each in found), key=lambda it: it.line or 0))
    defaults: Service = file.defaults.make()
    services = {name: replace(defaults, **part.options()) for name, part in file.services.items()}
    pipelines = {name: Pipeline(*(stage.make() for stage in stages)) for name, stages in file.pipelines.items()}
    return Configuration(MappingProxyType(services), defaults, MappingProxyType(pipelines), source, lines)


def _misnamed(services: object) -> list[tuple[Path, object, str]]:
    found: list[tuple[Path, object, str]] = []
    seen: dict[str, str] = {}
    for name in cast("Mapping[object, object]", services) if isinstance(services, Mapping) else ():
        if not isinstance(name, str):  # that is told already
            continue
        try:
            key = checked_name(name)
        except ConfigurationError as error:
            # The name as the error shows it: somebody may have put a URL here, and a password into it.
            found.append((("services", str(error.value)), error.value, error.expected))
            continue
        if key in seen:
            found.append((("services", name), name, f"another name than {seen[key]!r}, which is the same"))
        seen[key] = name
    return found


def _read(path: FilePath) -> tuple[dict[str, Any], Mapping[Path, int]]:
    toml = path.suffix == ".toml"
    if not toml and path.suffix != ".json":
        raise ConfigurationFileError([Problem(str(path), None, (), path.suffix, "a file named .toml or .json")])
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows put a mark before it
        data: Any = tomllib.loads(text) if toml else json.loads(text)
        if isinstance(data, dict):
            found, again = lines_of(text, toml=toml)
            _refuse_again(str(path), found, again)
            return cast("dict[str, Any]", data), found
        problem = Problem(str(path), 1, (), None, _WHOLE)
    except OSError as error:
        what = f"a file that can be read ({error.strerror or error})"
        raise ConfigurationFileError([Problem(str(path), None, (), path.name, what)]) from error
    except UnicodeDecodeError:
        problem = Problem(str(path), None, (), path.name, "text in UTF-8")
    except ConfigurationFileError:
        raise
    except ValueError as error:
        line, told = _where(error)
        problem = Problem(str(path), line, (), None, f"valid {'TOML' if toml else 'JSON'}: {told}")
    # Raised out here, without the cause: the parsers' errors hold the whole text, and there may be secrets in it.
    raise ConfigurationFileError([problem])


def _refuse_again(source: str, found: Mapping[Path, int], again: Mapping[Path, int]) -> None:
    """Refuse keys that stand twice in JSON: only the last would count, without a word. TOML's parser does it itself."""
    if again:
        raise ConfigurationFileError(
            [
                Problem(source, line, key, None, f"{ONCE}: it stands in line {found[key]}, too")
                for key, line in again.items()
            ]
        )


def _where(error: ValueError) -> tuple[int | None, str]:
    """Return the line, and the reason with its column."""
    if isinstance(error, json.JSONDecodeError):
        return error.lineno, f"{error.msg} (column {error.colno})"
    # In Python 3.11 to 3.13 a TOMLDecodeError has but its text: "Invalid value (at line 2, column 12)".
    found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", str(error), re.DOTALL)
    return (int(found[2]), f"{found[1]} (column {found[3]})") if found else (None, str(error))
