"""One service at run time: its endpoints, their circuits, its budget, and the chain every call to it goes through."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from resilience.balancing.room import Room
from resilience.core.call import NEVER, Elsewhere, RoutedCall, ambient
from resilience.core.endpoint import Endpoint
from resilience.core.events import EndpointsChanged
from resilience.core.slots import Line
from resilience.http.classify import classify
from resilience.http.replay import repeatable
from resilience.http.service import CONNECT_WITH_ALTERNATIVE, TOTAL
from resilience.http.whole import options_of
from resilience.pipeline import compose
from resilience.runtimes.entry import link

if TYPE_CHECKING:
    import httpx

    from resilience.core.ports import Proceed, Runtime
    from resilience.core.resolution import Resolution, Target
    from resilience.http.listening import Listeners
    from resilience.http.service import Service
    from resilience.http.whole import Whole


class Upstream:
    """State of one service. Its endpoints keep theirs across refreshes of the address list."""

    def __init__(  # noqa: PLR0913 - what it is made of
        self,
        target: Target,
        service: Service,
        resolution: Resolution,
        exchange: Any,  # noqa: ANN401 - the blocking or the async one
        listeners: Listeners,
        runtime: Runtime,
        *,
        limit: float = math.inf,
    ) -> None:
        self.target = target
        self.name = str(target)
        self.service = service
        self.exchange = exchange
        self.listeners = listeners
        self.runtime = runtime
        self.budget = service.budget.fresh() if service.budget is not None else None
        self.line = Line()
        self.resolution = resolution
        self.used_at = runtime.now()
        self.counts = {"calls": 0, "attempts": 0, "failed": 0}
        own = math.inf if service.max_in_flight is None else service.max_in_flight
        self._limit = min(own, limit)
        balancer = service.balancer
        fresh = getattr(balancer, "fresh", None)
        self.room = Room(
            self.name, fresh() if fresh is not None else balancer, self.line, listeners.emit, listeners.hears
        )
        inner: Proceed = link(self.room, exchange.send)
        self._once = inner
        if service.retry is not None:
            retry = service.retry.sharing(self.budget)
            inner = compose((retry,), inner)
        self._chain = inner
        self.adopt(resolution)

    # Endpoints.

    def adopt(self, resolution: Resolution) -> tuple[Endpoint, ...]:
        """Take over a new answer; return the endpoints that left."""
        known = {endpoint.address: endpoint for endpoint in self.room.endpoints}
        kept: list[Endpoint] = []
        added: list[str] = []
        for replica in resolution.replicas:
            endpoint = known.pop(replica.address, None)
            if endpoint is None:
                endpoint = Endpoint(
                    replica.address,
                    limit=self._limit,
                    line=self.line,
                    circuit=None if self.service.circuit is None else self.service.circuit.fresh(draw=self.runtime.random),
                )
                added.append(endpoint.label)
            endpoint.weight = replica.weight
            endpoint.tier = replica.tier
            endpoint.mark(draining=False)
            kept.append(endpoint)
        for endpoint in kept:
            if endpoint.circuit is not None:
                endpoint.circuit.sole = len(kept) == 1
        left = tuple(known.values())
        for endpoint in left:
            endpoint.mark(draining=True)
        first = not self.room.endpoints
        self.resolution = resolution
        self.room.update(kept)
        if (added or left) and not first:
            removed = tuple(endpoint.label for endpoint in left)
            self.listeners.emit(EndpointsChanged(self.name, tuple(added), removed, len(kept), resolution.source))
        return left

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the endpoints in use."""
        return self.room.endpoints

    @property
    def busy(self) -> bool:
        """Tell whether anything is in flight or waiting."""
        return bool(self.line.waiters) or any(endpoint.slots.taken for endpoint in self.room.endpoints)

    # Calls.

    def call_for(self, request: httpx.Request, whole: Whole | None) -> tuple[RoutedCall, Proceed]:
        """Return the call, and the chain to send it through. Raises ConfigurationError for bad per-call options."""
        runtime = self.runtime
        now = self.used_at = runtime.now()
        options = options_of(request)
        service = self.service
        timeouts = request.extensions.get("timeout") or {}
        total = options.get("total_timeout") or service.total_timeout
        around = ambient.get()
        outer = NEVER if around is None else around.deadline
        if total is not None:
            deadline = min(outer, now + total)
        elif timeouts and timeouts.get("read") is None and not any(timeouts.values()):
            deadline = outer  # timeout=None: the user has asked for no limit, and there is no explicit total
        else:
            deadline = min(outer, now + TOTAL)
        if whole is not None:
            # The first hop's service governs; a later one may only shorten it.
            deadline = whole.deadline = min(deadline, whole.deadline)
        call = RoutedCall(
            runtime,
            request,
            now,
            deadline,
            options.get("operation", "") or self.name,
            repeatable(request, options),
            classify,
        )
        call.buffered = whole is not None and not whole.streamed
        call.body_until = deadline if total is not None and call.buffered else outer
        attempt_timeout = options.get("attempt_timeout") or service.attempt_timeout
        if attempt_timeout is not None:
            call.attempt_timeout = attempt_timeout
        pool = timeouts.get("pool")
        if pool is not None:
            call.patience = pool
        call.key = options.get("key")
        call.elsewhere = self.room.elsewhere
        call.discard = self.exchange.discard
        call.emit = self.listeners.emit if self.listeners.hears(10) else None
        call.connect_limit = self._connect_limit
        if whole is not None:
            whole.calls.append(call)
            whole.service = whole.service or self.name
        return call, self._once if options.get("retry") is False else self._chain

    def _connect_limit(self, call: RoutedCall) -> float | None:
        limit = self.service.connect_timeout
        if limit is not None:
            return limit  # type: ignore[return-value]  # seconds since the service was checked
        return CONNECT_WITH_ALTERNATIVE if self.room.elsewhere(call) is not Elsewhere.NOWHERE else None


