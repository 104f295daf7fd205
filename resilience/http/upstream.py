"""One service at run time: its endpoints, their circuits, its budget, and the chain every call to it goes through."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# httpx and httpcore declare `extensions` as a bare dict: mypy, strict too, checks this file.

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from resilience.balancing.limited_room import LimitedRoom
from resilience.balancing.room import Room
from resilience.core.call import NEVER, Elsewhere, RoutedCall, ambient
from resilience.core.endpoint import Address, Endpoint
from resilience.core.errors import DeadlineExceededError
from resilience.core.outcome import Sent
from resilience.core.slots import Line
from resilience.core.tally import Tally
from resilience.discovery.directory import Directory
from resilience.discovery.freshness import PATIENCE
from resilience.http.adaptive import Shed, limit_endpoint, rate_limit_for, throttle_for
from resilience.http.circuits import apply_template
from resilience.http.deadline_header import DeadlineHeader
from resilience.http.fitness import Fitness
from resilience.http.heritage import balancing_for, budget_for, hedge_for, take_over
from resilience.http.probing import Prober
from resilience.http.replay import repeatable, with_file_rewound
from resilience.http.roster import NamedRoute, Roster
from resilience.http.routed import routed
from resilience.http.service import CONNECT_WITH_ALTERNATIVE, MAX_IN_FLIGHT, TOTAL
from resilience.http.service_call import ServiceCall
from resilience.http.whole import options_of
from resilience.pipeline import compose
from resilience.runtimes.entry import link
from resilience.runtimes.stand_in import replaced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import httpx

    from resilience.core.ports import Policy, Proceed, Runtime
    from resilience.core.resolution import Resolution, Target
    from resilience.core.slots import Slots
    from resilience.discovery.directory import Lease
    from resilience.http.listening import Listeners
    from resilience.http.service import Service
    from resilience.http.whole import Whole

# Seconds after which a stream that is still open is counted by ``status()``: was it forgotten?
LONG = 60.0
# Seconds between the calls that the prober is told of: it only wants to know whether there are any.
USED_EVERY = 1.0


class Upstream:
    """State of one service. Its endpoints keep theirs across refreshes of the address list."""

    def __init__(
        self,
        target: Target,
        service: Service,
        resolution: Resolution | None,
        lease: Callable[[], Lease],
        exchange: Any,  # noqa: ANN401 - the blocking or the async one
        listeners: Listeners,
        runtime: Runtime,
        *,
        total: Slots | None = None,
        old: Upstream | None = None,
    ) -> None:
        self.target = target
        self.name = str(target)
        self.service = service
        self.exchange = exchange
        self.listeners = listeners
        self.runtime = runtime
        self.used_at: float = runtime.now() if old is None else old.used_at
        self.budget = budget_for(service, old, runtime.now())
        self.line: Line = Line() if old is None else old.line
        self.calls: Tally = Tally() if old is None else old.calls
        self.shed: Tally = Tally() if old is None else old.shed
        self.failed: Tally = Tally() if old is None else old.failed
        """Calls that ended in an error (not: cancelled by the caller), or in an answer of 5xx."""
        # Plain seconds, since the service has checked them.
        self._total_timeout = cast("float | None", service.total_timeout)
        self._attempt_timeout = cast("float | None", service.attempt_timeout)
        self._connect_timeout = cast("float | None", service.connect_timeout)
        self._limit = math.inf if service.max_in_flight is None else service.max_in_flight
        if total is not None and service.max_in_flight == MAX_IN_FLIGHT:
            self._limit = total.limit  # `limits=` was given, and takes the place of the default
        balancer, slow_start = balancing_for(service, old, runtime)
        room_of = Room if service.limit is None else LimitedRoom
        self.room = room_of(self.name, balancer, self.line, listeners.emit, listeners.hears, total)
        apply_template(service.circuit, self.room, listeners.failed)
        self._make_circuit = None if service.circuit is None else partial(service.circuit.fresh, draw=runtime.random)
        context = getattr(exchange, "ssl_context", None)  # None: somebody else's transport connects
        self.fitness = Fitness(
            service, self.room, slow_start, listeners.emit, runtime,
            lease if context is not None or routed(exchange) else None,
        )  # fmt: skip
        inner: Proceed = self._protected(link(cast("Policy", self.room), self._innermost()), old)
        self._once = inner
        self.hedge = hedge_for(service, old, self.budget)
        if self.hedge is not None:
            inner = compose((self.hedge,), inner)
        if service.retry is not None:
            retry = service.retry.sharing(self.budget)
            inner = compose((retry,), inner)
        self._chain = inner
        self.directory: Directory | None = None
        self.prober: Prober | None = None
        self.roster = Roster(target, self._endpoint, self._update, listeners.emit, listeners.hears, runtime.now)
        if resolution is None:
            self.directory = Directory(target, service.discovery, lease(), runtime, self.roster.adopt, listeners.emit)
        if service.health is not None and context is not None:
            self.prober = Prober(
                target, service.health, lease(), self.room, context, listeners.emit, runtime,
                changed=self.fitness.health_changed,
            )  # fmt: skip
        if old is not None:
            take_over(self, old, self._limit)
        if self.directory is not None or self.prober is not None:
            self.room.on_dial_failed = self._dial_failed
        if self.directory is not None:
            self.room.renewal = self._renewed
        if resolution is not None or old is None or self.directory is not old.directory:
            self.roster.adopt(resolution)

    def _innermost(self) -> Proceed:
        """Return what sends one attempt, once it has its endpoint."""
        service = self.service
        policies = (service.guard, DeadlineHeader(service.deadline_header) if service.deadline_header else None)
        return compose(tuple(policy for policy in policies if policy is not None), self.exchange.send)

    def _protected(self, inner: Proceed, old: Upstream | None) -> Proceed:
        """Put in front of the room what counts attempts: whoever is refused takes neither a token nor a slot."""
        now = self.runtime.now()
        self.throttle = throttle_for(self.service, old, now)
        self.rate_limit = rate_limit_for(self.service, old, now)
        if self.throttle is None and self.rate_limit is None and self.service.limit is None:
            return inner
        policies = (Shed(self.shed), self.throttle, self.rate_limit)
        return compose(tuple(policy for policy in policies if policy is not None), inner)

    def _update(self, endpoints: Sequence[Endpoint]) -> None:
        self.fitness.update(endpoints)
        self.room.update(endpoints)
        if self.prober is not None:
            self.prober.update(endpoints)

    def _dial_failed(self, endpoint: Endpoint) -> None:
        if self.directory is not None:
            self.directory.dial_failed()
        if self.prober is not None:
            self.prober.dial_failed(endpoint, self.runtime.now())

    async def _renewed(self, call: RoutedCall) -> None:
        if self.directory is not None:
            await self.directory.renewed(call.runtime, min(PATIENCE, call.remaining()))

    def _endpoint(self, address: Address) -> Endpoint:
        endpoint = Endpoint(address, limit=self._limit, line=self.line, make_circuit=self._make_circuit)
        if self.service.limit is not None:
            limit_endpoint(endpoint, self.service, self._limit)
        if address.host == self.target.host and address.port == self.target.port and self.directory is not None:
            endpoint.route = NamedRoute(self.roster, self.directory)
        return endpoint

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the endpoints in use."""
        return self.room.endpoints

    @property
    def resolution(self) -> Resolution | None:
        """Return the answer in use; None before the first, and when nothing stands any more."""
        return self.roster.resolution

    def close(self) -> None:
        """Stop what goes on in the background."""
        if self.directory is not None:
            self.directory.close()
        if self.prober is not None:
            self.prober.close()
        self.fitness.close()

    @property
    def busy(self) -> bool:
        """Tell whether anything is in flight or waiting."""
        return bool(self.line.waiters) or any(endpoint.slots.taken for endpoint in self.room.endpoints)

    def counts(self, now: float) -> dict[str, int]:
        """Return what ``status()`` tells in numbers."""
        open_for = [now - (attempt.answered or now) for attempt in list(self.room.streams)]
        return {
            "calls": self.calls.value,
            "attempts": self.room.attempts.value,
            "failed": self.failed.value,
            "waiting": len(self.line.waiters),
            "streams_over_60s": sum(1 for seconds in open_for if seconds > LONG),
        }

    # Calls.

    def call_for(self, request: httpx.Request, whole: Whole | None) -> tuple[RoutedCall, Proceed]:
        """Return the call, and the chain to send it through. Raises ConfigurationError for bad per-call options."""
        around = ambient.get()
        # On virtual time the code around says so; a client made outside follows it too.
        runtime, outer = (self.runtime, NEVER) if around is None else (replaced(around, self.runtime), around.deadline)
        now = runtime.now()
        if self.prober is not None and now - self.used_at > USED_EVERY:
            self.prober.used(now)
        self.used_at = now
        options = options_of(request)
        request = with_file_rewound(request)
        self.calls.step()
        timeouts = request.extensions.get("timeout") or {}
        total = options.get("total_timeout") or self._total_timeout
        if total is not None:
            deadline = min(outer, now + total)
        elif timeouts and timeouts.get("read") is None and not any(timeouts.values()):
            deadline = outer  # timeout=None: the user has asked for no limit, and there is no explicit total
        else:
            deadline = min(outer, now + TOTAL)
        if whole is not None:
            # The first hop's service governs; a later one may only shorten it.
            deadline = whole.deadline = min(deadline, whole.deadline)
            whole.explicit = whole.explicit or total is not None
        call = ServiceCall(self, runtime, request, now, deadline, options.get("operation") or self.name)
        call.repeatable = repeatable(request, options)
        if whole is not None and not whole.streamed:
            call.buffered = True
            call.body_until = deadline if whole.explicit else outer
        else:
            call.body_until = outer
        attempt_timeout = options.get("attempt_timeout") or self._attempt_timeout
        if attempt_timeout is not None:
            call.attempt_timeout = attempt_timeout
        pool = timeouts.get("pool")
        if pool is not None:
            call.patience = pool
        if "key" in options:
            call.key = options["key"]
        if whole is not None:
            whole.calls.append(call)
            whole.service = whole.service or self.name
        return call, self._once if options.get("retry") is False else self._chain

    async def enter(self, call: RoutedCall, chain: Proceed) -> Any:  # noqa: ANN401 - the response
        """Send a call through its chain, unless its deadline has passed already."""
        if call.deadline <= call.started:
            message = f"the deadline for {call.operation} had passed before it began"
            raise DeadlineExceededError(message, sent=Sent.NO, service=self.name)
        if self.directory is not None:
            wait = self.directory.used(call.started)
            if wait > 0:
                await self.directory.fresh(call.runtime, min(wait, call.remaining()))
        return await chain(call)

    def dial_limit(self, call: RoutedCall) -> float | None:
        """Return how many seconds the call may spend on one dial, beyond httpx's own limit."""
        limit = self._connect_timeout
        if limit is not None:
            return limit
        return CONNECT_WITH_ALTERNATIVE if self.room.elsewhere(call) is not Elsewhere.NOWHERE else None
