"""Durations at the edge: seconds as numbers or ``timedelta``, checked once, floats from then on."""

from __future__ import annotations

import math
from datetime import timedelta

from resilience.core.errors import ConfigurationError


def seconds(argument: str, value: object, /, *, zero: bool = False, infinite: bool = False) -> float:
    """Return the duration as float seconds, or raise ConfigurationError naming argument, value and range."""
    number = value.total_seconds() if isinstance(value, timedelta) else value
    expected = f"seconds {'from 0' if zero else 'above 0'}{'' if infinite else ', finite'} (number or timedelta)"
    if isinstance(number, bool) or not isinstance(number, int | float) or math.isnan(number):
        raise ConfigurationError(argument, value, expected)
    if number < 0 or (number == 0 and not zero) or (math.isinf(number) and not infinite):
        raise ConfigurationError(argument, value, expected)
    return float(number)


def whole(argument: str, value: object, /, *, least: int = 1) -> int:
    """Return the count as int, or raise ConfigurationError naming argument, value and range."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(argument, value, f"a whole number from {least}")
    return value


def share(argument: str, value: object, /, *, zero: bool = False) -> float:
    """Return the ratio as a float in (0, 1] (or [0, 1]), or raise ConfigurationError."""
    expected = f"a number {'from 0' if zero else 'above 0'} up to 1"
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise ConfigurationError(argument, value, expected)
    if not (0 < value <= 1 or (zero and value == 0)):
        raise ConfigurationError(argument, value, expected)
    return float(value)
