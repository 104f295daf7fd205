"""The replicas are known: a list."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

from resilience.core.endpoint import Address
from resilience.core.errors import ConfigurationError
from resilience.core.hostport import split
from resilience.core.resolution import Replica, Resolution

if TYPE_CHECKING:
    from collections.abc import Iterable

    from resilience.core.resolution import Target

Listed: TypeAlias = "str | Address"
_ARGUMENT = "addresses"
_EXPECTED = (
    'an iterable of "host:port", "[v6]:port" or Address (the port may be left out), each alone or as (address, weight) '
    "with a weight above 0, none of them twice"
)


@dataclass(frozen=True, slots=True)
class Static:
    """Balance over exactly these addresses; nothing is looked up and nothing expires.

    `addresses`: ``"10.0.0.1:8080"``, ``"[fd00::1]:8080"``, a name (looked up when dialled) or an ``Address``; without a
    port that of the URL is used. ``("10.0.0.1:8080", 3)`` gives it three times the traffic of one without a weight.
    Raises ConfigurationError when the list is empty, names an address twice, or holds anything else.
    """

    addresses: Iterable[Listed | tuple[Listed, float]]

    def __post_init__(self) -> None:
        """Check every address, and keep what was given as a tuple."""
        given = self.addresses
        if isinstance(given, str | bytes | Address):
            raise ConfigurationError(_ARGUMENT, given, _EXPECTED)
        try:
            listed = tuple(given)
        except TypeError:
            raise ConfigurationError(_ARGUMENT, given, _EXPECTED) from None
        if not listed:
            raise ConfigurationError(_ARGUMENT, given, _EXPECTED)
        seen: set[tuple[str, int | None]] = set()
        for item in listed:
            host, port, _ = _parse(item)
            if (host, port) in seen:
                raise ConfigurationError(_ARGUMENT, item, _EXPECTED)
            seen.add((host, port))
        object.__setattr__(self, "addresses", listed)

    async def resolve(self, target: Target, /, *, deadline: float) -> Resolution:  # noqa: ARG002 - nothing to wait for
        """Return the list; an address without a port takes that of `target`."""
        return self.immediate(target)

    def immediate(self, target: Target, /) -> Resolution:
        """Return the list: nobody has to be asked."""
        replicas: dict[Address, Replica] = {}
        for item in self.addresses:
            host, port, weight = _parse(item)
            address = Address(host, port or target.port)
            replicas.setdefault(address, Replica(address, weight))
        return Resolution(tuple(replicas.values()), math.inf, "static", fleet=True, why="listed")


def _parse(item: object) -> tuple[str, int | None, float]:
    weight = 1.0
    address = item
    if isinstance(item, tuple):
        pair = cast("tuple[object, ...]", item)
        try:
            address, given = pair
        except ValueError:
            raise ConfigurationError(_ARGUMENT, pair, _EXPECTED) from None
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= sys.float_info.max:
            raise ConfigurationError(_ARGUMENT, pair, _EXPECTED)
        weight = float(given)
    host, port = split(_ARGUMENT, address, _EXPECTED)
    return host, port, weight
