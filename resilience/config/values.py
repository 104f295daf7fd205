"""What stands behind a key, where it is more than a number or a text: durations, ranges, names, stages that are off."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable  # noqa: TC003 - pydantic reads it
from typing import Annotated, Any, ClassVar

import httpx
from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?")
_SECONDS = "seconds as a number, or a text such as 250ms, 2s, 5m or 1h"
_RANGE = re.compile(r"([1-5]\d\d)-([1-5]\d\d)")


class Part(BaseModel):
    """One table of a file. Only what is given is handed on, so that every default stays the library's."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    def given(self, *without: str) -> dict[str, Any]:
        """Return what stands in the file, by key; without the kind, which the class says."""
        return {name: getattr(self, name) for name in self.model_fields_set if name not in {"kind", *without}}


class ObjectPart(Part):
    """A table that becomes one object of the library's, which checks its own options."""

    makes: ClassVar[Callable[..., Any]]
    """What is called with the keys as options."""

    def make(self) -> Any:  # noqa: ANN401 - whatever the class stands for
        """Return the object. Raises ConfigurationError for what the library refuses."""
        return type(self).makes(**self.options())

    def options(self, *without: str) -> dict[str, Any]:
        """Return what stands in the file, tables within made already."""
        return {
            name: value.make() if isinstance(value, ObjectPart) else value
            for name, value in self.given(*without).items()
        }


def _seconds(value: object) -> float:
    if isinstance(value, str):
        found = _DURATION.fullmatch(value.strip())
        if found is not None:
            return float(found[1]) * _UNITS[found[2] or ""]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise ValueError(_SECONDS)


Seconds = Annotated[
    float,
    BeforeValidator(_seconds),
    WithJsonSchema(
        {
            "description": _SECONDS,
            "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": f"^{_DURATION.pattern}$"}],
        }
    ),
]


def off(value: object) -> object:
    """Take ``false`` for: not at all. TOML has no null."""
    return None if value is False else value


def by_kind(value: object) -> object:
    """Take a bare word for the kind of thing, with nothing else said about it."""
    return {"kind": value} if isinstance(value, str) else value


def statuses(value: object) -> object:
    """Take ``"200-399"`` for a range."""
    if isinstance(value, str):
        found = _RANGE.fullmatch(value)
        if found is None:
            message = "a status, a list of them, or a range such as 200-399"
            raise ValueError(message)
        return list(range(int(found[1]), int(found[2]) + 1))
    return value


Statuses = Annotated[
    int | list[int],
    BeforeValidator(statuses),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 100, "maximum": 599},
                {"type": "array", "items": {"type": "integer", "minimum": 100, "maximum": 599}},
                {"type": "string", "pattern": f"^{_RANGE.pattern}$"},
            ],
        }
    ),
]


def _cause(value: object) -> object:
    if isinstance(value, str):
        module, _, name = value.rpartition(".")
        found = getattr({"": builtins, "httpx": httpx}.get(module), name, None)
        if isinstance(found, type) and issubclass(found, Exception):
            return found
    elif isinstance(value, int) and not isinstance(value, bool):
        return value
    message = "a status, or an exception of Python's or httpx's, such as TimeoutError or httpx.ReadTimeout"
    raise ValueError(message)


Cause = Annotated[
    Any,
    BeforeValidator(_cause),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 100, "maximum": 599}, {"type": "string"}]}),
]
