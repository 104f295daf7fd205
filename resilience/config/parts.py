"""The tables of a configuration file that describe policies, and what each becomes."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from resilience.config.values import Cause, Part, Seconds, Statuses, off
from resilience.health.check import HealthCheck
from resilience.health.ejection import OutlierEjection
from resilience.policies.adaptive import AdaptiveLimit
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.budget import RetryBudget
from resilience.policies.guard import Guard
from resilience.policies.hedge import Hedge
from resilience.policies.latencies import quantile
from resilience.policies.laws import Aimd, Gradient2
from resilience.policies.rate_limit import RateLimit
from resilience.policies.retry import Retry
from resilience.policies.target_latency import TargetLatency
from resilience.policies.throttle import Throttle
from resilience.policies.waits import full_jitter

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class BudgetPart(Part):
    """How many extra sends there may be."""

    ratio: Annotated[float, Field(ge=0, le=1000)] | None = None
    """Extra sends per call."""
    min_per_second: Annotated[float, Field(ge=0, le=1e6)] | None = None
    """Extra sends per second that are always there."""
    ttl: Seconds | None = None
    """For how long both count."""

    def make(self) -> RetryBudget:
        """Return the policy's own object."""
        return RetryBudget(**self.given())


Budget = Annotated[BudgetPart | None, BeforeValidator(off, json_schema_input_type=BudgetPart | Literal[False])]


class JitterPart(Part):
    """A random wait up to an exponential bound."""

    base: Seconds | None = None
    """The bound of the first wait; it doubles with each."""
    cap: Seconds | None = None
    """The bound never goes beyond."""


class RetryPart(Part):
    """When a failed call is repeated."""

    max_attempts: Count | None = None
    """Sends in all, the first included."""
    wait: Seconds | JitterPart | None = None
    """Between two attempts at the same endpoint."""
    on: Cause | list[Cause] | None = None
    """Statuses and exceptions to repeat; in a service in addition to what always is."""
    max_retry_after: Seconds | None = None
    """A server that asks for more is not waited for."""
    budget: Budget = None
    """A budget of its own; false: none."""

    def make(self) -> Retry:
        """Return the policy's own object."""
        options = self.given()
        if isinstance(self.wait, JitterPart):
            options["wait"] = full_jitter(**self.wait.given())
        if "budget" in options:
            options["budget"] = False if self.budget is None else self.budget.make()
        return Retry(**options)


class CircuitPart(Part):
    """When nothing is sent any more."""

    failure_ratio: Share | None = None
    minimum_calls: Count | None = None
    window: Seconds | None = None
    consecutive_failures: Count | None = None
    open_for: Seconds | None = None
    max_open_for: Seconds | None = None
    probes: Count | None = None
    slow_after: Seconds | None = None
    slow_ratio: Share | None = None
    slow_start: Seconds | None = None
    shadow: bool | None = None
    name: str | None = None

    def make(self) -> CircuitBreaker:
        """Return the policy's own object."""
        return CircuitBreaker(**self.given())


class QuantilePart(Part):
    """A delay that follows the latencies."""

    quantile: Annotated[float, Field(gt=0, lt=1)]
    ceiling: Seconds


class HedgePart(Part):
    """When a late call is sent a second time."""

    after: Seconds | QuantilePart
    extra: Count | None = None
    budget: Budget = None

    def make(self) -> Hedge:
        """Return the policy's own object."""
        options = self.given()
        if isinstance(self.after, QuantilePart):
            options["after"] = quantile(self.after.quantile, ceiling=self.after.ceiling)
        if "budget" in options:
            options["budget"] = False if self.budget is None else self.budget.make()
        return Hedge(**options)


class GuardPart(Part):
    """Which answers are refused."""

    status: Statuses | None = None
    content_type: str | list[str] | None = None
    max_bytes: Annotated[int, Field(ge=0)] | None = None
    json_: Annotated[bool | None, Field(alias="json")] = None

    def make(self) -> Guard:
        """Return the policy's own object."""
        return Guard(**self.given("json_"), json=bool(self.json_))


class HealthPart(Part):
    """What is asked of each endpoint in the background."""

    path: str
    interval: Seconds | None = None
    timeout: Seconds | None = None
    rise: Count | None = None
    fall: Count | None = None
    expect: Statuses | None = None

    def make(self) -> HealthCheck:
        """Return the policy's own object."""
        return HealthCheck(**self.given())


class EjectionPart(Part):
    """When an endpoint is left out that fails more often than the others."""

    interval: Seconds | None = None
    deviations: Annotated[float, Field(ge=0)] | None = None
    margin: Share | None = None
    minimum_calls: Count | None = None
    base: Seconds | None = None
    longest: Seconds | None = None
    jitter: Annotated[float, Field(ge=0, le=1)] | None = None
    max_ejected: Annotated[float, Field(ge=0, le=1)] | None = None

    def make(self) -> OutlierEjection:
        """Return the policy's own object."""
        return OutlierEjection(**self.given())


class RateLimitPart(Part):
    """At most so many a second."""

    rate: Annotated[float, Field(gt=0, le=1e6)]
    burst: Count | None = None
    wait: Seconds | None = None

    def make(self) -> RateLimit:
        """Return the policy's own object."""
        return RateLimit(**self.given())


class ThrottlePart(Part):
    """Hold back what would be refused anyway."""

    k: Annotated[float, Field(gt=1, le=100)] | None = None
    window: Seconds | None = None
    most: Share | None = None

    def make(self) -> Throttle:
        """Return the policy's own object."""
        return Throttle(**self.given())


class LimitPart(Part):
    """At most so many inside as the far side can take."""

    law: Literal["aimd", "gradient2", "target_latency"] | None = None
    """Without one: `target_latency` where a `target` is given, else `aimd`."""
    target: Seconds | None = None
    """Of `target_latency`, which needs it: what takes longer is late."""
    initial: Count | None = None
    """Where the other two begin."""
    least: Count | None = None
    most: Count | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        by_target = self.law == "target_latency" or (self.law is None and self.target is not None)
        if by_target == (self.target is None) or (by_target and self.initial is not None):
            message = "target_latency needs `target` and begins at `most`; `initial` is of aimd and gradient2"
            raise ValueError(message)
        return self

    def make(self) -> AdaptiveLimit:
        """Return the policy's own object."""
        laws: dict[str | None, Any] = {"aimd": Aimd, "gradient2": Gradient2, None: Aimd}
        law = TargetLatency if self.target is not None else laws[self.law]
        return AdaptiveLimit(law(**self.given("law")))
