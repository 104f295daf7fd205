"""What stands behind a key, where it is more than a number or a text: durations, ranges, names, stages that are off."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable  # noqa: TC003 - pydantic reads it
from functools import partial
from typing import Annotated, Any, ClassVar, Self

import httpx
from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from resilience.core.errors import ConfigurationError
from resilience.core.units import seconds

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_DURATION = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h)?\s*")
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
    nulls: ClassVar[frozenset[str]] = frozenset()
    """The keys of which null is a value. Of any other it says what leaving it out says: nothing."""

    def make(self) -> Any:  # noqa: ANN401 - whatever the class stands for
        """Return the object. Raises ConfigurationError for what the library refuses, naming the key."""
        return type(self).makes(**self.options())

    def options(self, *without: str) -> dict[str, Any]:
        """Return what stands in the file, tables within made already."""
        return {
            name: value.make() if isinstance(value, ObjectPart) else value
            for name, value in self.given(*without).items()
            if value is not None or name in self.nulls
        }

    @model_validator(mode="after")
    def _accepted(self) -> Self:
        # While the rest is looked at, so that all mistakes are told at once, each with its own path.
        try:
            self.make()
        except ConfigurationError as error:
            about = {"argument": error.argument, "value": error.value, "expected": error.expected}
            raise PydanticCustomError(REFUSED, "{expected}", about) from None
        return self


REFUSED = "refused"
"""The kind of mistake that the library itself has found: its context has argument, value, and what was expected."""


def _seconds(value: object, *, zero: bool = False, infinite: bool = False) -> float:
    number: object = value
    if isinstance(value, str):
        found = _DURATION.fullmatch(value)
        number = None if found is None else float(found[1]) * _UNITS[found[2] or ""]
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ValueError(_SECONDS)  # noqa: TRY004 - pydantic's word for it
    try:
        return seconds("", number, zero=zero, infinite=infinite)
    except ConfigurationError as error:
        raise ValueError(error.expected) from None


def _seconds_schema(*, zero: bool = False) -> WithJsonSchema:
    some = "" if zero else "(?=[0-9.]*[1-9])"
    text = rf"^\s*{some}[0-9]+(?:\.[0-9]+)?\s*(ms|s|m|h)?\s*$"
    least = {"minimum": 0} if zero else {"exclusiveMinimum": 0}
    return WithJsonSchema(
        {"description": _SECONDS, "anyOf": [{"type": "number", **least}, {"type": "string", "pattern": text}]}
    )


Seconds = Annotated[float, BeforeValidator(_seconds), _seconds_schema()]
"""Above 0."""
SecondsFromZero = Annotated[float, BeforeValidator(partial(_seconds, zero=True)), _seconds_schema(zero=True)]
EndlessSeconds = Annotated[float, BeforeValidator(partial(_seconds, infinite=True)), _seconds_schema()]
"""Above 0, or TOML's ``inf``."""
EndlessSecondsFromZero = Annotated[
    float, BeforeValidator(partial(_seconds, zero=True, infinite=True)), _seconds_schema(zero=True)
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
                {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 100, "maximum": 599}},
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
