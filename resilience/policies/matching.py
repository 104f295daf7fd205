"""`on=` and `exclude=`: exception types, status codes, predicates, or any mixture of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from resilience.core.errors import ConfigurationError
from resilience.core.outcome import Err, Ok
from resilience.runtimes.entry import is_async

# The range of status codes that RFC 9110 15 defines.
_LOWEST, _HIGHEST = 100, 599
Listed: TypeAlias = type[Exception] | int | Callable[[Any], object]
"""One thing that can be listed: an exception type, a status code, or a predicate of results and exceptions."""

_EXPECTED = "exception types, status codes from 100 to 599, or predicates"


@dataclass(frozen=True, slots=True)
class Matcher:
    """Does an outcome belong to what was listed?"""

    types: tuple[type[BaseException], ...]
    statuses: frozenset[int]
    predicates: tuple[Callable[[Any], object], ...]

    @property
    def judges_results(self) -> bool:
        """Can a call that returned match at all?"""
        return bool(self.statuses or self.predicates)

    def matches(self, outcome: Ok[Any] | Err) -> bool:
        """Tell whether the outcome was listed: by its type, its status, or a predicate of the value or exception."""
        if isinstance(outcome, Err):
            error = outcome.error
            status = getattr(getattr(error, "response", None), "status_code", None)
            return (
                isinstance(error, self.types)
                or (status is not None and status in self.statuses)
                or any(_accepts(predicate, error) for predicate in self.predicates)
            )
        value = outcome.value
        if self.statuses and getattr(value, "status_code", None) in self.statuses:
            return True
        return any(predicate(value) for predicate in self.predicates)


def _accepts(predicate: Callable[[Any], object], error: Exception) -> bool:
    # A predicate meant for results may be unable to read an exception: then the exception is not its business, and
    # must not be replaced by the predicate's own.
    try:
        return bool(predicate(error))
    except Exception:  # noqa: BLE001
        return False


def listed(argument: str, value: object, /) -> tuple[object, ...]:
    """Return what was listed, one or several, as a tuple; raises ConfigurationError for what is no list of anything."""
    items = None if isinstance(value, type | int) else several(value)
    if items is not None:
        return items
    if isinstance(value, type | int) or callable(value):
        return (value,)
    raise ConfigurationError(argument, value, _EXPECTED)


def several(value: object, /) -> tuple[object, ...] | None:
    """Return what there are several of; None for what holds nothing, and for texts, which are one."""
    if isinstance(value, str | bytes):
        return None
    try:
        return tuple(cast("Iterable[object]", value))
    except TypeError:
        return None


def kept(value: object, /) -> object:
    """Return a list that can be looked at again, in place of an iterator, which can be gone through once."""
    return tuple(cast("Iterator[object]", value)) if isinstance(value, Iterator) else value


def is_plain(value: object, /) -> bool:
    """Tell whether it is a function that can be called where nobody awaits what it returns."""
    return callable(value) and not is_async(value)


def matcher(argument: str, value: object, /) -> Matcher | None:
    """Return the matcher for what was listed, None for None; raises ConfigurationError naming what cannot be listed."""
    if value is None:
        return None
    types: list[type[BaseException]] = []
    statuses: set[int] = set()
    predicates: list[Callable[[Any], object]] = []
    for item in listed(argument, value):
        predicate: object = item
        if isinstance(item, type) and issubclass(item, BaseException):
            if not issubclass(item, Exception):
                raise ConfigurationError(argument, item, "types below Exception: cancellation is not a failure")
            types.append(item)
        elif isinstance(item, int) and not isinstance(item, bool) and _LOWEST <= item <= _HIGHEST:
            statuses.add(int(item))
        elif callable(predicate) and not isinstance(predicate, type):
            if is_async(predicate):  # what it returns is true, whatever it would say
                raise ConfigurationError(argument, predicate, "a plain function as predicate: nobody awaits it")
            predicates.append(predicate)
        else:
            raise ConfigurationError(argument, predicate, _EXPECTED)
    return Matcher(tuple(types), frozenset(statuses), tuple(predicates))
