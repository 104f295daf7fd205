"""What to ask an endpoint to see whether it serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, cast

from resilience.core.errors import ConfigurationError, require
from resilience.core.units import seconds, whole

if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from datetime import timedelta

_STATUSES = range(100, 600)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """GET `path` on each endpoint every `interval` seconds: `fall` failures take it out, `rise` passes bring it back.

    `path` begins with ``/`` and may have a query. A probe passes when its answer's status is in `expect` (a range, a
    set, one number) within `timeout` seconds. Defaults as in Kubernetes (1 s, one pass) and Envoy (5 s, two failures).
    Raises ConfigurationError naming the argument.
    """

    path: str
    interval: float | timedelta = 5.0
    timeout: float | timedelta = 1.0
    rise: int = 1
    fall: int = 2
    expect: Container[int] | int = range(200, 400)

    def __post_init__(self) -> None:
        """Check every argument; durations become seconds, and what was expected a set that cannot change."""
        require("path", self.path, 'a path that begins with "/", without fragment or spaces', _is_path)
        object.__setattr__(self, "interval", seconds("interval", self.interval))
        object.__setattr__(self, "timeout", seconds("timeout", self.timeout))
        whole("rise", self.rise)
        whole("fall", self.fall)
        object.__setattr__(self, "expect", _statuses(self.expect))

    def accepts(self, status: int, /) -> bool:
        """Say whether an answer of this status is a pass."""
        return status in cast("Container[int]", self.expect)


def _is_path(value: object) -> bool:
    return isinstance(value, str) and value.startswith("/") and value.isprintable() and not set(value) & {"#", " "}


def _statuses(given: object) -> range | frozenset[int]:
    listed = _listed(given)
    if not listed or not all(type(status) is int and status in _STATUSES for status in listed):
        _refuse(given)
    return given if isinstance(given, range) else frozenset(cast("list[int]", listed))


def _listed(given: object) -> list[object]:
    if isinstance(given, range):
        return [*given[:1], *given[-1:]]  # its ends will do
    return list(cast("Iterable[object]", given)) if isinstance(given, set | frozenset | list | tuple) else [given]


def _refuse(given: object) -> NoReturn:
    argument, expected = "expect", "a status from 100 to 599, or a non-empty range or set of them"
    raise ConfigurationError(argument, given, expected)
