"""The endpoints of one service: made from the answers to its name, kept across them.

Unresolved, or one origin with several ways to it: a single endpoint that is known by name and finds out at its dial
where to connect. A fleet: one endpoint per address. Who leaves is remembered for a while, so that a replica that comes
back finds its circuit and its latency estimate as they were.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from resilience.core.endpoint import Address, Endpoint
from resilience.core.errors import NoEndpointsError, Rerouted
from resilience.core.events import EndpointsChanged
from resilience.discovery.failures import ResolutionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resilience.core.events import Event
    from resilience.core.ports import Runtime
    from resilience.core.resolution import Resolution, Target
    from resilience.discovery.directory import Directory

# Seconds for which the state of an endpoint that left is kept, in case it comes back.
MEMORY = 300.0


class Roster:
    """Who is in. `make` builds an endpoint; `update` is told of every new set."""

    def __init__(
        self,
        target: Target,
        make: Callable[[Address], Endpoint],
        update: Callable[[Sequence[Endpoint]], None],
        emit: Callable[[Event], None],
        now: Callable[[], float],
    ) -> None:
        self.target = target
        self.name = str(target)
        self.resolution: Resolution | None = None
        self.endpoints: tuple[Endpoint, ...] = ()
        self.departed: deque[Endpoint] = deque()
        """Who has left and whose idle connections are still to be closed, by whoever owns the loop they live on."""
        self._make = make
        self._update = update
        self._emit = emit
        self._now = now
        self._gone: dict[Address, tuple[float, Endpoint]] = {}
        self._origin: Endpoint | None = None

    def adopt(self, resolution: Resolution | None) -> None:
        """Take over a new answer; None when nothing stands any more. Callable from any thread, one at a time."""
        before, self.resolution = self.resolution, resolution
        if before is not None and resolution is not None and before.fleet and resolution.fleet:
            same = before.replicas == resolution.replicas
            if same:
                return
        kept = self._by_address(resolution) if resolution is not None and resolution.fleet else [self._by_name()]
        for endpoint in kept:
            endpoint.mark(draining=False)
            if endpoint.circuit is not None:
                endpoint.circuit.sole = len(kept) == 1
        stay = frozenset(kept)  # of ten thousand, looking through a list for each takes a quarter of a minute
        left = [endpoint for endpoint in self.endpoints if endpoint not in stay]
        for endpoint in left:
            endpoint.mark(draining=True)
            self._gone[endpoint.address] = (self._now(), endpoint)
        self.endpoints = tuple(kept)
        self._update(kept)
        self.departed.extend(left)
        self._tell(before, resolution)

    @property
    def known(self) -> tuple[Endpoint, ...]:
        """Every endpoint there is, and was lately."""
        found = dict.fromkeys((*self.endpoints, *(endpoint for _, endpoint in self._gone.values())))
        return tuple(found) if self._origin is None else tuple(dict.fromkeys((*found, self._origin)))

    def disband(self) -> list[Endpoint]:
        """Return every endpoint that may still hold connections, those who left included: nobody will call again."""
        left = [self.departed.popleft() for _ in range(len(self.departed))]
        return list(dict.fromkeys((*left, *self.known)))

    def follow(self, other: Roster) -> None:
        """Go on with another's endpoints: those of the same service under its old description."""
        self.resolution, self.endpoints, self.departed = other.resolution, other.endpoints, other.departed
        self._gone, self._origin = other._gone, other._origin
        self._update(self.endpoints)

    def _by_name(self) -> Endpoint:
        if self._origin is None:
            self._origin = self._make(Address(self.target.host, self.target.port))
        return self._origin

    def _by_address(self, resolution: Resolution) -> list[Endpoint]:
        present = {endpoint.address: endpoint for endpoint in self.endpoints if endpoint.route is None}
        horizon = self._now() - MEMORY
        self._gone = {address: entry for address, entry in self._gone.items() if entry[0] > horizon}
        kept: list[Endpoint] = []
        for replica in resolution.replicas:
            endpoint = present.get(replica.address)
            if endpoint is None and replica.address in self._gone:
                _, endpoint = self._gone.pop(replica.address)
                if endpoint.route is not None:  # the name itself, which is dialled differently
                    endpoint = None
            if endpoint is None:
                endpoint = self._make(replica.address)
            endpoint.weight, endpoint.tier = replica.weight, replica.tier
            kept.append(endpoint)
        return kept

    def _tell(self, before: Resolution | None, after: Resolution | None) -> None:
        was = () if before is None else before.replicas
        now = () if after is None else after.replicas
        if was == now:
            return
        then, there = frozenset(was), frozenset(now)
        added = tuple(str(replica.address) for replica in now if replica not in then)
        removed = tuple(str(replica.address) for replica in was if replica not in there)
        if (added or removed) and not (before is None and after is not None and after.source == "static"):
            source = after.source if after is not None else "nothing stands any more"
            self._emit(EndpointsChanged(self.name, added, removed, len(now), source))


class NamedRoute:
    """The way to an endpoint known by name: asks the directory at the dial, and only the first time waits for it."""

    __slots__ = ("directory", "roster")

    def __init__(self, roster: Roster, directory: Directory) -> None:
        self.roster = roster
        self.directory = directory

    async def addresses(self, runtime: Runtime, seconds: float, /) -> Sequence[Address]:
        """Return the dial candidates of an origin; raises Rerouted for a fleet, ResolutionError when nothing stands."""
        if self.roster.resolution is None:
            try:
                await self.directory.first(runtime, seconds)
            except TimeoutError as error:
                detail = f"no answer within {seconds:.3g} s"
                failure = ResolutionError(self.roster.target.host, "timeout", detail)
                failure.service = self.roster.name
                raise failure from error
        resolution = self.roster.resolution
        if resolution is None:  # it stood for a moment
            message = f"{self.roster.name} has no endpoints"
            raise NoEndpointsError(message, service=self.roster.name)
        if resolution.fleet:
            raise Rerouted
        return [replica.address for replica in resolution.replicas]
