"""The endpoints of one service: made from the answers to its name, kept across them.

Unresolved, or one origin with several ways to it: a single endpoint that is known by name and finds out at its dial
where to connect. A fleet: one endpoint per address. Who leaves is remembered for a while, so that a replica that comes
back finds its circuit and its latency estimate as they were.
"""

from __future__ import annotations

from collections import deque
from itertools import takewhile
from operator import attrgetter
from typing import TYPE_CHECKING

from resilience.core.endpoint import Address, Endpoint
from resilience.core.errors import NoEndpointsError, Rerouted
from resilience.core.events import INFO, EndpointsChanged
from resilience.discovery.failures import ResolutionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from resilience.core.events import Event
    from resilience.core.ports import Runtime
    from resilience.core.resolution import Resolution, Target
    from resilience.discovery.directory import Directory

# Seconds for which the state of an endpoint that left is kept, in case it comes back.
MEMORY = 300.0
# Endpoints that have left, and whose idle connections one call closes on its way: about a millisecond's worth.
LEAVING = 32

_identity = attrgetter("address.host", "address.port", "weight", "tier")


class Roster:
    """Who is in. `make` builds an endpoint; `update` is told of every new set."""

    def __init__(
        self,
        target: Target,
        make: Callable[[Address], Endpoint],
        update: Callable[[Sequence[Endpoint]], None],
        emit: Callable[[Event], None],
        hears: Callable[[int], bool],
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
        self._hears = hears
        self._now = now
        self._gone: dict[tuple[str, int], tuple[float, Endpoint]] = {}
        self._by_port: dict[int, dict[str, Endpoint]] = {}
        """Those of a fleet by port and host: finding a text costs a fraction of finding an Address."""
        self._origin: Endpoint | None = None

    def adopt(self, resolution: Resolution | None) -> None:
        """Take over a new answer; None when nothing stands any more. Callable from any thread, one at a time.

        Of ten thousand endpoints mostly a few are new: what each of the others costs here is a look-up or two.
        """
        before, self.resolution = self.resolution, resolution
        fleets = False
        if before is not None and resolution is not None and before.fleet and resolution.fleet:
            if before.replicas == resolution.replicas:
                return
            fleets = True
        was = self.endpoints
        if resolution is not None and resolution.fleet:
            kept, joined, changed = self._by_address(resolution)
        else:
            kept, joined, changed = (self._by_name(),), [], []
            self._by_port = {}
        if len(kept) == 1:
            _welcome(kept[0], alone=True)
        elif len(was) == 1:
            _welcome(was[0], alone=False)
        stay = frozenset(kept)
        left = [endpoint for endpoint in was if endpoint not in stay]
        now, gone = self._now(), self._gone
        self.endpoints = kept
        self._update(kept)
        for endpoint in left:  # not before others are there: a call in between would find nobody
            endpoint.mark(draining=True)
            place = endpoint.address.host, endpoint.address.port
            gone.pop(place, None)  # in the order in which they go
            gone[place] = now, endpoint
        self.departed.extend(left)
        if before is None and resolution is not None and resolution.source == "static":
            return
        if not self._hears(INFO):  # ten thousand names are not written for nobody
            return
        if fleets:
            new, old = frozenset((*joined, *changed)), frozenset((*left, *changed))
            added = [endpoint.label for endpoint in kept if endpoint in new]
            self._tell(added, [endpoint.label for endpoint in was if endpoint in old], resolution)
        else:
            self._tell(*_difference(before, resolution), resolution)

    def leaving(self) -> Iterator[Endpoint]:
        """Return some of those whose idle connections one call is to close: not a thousand, for which it would wait."""
        for _ in range(LEAVING):
            try:
                yield self.departed.popleft()
            except IndexError:  # none, or another thread was faster
                return

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
        self._gone, self._origin, self._by_port = other._gone, other._origin, other._by_port
        self._update(self.endpoints)

    def _by_name(self) -> Endpoint:
        if self._origin is None:
            self._origin = self._make(Address(self.target.host, self.target.port))
        return self._origin

    def _by_address(self, resolution: Resolution) -> tuple[tuple[Endpoint, ...], list[Endpoint], list[Endpoint]]:
        """Return the endpoints of an answer; those of them that were not in; and whose weight or tier is another."""
        ports = {replica.address.port for replica in resolution.replicas}
        by_port: dict[int, dict[str, Endpoint]] = {port: {} for port in ports}
        kept, joined, changed = list[Endpoint](), list[Endpoint](), list[Endpoint]()
        self._forget()
        joining = self._joining if self._gone else self._make
        for replica in resolution.replicas:
            address = replica.address
            host, there = address.host, by_port[address.port]
            if host in there:  # listed twice: the first counts
                continue
            endpoint = self._by_port.get(address.port, there).get(host)
            if endpoint is None or endpoint.route is not None:  # the name itself is dialled differently
                endpoint = joining(address)
                joined.append(endpoint)
                endpoint.weight, endpoint.tier = replica.weight, replica.tier
            elif endpoint.weight != replica.weight or endpoint.tier != replica.tier:
                changed.append(endpoint)
                endpoint.weight, endpoint.tier = replica.weight, replica.tier
            there[host] = endpoint
            kept.append(endpoint)
        self._by_port = by_port
        return tuple(kept), joined, changed

    def _joining(self, address: Address) -> Endpoint:
        there = self._gone.pop((address.host, address.port), None)
        if there is not None:
            endpoint = there[1]
            if endpoint.route is None:
                _welcome(endpoint, alone=False)
                return endpoint
        return self._make(address)

    def _forget(self) -> None:
        """Drop who has been gone for long; they are in the order in which they went."""
        horizon = self._now() - MEMORY
        over = list(takewhile(lambda place: self._gone[place][0] <= horizon, self._gone))
        for place in over:
            del self._gone[place]

    def _tell(self, added: Sequence[str], removed: Sequence[str], resolution: Resolution | None) -> None:
        if added or removed:
            count = 0 if resolution is None else len(resolution.replicas)
            source = "nothing stands any more" if resolution is None else resolution.source
            self._emit(EndpointsChanged(self.name, tuple(added), tuple(removed), count, source))


def _welcome(endpoint: Endpoint, *, alone: bool) -> None:
    endpoint.mark(draining=False)
    if endpoint.circuit is not None:
        endpoint.circuit.sole = alone


def _difference(before: Resolution | None, after: Resolution | None) -> tuple[list[str], list[str]]:
    """Return the addresses that one answer has beyond the other, each way."""
    was = () if before is None else before.replicas
    now = () if after is None else after.replicas
    then, there = frozenset(map(_identity, was)), frozenset(map(_identity, now))
    added = [str(replica.address) for replica in now if _identity(replica) not in then]
    return added, [str(replica.address) for replica in was if _identity(replica) not in there]


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
