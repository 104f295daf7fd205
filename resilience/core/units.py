"""Durations at the edge: seconds as numbers or ``timedelta``, checked once, floats from then on."""

from __future__ import annotations

import math
from datetime import timedelta
from inspect import isroutine
from numbers import Real
from typing import TYPE_CHECKING

from resilience.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable


def seconds(argument: str, value: object, /, *, zero: bool = False, infinite: bool = False) -> float:
    """Return the duration as float seconds, or raise ConfigurationError naming argument, value and range."""
    number = _number(value.total_seconds() if isinstance(value, timedelta) else value)
    if not (number > 0 or (zero and number == 0)) or (math.isinf(number) and not infinite):
        expected = f"seconds {'from 0' if zero else 'above 0'}{'' if infinite else ', finite'} (number or timedelta)"
        raise ConfigurationError(argument, value, _said(expected, value))
    return number


def whole(argument: str, value: object, /, *, least: int = 1) -> int:
    """Return the count as int, or raise ConfigurationError naming argument, value and range."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(argument, value, _said(f"a whole number from {least}", value))
    return value


def share(argument: str, value: object, /, *, zero: bool = False) -> float:
    """Return the ratio as a float in (0, 1] (or [0, 1]), or raise ConfigurationError."""
    number = _number(value)
    if not (0 < number <= 1 or (zero and number == 0)):
        raise ConfigurationError(argument, value, f"a number {'from 0' if zero else 'above 0'} up to 1")
    return number


def ranged(argument: str, value: object, expected: str, within: Callable[[float], bool], /) -> None:
    """Raise ConfigurationError unless the value is a number, and `within` its range; NaN is in none.

    True and False are numbers, and so is a Fraction. A Decimal is not: it does not go together with floats.
    """
    if not isinstance(value, Real) or not within(value):  # type: ignore[arg-type]
        raise ConfigurationError(argument, value, expected)


def number(argument: str, value: object, expected: str, /) -> float:
    """Return the number, of any size and sign, or raise ConfigurationError with what was `expected`; NaN is none.

    Whatever compares as a number will do: True and False, a Fraction, another library's integers.
    """
    if not isinstance(value, Real) or value != value:  # noqa: PLR0124 - NaN, of any kind
        raise ConfigurationError(argument, value, expected)
    return value  # type: ignore[return-value]


def _said(expected: str, value: object) -> str:
    """Return what was expected, and a hint where a policy was written above a function without its parentheses."""
    return (
        f"{expected}; above a function a policy is written with parentheses: @Retry()" if isroutine(value) else expected
    )


def _number(value: object) -> float:
    """Return the float, or NaN, which is in no range, for what is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # an int beyond all floats
        return math.nan
