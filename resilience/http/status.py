"""What a client knows and what it was told: ``status()`` and ``describe()``."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from resilience.http.doubts import doubts
from resilience.http.service import TOTAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from resilience.core.resolution import Resolution
    from resilience.http.service import Service
    from resilience.http.upstream import Upstream


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """One endpoint at one moment."""

    address: str
    ready: bool
    not_ready_because: tuple[str, ...]
    """``draining``, ``unhealthy``, ``ejected``, ``circuit``, ``full``; ``unresolved``: its name is known not to be."""
    circuit: str | None
    """``closed``, ``open``, ``half-open``; None without circuits."""
    healthy: bool
    in_flight: int
    latency: float | None
    """Smoothed seconds to the headers; None before the first answer."""
    weight: float
    tier: int
    ejected: bool = False
    ramp: float = 1.0
    """Share of its weight that it gets now: below 1 while it starts slowly."""
    limit: float = math.inf
    """How many may be in flight at once now."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service at one moment."""

    name: str
    endpoints: tuple[EndpointStatus, ...]
    resolution: Resolution | None
    """The answer in use; None before the first, and when nothing stands any more."""
    budget: float | None
    """Extra sends that could be paid for now; None without a budget."""
    counts: Mapping[str, int]
    """So far: ``calls``, ``attempts``, calls ``failed`` (in an error or a 5xx; cancelled ones do not count). Now: calls
    ``waiting`` for a slot, and ``streams_over_60s``, open for longer than that."""
    panic: bool = False
    """So few endpoints are well that health and ejection are ignored."""
    shed: int = 0
    """Sends so far that `limit`, `throttle` or `rate_limit` have turned away."""
    throttled: float | None = None
    """Share of the sends that the throttle holds back now, 0-1; None without one."""


@dataclass(frozen=True, slots=True)
class Status:
    """Every service a client has met."""

    services: Mapping[str, ServiceStatus]


def snapshot(upstreams: Sequence[Upstream], now: float) -> Status:
    """Return the state of all services, by ``host:port``."""
    return Status({upstream.name: _service_status(upstream, now) for upstream in upstreams})


def _service_status(upstream: Upstream, now: float) -> ServiceStatus:
    upstream.room.settle_abandoned()
    directory = upstream.directory
    unresolved = directory is not None and upstream.resolution is None and directory.unresolved(now)
    endpoints = tuple(
        EndpointStatus(
            address=endpoint.label,
            ready=not unresolved and endpoint.ready(now),
            not_ready_because=("unresolved",) * unresolved + endpoint.not_ready_because(now),
            circuit=None if endpoint.circuit is None else endpoint.circuit.state,
            healthy=endpoint.healthy,
            in_flight=endpoint.slots.taken,
            latency=endpoint.latency,
            weight=endpoint.weight,
            tier=endpoint.tier,
            ejected=endpoint.ejected,
            limit=endpoint.slots.limit,
            ramp=upstream.fitness.ramp(endpoint, now),
        )
        for endpoint in upstream.endpoints
    )
    budget = None if upstream.budget is None else upstream.budget.balance(now)
    counts, panic = upstream.counts(now), upstream.fitness.panic.on
    throttled = None if upstream.throttle is None else upstream.throttle.acceptance.refusal(now)
    return ServiceStatus(
        upstream.name, endpoints, upstream.resolution, budget, counts, panic, upstream.shed.value, throttled
    )


@dataclass(frozen=True, slots=True)
class ServiceDescription:
    """The policies of one service, outermost first, each with its options, and every doubt about them."""

    name: str
    policies: tuple[str, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        """Return one line per policy and warning."""
        lines = [f"{self.name}", *(f"  {policy}" for policy in self.policies)]
        return "\n".join([*lines, *(f"  warning: {warning}" for warning in self.warnings)])


@dataclass(frozen=True, slots=True)
class Description:
    """What a client was told, by service; ``defaults`` is for the origins that were not named."""

    services: Mapping[str, ServiceDescription]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Every warning, with the name of its service."""
        return tuple(f"{name}: {warning}" for name, service in self.services.items() for warning in service.warnings)

    def __str__(self) -> str:
        """Return it as text, to be printed."""
        return "\n".join(str(service) for service in self.services.values())


def describe(
    services: Mapping[str, Service], defaults: Service, upstreams: Sequence[Upstream], *, stacked: int = 0
) -> Description:
    """Return the description of everything configured or met. `stacked`: retries that the transport below makes."""
    found = {name: _describe(name, service, None, stacked) for name, service in services.items()}
    found["defaults"] = _describe("defaults", defaults, None, stacked)
    for upstream in upstreams:
        found.pop(upstream.target.host, None)
        found[upstream.name] = _describe(upstream.name, upstream.service, upstream, stacked)
    return Description(found)


def _describe(name: str, service: Service, upstream: Upstream | None, stacked: int) -> ServiceDescription:
    total = service.total_timeout
    policies = [
        f"deadline: {total:g} s, bodies that are not streamed included"
        if total is not None
        else f"deadline: {TOTAL:g} s to the final response's headers",
    ]
    if service.retry is not None:
        policies.append(f"retry: {service.retry!r}")
        policies.append(f"budget: {service.budget!r}" if service.budget is not None else "budget: none")
    stages = ("hedge", "throttle", "rate_limit", "guard")
    described = {stage.replace("_", " "): getattr(service, stage) for stage in stages}
    policies.extend(f"{name}: {policy!r}" for name, policy in described.items() if policy is not None)
    if service.deadline_header is not None:
        policies.append(f"deadline header: {service.deadline_header}")
    if upstream is not None:
        resolution = upstream.resolution
        policies.append(f"discovery: {service.discovery!r}: {_found(resolution)}")
    else:
        policies.append(f"discovery: {service.discovery!r}")
    policies.append(f"balancer: {service.balancer!r}")
    limit = "unlimited" if service.max_in_flight is None else f"{service.max_in_flight} per endpoint, then a queue"
    policies.append(f"in flight: {limit}")
    if service.limit is not None:
        policies.append(f"limit: {service.limit!r} per endpoint; beyond it nobody queues")
    policies.append(f"circuit: {service.circuit!r} per endpoint" if service.circuit is not None else "circuit: none")
    if service.ejection is not None:
        policies.append(f"ejection: {service.ejection!r}")
    if service.health is not None:
        never = "" if upstream is None or upstream.prober is not None else " (never asked: another transport connects)"
        shown = replace(service.health, path=service.health.path.partition("?")[0])  # a query may hold a secret
        policies.append(f"health: {shown!r}{never}")
    if service.slow_start is not None:
        policies.append(f"slow start: {service.slow_start:g} s")
    if service.attempt_timeout is not None:
        policies.append(f"attempt: {service.attempt_timeout:g} s to its headers")
    resolution = None if upstream is None else upstream.resolution
    host = "" if upstream is None else upstream.target.host
    return ServiceDescription(name, tuple(policies), doubts(service, resolution, stacked=stacked, host=host))


def _found(resolution: Resolution | None) -> str:
    if resolution is None:
        return "not looked up yet"
    size = len(resolution.replicas)
    kind = f"a fleet of {size}" if resolution.fleet else f"one origin, {size} way{'s' * (size != 1)} to it"
    return f"{kind} ({resolution.source}; {resolution.why or 'as told'})"
