"""The tables of a configuration file that describe policies, and what each becomes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from resilience.config.values import (
    Cause,
    EndlessSecondsFromZero,
    ObjectPart,
    Seconds,
    SecondsFromZero,
    Statuses,
    off,
)
from resilience.health.check import HealthCheck
from resilience.health.ejection import OutlierEjection
from resilience.policies.adaptive import AdaptiveLimit
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.budget import RetryBudget
from resilience.policies.guard import Guard
from resilience.policies.hedge import Hedge
from resilience.policies.latencies import Quantile, quantile
from resilience.policies.laws import Aimd, Gradient2
from resilience.policies.rate_limit import RateLimit
from resilience.policies.retry import Retry
from resilience.policies.target_latency import TargetLatency
from resilience.policies.throttle import Throttle
from resilience.policies.waits import full_jitter

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Causes = Cause | Annotated[list[Cause], Field(min_length=1)]


class BudgetPart(ObjectPart):
    """How many extra sends there may be."""

    makes = RetryBudget

    ratio: Annotated[float, Field(ge=0, le=1000)] | None = None
    """Extra sends per call."""
    min_per_second: Annotated[float, Field(ge=0, le=1e6)] | None = None
    """Extra sends per second that are always there."""
    ttl: Seconds | None = None
    """For how long both count."""


# Of a policy `False` is the option itself; null says the same.
PolicyBudget = Annotated[
    BudgetPart | None,
    BeforeValidator(off, json_schema_input_type=BudgetPart | Literal[False] | None),
    AfterValidator(lambda it: it or False),
]
Budget = Annotated[BudgetPart | None, BeforeValidator(off, json_schema_input_type=BudgetPart | Literal[False] | None)]


class JitterPart(ObjectPart):
    """A random wait up to an exponential bound."""

    makes = staticmethod(full_jitter)

    base: Seconds | None = None
    """The bound of the first wait; it doubles with each."""
    cap: Seconds | None = None
    """The bound never goes beyond."""


class RetryPart(ObjectPart):
    """When a failed call is repeated."""

    makes = Retry

    max_attempts: Count | None = None
    """Sends in all, the first included."""
    wait: SecondsFromZero | JitterPart | None = None
    """Between two attempts at the same endpoint."""
    on: Causes | None = None
    """Statuses and exceptions to repeat; in a service in addition to what always is."""
    max_retry_after: EndlessSecondsFromZero | None = None
    """A server that asks for more is not waited for."""
    budget: PolicyBudget = None
    """A budget of its own; false: none."""


class CircuitPart(ObjectPart):
    """When nothing is sent any more."""

    makes = CircuitBreaker

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


class QuantilePart(ObjectPart):
    """A delay that follows the latencies."""

    quantile: Annotated[float, Field(gt=0, lt=1)]
    ceiling: Seconds

    def make(self) -> Quantile:
        """Return the policy's own object."""
        return quantile(self.quantile, ceiling=self.ceiling)


class HedgePart(ObjectPart):
    """When a late call is sent a second time."""

    makes = Hedge

    after: Seconds | QuantilePart
    extra: Count | None = None
    budget: PolicyBudget = None


class GuardPart(ObjectPart):
    """Which answers are refused."""

    status: Statuses | None = None
    content_type: str | Annotated[list[str], Field(min_length=1)] | None = None
    max_bytes: Annotated[int, Field(ge=0)] | None = None
    json_: Annotated[bool | None, Field(alias="json")] = None

    def make(self) -> Guard:
        """Return the policy's own object."""
        return Guard(**self.options("json_"), json=bool(self.json_))


class HealthPart(ObjectPart):
    """What is asked of each endpoint in the background."""

    makes = HealthCheck

    path: str
    interval: Seconds | None = None
    timeout: Seconds | None = None
    rise: Count | None = None
    fall: Count | None = None
    expect: Statuses | None = None


class EjectionPart(ObjectPart):
    """When an endpoint is left out that fails more often than the others."""

    makes = OutlierEjection

    interval: Seconds | None = None
    deviations: Annotated[float, Field(ge=0)] | None = None
    margin: Share | None = None
    minimum_calls: Count | None = None
    base: Seconds | None = None
    longest: Seconds | None = None
    jitter: Annotated[float, Field(ge=0, le=1)] | None = None
    max_ejected: Annotated[float, Field(ge=0, le=1)] | None = None


class RateLimitPart(ObjectPart):
    """At most so many a second."""

    makes = RateLimit

    rate: Annotated[float, Field(gt=0, le=1e6)]
    burst: Count | None = None
    wait: EndlessSecondsFromZero | None = None


class ThrottlePart(ObjectPart):
    """Hold back what would be refused anyway."""

    makes = Throttle

    k: Annotated[float, Field(gt=1, le=100)] | None = None
    window: Seconds | None = None
    most: Annotated[float, Field(gt=0, lt=1)] | None = None


class LimitPart(ObjectPart):
    """At most so many inside as the far side can take."""

    law: Literal["aimd", "gradient2", "target_latency"] | None = None
    """Without one: `target_latency` where a `target` is given, else `aimd`."""
    target: Seconds | None = None
    """Of `target_latency`, which needs it: what takes longer is late."""
    initial: Count | None = None
    """Where the other two begin."""
    least: Count | None = None
    most: Count | None = None

    def make(self) -> AdaptiveLimit:
        """Return the policy's own object."""
        by_target = self.law == "target_latency" or (self.law is None and self.target is not None)
        if by_target == (self.target is None) or (by_target and self.initial is not None):
            message = "target_latency needs `target` and begins at `most`; `initial` is of aimd and gradient2"
            raise ValueError(message)
        laws: dict[str | None, Any] = {"aimd": Aimd, "gradient2": Gradient2, None: Aimd}
        law = TargetLatency if self.target is not None else laws[self.law]
        return AdaptiveLimit(law(**self.options("law")))
