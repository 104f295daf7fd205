"""Which endpoints of a service are fit for calls, beyond what their circuits say: ejection, panic, slow start.

The decisions are pure and lie elsewhere; here they hear of verdicts, of health and of new sets of endpoints, and what
they decide is marked on the endpoints and told.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from resilience.balancing.priorities import Tiered
from resilience.balancing.slow_start import Eased, SlowStart
from resilience.balancing.wrapping import copied
from resilience.core.events import EndpointEjected, EndpointReturned, PanicChanged
from resilience.health.ejection import Ejected, Ejection
from resilience.health.panic import Panic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resilience.balancing.room import Room
    from resilience.core.endpoint import Endpoint
    from resilience.core.events import Event
    from resilience.core.ports import Balancer, Handle, Runtime
    from resilience.discovery.directory import Lease
    from resilience.health.ejection import Returned
    from resilience.http.service import Service


def balancing(service: Service, runtime: Runtime) -> tuple[Balancer, SlowStart | None]:
    """Return the service's own copy of its balancer, with slow start and tiers around it, as it asks for."""
    balancer = copied(service.balancer) or service.balancer
    slow_start = None
    if service.slow_start is not None:
        slow_start = SlowStart(float(service.slow_start), runtime.random)  # type: ignore[arg-type]  # seconds, since it was checked
        balancer = Eased(balancer, slow_start)
    if service.overprovisioning is not None:
        balancer = Tiered(balancer, service.overprovisioning, draw=runtime.random)
    return balancer, slow_start


class Fitness:
    """Of one service. Sweeps for outliers happen in the background.

    Without a `lease` there is no ejection: where somebody else chooses where to connect, the service is one endpoint,
    and the last one is never ejected.
    """

    def __init__(
        self,
        service: Service,
        room: Room,
        slow_start: SlowStart | None,
        emit: Callable[[Event], None],
        runtime: Runtime,
        lease: Callable[[], Lease] | None,
    ) -> None:
        self.panic = Panic(service.panic)
        self.slow_start = slow_start
        self._service = room.service
        self._ejection: Ejection[Endpoint] | None = None
        self._line = room.line
        self._emit = emit
        self._clock = runtime
        self._members: frozenset[Endpoint] = frozenset()
        self._handle: Handle | None = None
        if slow_start is not None:
            room.on_closed = self.came_back
        if service.ejection is not None and lease is not None:
            self._ejection = Ejection(service.ejection)
            room.on_verdict = self._ejection.settle
            self._handle = lease().every(self._wait, self._sweep, name=f"ejection {room.service}")

    def update(self, endpoints: Sequence[Endpoint], /) -> None:
        """Take over a new set. Who joins others is eased in; a set that is wholly new begins at full."""
        before, self._members = self._members, frozenset(endpoints)
        joined = self._members - before
        if self._ejection is not None:
            self._told(self._ejection.update(endpoints))
            for endpoint in before - self._members:
                endpoint.mark(ejected=False)  # it is forgotten here; should it come back, it comes as new
        if self.slow_start is not None:
            self.slow_start.keep(self._members)
            if len(joined) < len(self._members):
                now = self._clock.now()
                for endpoint in joined:
                    self.slow_start.began(endpoint, now)
        self._panicking(self.panic.update(self._members))

    def health_changed(self, endpoint: Endpoint, /) -> None:
        """Look at an endpoint whose health has changed; one that is well again is eased in, and ejected no more."""
        if endpoint.healthy:
            self.came_back(endpoint)
            if self._ejection is not None:
                self._told(self._ejection.restore(endpoint))
        self._panicking(self.panic.changed(endpoint))

    def ramp(self, endpoint: Endpoint, now: float, /) -> float:
        """Return the share of its weight that an endpoint gets now."""
        return 1.0 if self.slow_start is None else self.slow_start.share(endpoint, now)

    def came_back(self, endpoint: Endpoint, /) -> None:
        """Ease an endpoint in: its circuit has closed, or it is back from elsewhere."""
        if self.slow_start is not None and len(self._members) > 1:
            self.slow_start.began(endpoint, self._clock.now())

    def follow(self, other: Fitness, room: Room) -> None:
        """Go on with what another has counted, by the same rules."""
        if other._ejection is not None and self._ejection is not None:
            self._ejection = other._ejection
            room.on_verdict = self._ejection.settle

    def close(self) -> None:
        """Stop."""
        if self._handle is not None:
            self._handle.cancel()

    async def _sweep(self) -> None:
        if self._ejection is not None:
            self._told(self._ejection.sweep(self._clock.now(), self._clock.random))

    def _wait(self) -> float:
        return math.inf if self._ejection is None else self._ejection.wait(self._clock.now())

    def _told(self, changes: Sequence[Ejected[Endpoint] | Returned[Endpoint]]) -> None:
        for change in changes:
            endpoint = change.member
            if isinstance(change, Ejected):
                endpoint.mark(ejected=True)
                event = EndpointEjected(self._service, endpoint.label, change.seconds, change.rate, change.expected)
                self._emit(event)
            else:
                endpoint.mark(ejected=False)
                self.came_back(endpoint)
                self._emit(EndpointReturned(self._service, endpoint.label))
            self._panicking(self.panic.changed(endpoint))
        if changes:
            self._line.stir()

    def _panicking(self, change: bool | None) -> None:  # noqa: FBT001 - what Panic returns
        if change is not None:
            self._emit(PanicChanged(self._service, change, self.panic.well, self.panic.total))
            self._line.stir()
