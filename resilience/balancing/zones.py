"""Near before far: calls stay in the caller's zone as long as that can take them."""

from __future__ import annotations

import ipaddress
import logging
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, TypeAlias, cast

from resilience.balancing.round_robin import RoundRobin
from resilience.balancing.spread import Spread
from resilience.balancing.wrapping import copied
from resilience.core.errors import ConfigurationError
from resilience.core.units import share, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from resilience.balancing.spread import Group
    from resilience.core.endpoint import Address, Endpoint
    from resilience.core.ports import Balancer

Networks: TypeAlias = "Mapping[str, str] | Callable[[Address], str]"

_logger = logging.getLogger("resilience")


def local_share(near: float, everywhere: float, callers: float, /) -> float:
    """Return the share of a caller's calls that stay in its zone.

    `near` of `everywhere` ready weight is there, and the share `callers` of all callers. All calls stay while the zone
    has its part of the capacity for its part of the callers; else as many as it has (Envoy's zone aware routing).
    """
    if near <= 0:
        return 0.0
    return min(1.0, near / everywhere / callers)


def far_shares(far: Sequence[float], everywhere: float, callers: float, left: float, /) -> list[float]:
    """Return how the part `left` is divided among the other zones, of their ready weights.

    By what each has beyond the need of its own callers, who are taken to be as many in each; by all they have when
    nobody has anything to spare.
    """
    total = sum(far)
    if total <= 0:
        return [0.0] * len(far)
    need = (1.0 - callers) / len(far) * everywhere
    spare = [max(0.0, weight - need) for weight in far]
    by = spare if sum(spare) > 0 else far
    return [left * weight / sum(by) for weight in by]


class Zones(Spread):
    """Prefer endpoints of the `local` zone, and spill to others what it cannot carry, by what they have to spare.

    `networks`: a mapping of networks to zone names (``{"10.0.1.0/24": "a", …}``; the narrowest that fits counts), or a
    function of an ``Address`` that returns a zone's name; one that raises, or returns something else, knows no zone
    for that address, and the log says so once. `inner` chooses within a zone; None is ``RoundRobin()``.
    `callers`: share of all callers that are in this zone, in (0, 1]; None: as many in each zone that has endpoints.
    With fewer than `minimum` endpoints (Envoy: 6) zones are ignored. Raises ConfigurationError naming the argument.
    """

    kind: ClassVar[str] = "zone"

    def __init__(
        self,
        local: str,
        networks: Networks,
        inner: Balancer | None = None,
        *,
        callers: float | None = None,
        minimum: int = 6,
        draw: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(RoundRobin() if inner is None else inner, draw)
        if not isinstance(local, str) or not local:
            raise ConfigurationError("local", local, "the name of a zone")  # noqa: EM101 - the argument's name
        self.local = local
        self.networks = networks
        self.callers = None if callers is None else share("callers", callers)
        self.minimum = whole("minimum", minimum)
        self._parsed = None if callable(networks) else _parsed(networks)
        self._reported: list[Address] = []

    def __repr__(self) -> str:
        return f"Zones({self.local!r}, {self.inner!r})"

    def fresh(self) -> Zones:
        """Return a new one of the same options, without endpoints."""
        inner = copied(self.inner) or self.inner
        made = Zones(self.local, self.networks, inner, callers=self.callers, minimum=self.minimum, draw=self.draw)
        made._reported = self._reported  # one function, one report: not one for each tier of each service
        return made

    def zone_of(self, address: Address, /) -> str:
        """Return the zone of an address; empty when none is known."""
        if self._parsed is None:
            return self._told(address)
        try:
            ip = ipaddress.ip_address(address.host)
        except ValueError:  # a name
            return ""
        return next((zone for network, zone in self._parsed if ip in network), "")

    def _told(self, address: Address) -> str:
        """Return what the function says; nothing it does may keep new endpoints from being taken over."""
        error: Exception | None = None
        zone: object = None
        try:
            zone = cast("Callable[[Address], object]", self.networks)(address)
        except Exception as raised:  # noqa: BLE001 - somebody else's function: whatever it raises
            error = raised
        if isinstance(zone, str):
            return zone
        if not self._reported:
            self._reported.append(address)
            problem = "raised" if error is not None else f"returned {zone!r}, not a text"
            message = "Zones: the function of networks %s for %s, which is now in no known zone; said once"
            _logger.error(message, problem, address, exc_info=error)
        return ""

    def grouped(self, endpoints: Sequence[Endpoint], /) -> dict[Hashable, list[Endpoint]]:
        """Return the zones, the local one first; all in one while there are few endpoints."""
        if len(endpoints) < self.minimum:
            return {self.local: list(endpoints)}
        zones: dict[Hashable, list[Endpoint]] = {}
        for endpoint in endpoints:
            zones.setdefault(self.zone_of(endpoint.address), []).append(endpoint)
        return dict(sorted(zones.items(), key=lambda item: item[0] != self.local))

    def shares(self, groups: Sequence[Group], now: float, /) -> Sequence[float]:
        """Return how many of the calls begin in each zone."""
        ready = [group.ready(now) for group in groups]
        everywhere = sum(ready)
        there = groups[0].name == self.local
        callers = self.callers or 1.0 / (len(groups) + (not there))
        near = local_share(ready[0], everywhere, callers) if there else 0.0
        far = far_shares(ready[there:], everywhere, callers, 1.0 - near)
        return [near, *far] if there else far


def _parsed(networks: object) -> list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str]]:
    argument, expected = "networks", 'a mapping of networks ("10.0.1.0/24") to zone names, or a function of an Address'
    if not isinstance(networks, Mapping) or not networks:
        raise ConfigurationError(argument, networks, expected)  # pyright: ignore[reportUnknownArgumentType]
    given = cast("Mapping[object, object]", networks)
    found: list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str]] = []
    for network, zone in given.items():
        if not isinstance(zone, str) or not isinstance(network, str):
            raise ConfigurationError(argument, given, expected)
        try:
            found.append((ipaddress.ip_network(network), zone))
        except ValueError:
            raise ConfigurationError(argument, network, expected) from None
    return sorted(found, key=lambda pair: -pair[0].prefixlen)
