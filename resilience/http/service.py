"""``Service``: the frozen description of one upstream. What becomes of it at run time is in ``upstream.py``."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from resilience.balancing.round_robin import RoundRobin
from resilience.core.errors import ConfigurationError
from resilience.core.propagation import header_name
from resilience.core.units import seconds as in_seconds
from resilience.core.units import whole
from resilience.discovery.auto import Auto
from resilience.health.check import HealthCheck
from resilience.health.ejection import OutlierEjection
from resilience.policies.adaptive import AdaptiveLimit
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.budget import RetryBudget
from resilience.policies.guard import Guard
from resilience.policies.hedge import Hedge
from resilience.policies.rate_limit import RateLimit
from resilience.policies.retry import Retry
from resilience.policies.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from resilience.core.ports import Balancer, Resolver

# Seconds up to the final response's headers when `total_timeout` is not given: Polly's and Envoy's neighbourhood.
TOTAL = 30.0
# Seconds for one dial while another endpoint is ready (linkerd).
CONNECT_WITH_ALTERNATIVE = 1.0
# Calls in flight per endpoint: httpx's own `max_connections`.
MAX_IN_FLIGHT = 100
# Below this share of endpoints that are well, health and ejection are ignored (Envoy, Finagle).
PANIC = 0.5
# How much more than its part a tier is said to carry (Envoy): it spills below 72 % ready.
OVERPROVISIONING = 1.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """How to call one upstream. ``None`` drops a stage; ``dataclasses.replace`` makes variations.

    Durations are seconds or ``timedelta``. `discovery`: ``Auto()``, ``Dns(…)``, ``Static([…])`` or any resolver.
    `balancer`: any balancer; a template, each service gets its own. `total_timeout`: deadline of the whole call;
    None is 30 s up to the final response's headers, a number covers the body of calls that are not streamed too.
    `attempt_timeout`: one attempt, to its headers. `connect_timeout`: one dial; None is httpx's own limit, and 1 s
    while another endpoint is ready. `retry`, `budget`, `circuit`: as named; `circuit` is a template, each endpoint
    has its own. `health`: active probes. `hedge`: a second request when the first is slow.
    `limit`: how many each endpoint can take at once, by a law; `throttle` and `rate_limit`: of the service as a whole.
    All three count attempts and are templates; what they refuse was not sent. `guard`: refuses bad
    answers within the attempt. `deadline_header`: the name of a header that tells the server how many milliseconds
    are left, such as ``x-deadline-ms``. `max_in_flight`: calls per endpoint (100, as httpx's `max_connections`);
    beyond it another endpoint, then a queue. `ejection`: leaves out endpoints that fail more often than the others.
    `panic`: share of endpoints that must be well, in [0, 1); with fewer, health and ejection are ignored, and 0 is
    never. `slow_start`: seconds in which an endpoint that joins or comes back gets its full share.
    `overprovisioning`: what a tier carries beyond its part, from 1; calls spill into the next tier when less than
    its inverse is ready, and with None only when nothing is.

    Raises ConfigurationError, naming the field, for values out of range.
    """

    discovery: Resolver = field(default_factory=Auto)
    balancer: Balancer = field(default_factory=RoundRobin, compare=False)
    total_timeout: float | timedelta | None = None
    attempt_timeout: float | timedelta | None = None
    connect_timeout: float | timedelta | None = None
    retry: Retry | None = field(default_factory=Retry)
    budget: RetryBudget | None = field(default_factory=RetryBudget)
    circuit: CircuitBreaker | None = field(default_factory=CircuitBreaker, compare=False)
    health: HealthCheck | None = None
    hedge: Hedge | None = None
    limit: AdaptiveLimit | None = None
    throttle: Throttle | None = None
    rate_limit: RateLimit | None = None
    guard: Guard | None = None
    deadline_header: str | None = None
    max_in_flight: int | None = MAX_IN_FLIGHT
    ejection: OutlierEjection | None = None
    panic: float = PANIC
    slow_start: float | timedelta | None = None
    overprovisioning: float | None = OVERPROVISIONING

    def __post_init__(self) -> None:
        """Check every field, so that a mistake shows where it was made."""
        for name in ("total_timeout", "attempt_timeout", "connect_timeout", "slow_start"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, in_seconds(name, value))
        if self.max_in_flight is not None:
            whole("max_in_flight", self.max_in_flight)
        _expect("retry", self.retry, Retry)
        _expect("budget", self.budget, RetryBudget)
        _expect("circuit", self.circuit, CircuitBreaker)
        _expect("health", self.health, HealthCheck)
        _expect("hedge", self.hedge, Hedge)
        _expect("limit", self.limit, AdaptiveLimit)
        _expect("throttle", self.throttle, Throttle)
        _expect("rate_limit", self.rate_limit, RateLimit)
        _expect("guard", self.guard, Guard)
        if self.deadline_header is not None:
            object.__setattr__(self, "deadline_header", header_name("deadline_header", self.deadline_header))
        _expect("ejection", self.ejection, OutlierEjection)
        _number("panic", self.panic, "a number from 0 to below 1", lambda number: 0 <= number < 1)
        if self.overprovisioning is not None:
            within = "a finite number from 1, or None"
            _number("overprovisioning", self.overprovisioning, within, lambda number: 1 <= number <= sys.float_info.max)
        for name, method, such in (
            ("discovery", "resolve", 'Static(["10.0.0.1:8080"])'),
            ("balancer", "pick", "PeakEwma()"),
        ):
            value = getattr(self, name)
            if isinstance(value, type) or not callable(getattr(value, method, None)):
                argument, expected = name, f"an object with `{method}`, such as {such}"
                raise ConfigurationError(argument, value, expected)


def _number(name: str, value: object, expected: str, within: Callable[[float], bool]) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not within(value):
        raise ConfigurationError(name, value, expected)


def _expect(name: str, value: object, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        raise ConfigurationError(name, value, f"a {kind.__name__}, or None to do without")
