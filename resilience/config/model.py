"""A configuration file as a whole: defaults, services, pipelines."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from resilience.balancing.least_request import LeastRequest
from resilience.balancing.peak_ewma import PeakEwma
from resilience.balancing.random import Random
from resilience.balancing.rendezvous import Rendezvous
from resilience.balancing.round_robin import RoundRobin
from resilience.config import parts, stages
from resilience.config.values import (
    EndlessSeconds,
    EndlessSecondsFromZero,
    ObjectPart,
    Part,
    Seconds,
    SecondsFromZero,
    by_kind,
    off,
)
from resilience.discovery.auto import Auto
from resilience.discovery.dns import Dns
from resilience.discovery.static import Static
from resilience.http.service import Service


class AutoPart(ObjectPart):
    """Resolve as httpx would, and see what the name is."""

    makes = Auto

    kind: Literal["auto"]


class DnsPart(ObjectPart):
    """Ask DNS: each address is a replica."""

    makes = Dns

    kind: Literal["dns"]
    name: str | None = None
    """What to ask for; without it the host of the URL."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    record: Literal["auto", "A", "AAAA", "SRV"] | None = None
    nameservers: Annotated[list[str], Field(min_length=1)] | None = None
    min_ttl: SecondsFromZero | None = None
    max_ttl: EndlessSeconds | None = None
    stale_for: EndlessSecondsFromZero | None = None


class WeightedPart(Part):
    """An address that gets more, or less, than the others."""

    address: str
    weight: Annotated[float, Field(gt=0)]


class StaticPart(ObjectPart):
    """A list of addresses."""

    kind: Literal["static"]
    addresses: Annotated[list[str | WeightedPart], Field(min_length=1)]

    def make(self) -> Static:
        """Return the library's object."""
        return Static([it if isinstance(it, str) else (it.address, it.weight) for it in self.addresses])


class PlainBalancerPart(ObjectPart):
    """A balancer without options."""

    kind: Literal["round_robin", "random", "least_request"]

    def make(self) -> RoundRobin | Random | LeastRequest:
        """Return the library's object."""
        if self.kind == "round_robin":
            return RoundRobin()
        return Random() if self.kind == "random" else LeastRequest()


class PeakEwmaPart(ObjectPart):
    """The endpoint that answers fastest, weighted by what it has in flight."""

    makes = PeakEwma

    kind: Literal["peak_ewma"]
    decay: Seconds | None = None
    penalty: Seconds | None = None
    default_latency: Seconds | None = None


class RendezvousPart(ObjectPart):
    """The same endpoint for the same key."""

    makes = Rendezvous

    kind: Literal["rendezvous"]
    header: str | None = None
    cookie: str | None = None
    bounded_load: Annotated[float, Field(ge=1)] | None = None


def _listed(value: Any) -> Any:  # noqa: ANN401 - what pydantic is to check
    if isinstance(value, list):
        return _static(value)
    return by_kind(value)


def _static(addresses: Any) -> dict[str, Any]:  # noqa: ANN401 - what pydantic is to check
    return {"kind": "static", "addresses": addresses}


Discovery = Annotated[
    Annotated[AutoPart | DnsPart | StaticPart, Field(discriminator="kind")],
    BeforeValidator(
        _listed,
        json_schema_input_type=AutoPart
        | DnsPart
        | StaticPart
        | Annotated[list[str | WeightedPart], Field(min_length=1)]
        | Literal["auto", "dns"],
    ),
]
Balancer = Annotated[
    Annotated[PlainBalancerPart | PeakEwmaPart | RendezvousPart, Field(discriminator="kind")],
    BeforeValidator(
        by_kind,
        json_schema_input_type=PlainBalancerPart
        | PeakEwmaPart
        | RendezvousPart
        | Literal["round_robin", "random", "least_request", "peak_ewma", "rendezvous"],
    ),
]


class ServicePart(ObjectPart):
    """How to call one upstream. ``false``, or null, in the place of a table drops that stage."""

    makes = Service
    nulls: ClassVar = frozenset(Service.__dataclass_fields__) - {"discovery", "balancer", "panic"}

    discovery: Discovery | None = None
    balancer: Balancer | None = None
    total_timeout: Seconds | None = None
    """Deadline of the whole call."""
    attempt_timeout: Seconds | None = None
    """One attempt, to its headers."""
    connect_timeout: Seconds | None = None
    """One dial."""
    retry: Annotated[
        parts.RetryPart | None, BeforeValidator(off, json_schema_input_type=parts.RetryPart | Literal[False] | None)
    ] = None
    budget: parts.Budget = None
    circuit: Annotated[
        parts.CircuitPart | None, BeforeValidator(off, json_schema_input_type=parts.CircuitPart | Literal[False] | None)
    ] = None
    health: Annotated[
        parts.HealthPart | None, BeforeValidator(off, json_schema_input_type=parts.HealthPart | Literal[False] | None)
    ] = None
    hedge: Annotated[
        parts.HedgePart | None, BeforeValidator(off, json_schema_input_type=parts.HedgePart | Literal[False] | None)
    ] = None
    limit: Annotated[
        parts.LimitPart | None, BeforeValidator(off, json_schema_input_type=parts.LimitPart | Literal[False] | None)
    ] = None
    throttle: Annotated[
        parts.ThrottlePart | None,
        BeforeValidator(off, json_schema_input_type=parts.ThrottlePart | Literal[False] | None),
    ] = None
    rate_limit: Annotated[
        parts.RateLimitPart | None,
        BeforeValidator(off, json_schema_input_type=parts.RateLimitPart | Literal[False] | None),
    ] = None
    guard: Annotated[
        parts.GuardPart | None, BeforeValidator(off, json_schema_input_type=parts.GuardPart | Literal[False] | None)
    ] = None
    ejection: Annotated[
        parts.EjectionPart | None,
        BeforeValidator(off, json_schema_input_type=parts.EjectionPart | Literal[False] | None),
    ] = None
    deadline_header: str | None = None
    """The header that tells the server how many milliseconds are left."""
    max_in_flight: Annotated[
        Annotated[int, Field(ge=1)] | None,
        BeforeValidator(off, json_schema_input_type=Annotated[int, Field(ge=1)] | Literal[False, None]),  # noqa: PYI061 - pyright has no `Annotated | None`
    ] = None
    """Calls in flight per endpoint; false: as many as come."""
    panic: Annotated[float, Field(ge=0, lt=1)] | None = None
    slow_start: Seconds | None = None
    overprovisioning: Annotated[
        Annotated[float, Field(ge=1)] | None,
        BeforeValidator(off, json_schema_input_type=Annotated[float, Field(ge=1)] | Literal[False, None]),  # noqa: PYI061 - pyright has no `Annotated | None`
    ] = None


Stage = Annotated[
    stages.TimeoutStage
    | stages.RetryStage
    | stages.CircuitStage
    | stages.HedgeStage
    | stages.GuardStage
    | stages.BulkheadStage
    | stages.RateLimitStage
    | stages.ThrottleStage
    | stages.AdaptiveLimitStage
    | stages.FallbackStage
    | stages.SingleFlightStage,
    Field(discriminator="kind"),
]


class FilePart(Part):
    """Defaults for every service, the services by ``host`` or ``host:port``, and pipelines by name, outermost first."""

    schema_: Annotated[Any, Field(alias="$schema")] = None
    """For editors."""
    defaults: ServicePart = ServicePart()
    """Also what a service says nothing about."""
    services: dict[str, ServicePart] = Field(default_factory=dict)
    pipelines: dict[str, list[Stage]] = Field(default_factory=dict)
