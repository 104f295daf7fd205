"""Outbound calls that survive: retries, circuits, balancing, discovery and deadlines around httpx."""

from resilience.balancing.least_request import LeastRequest
from resilience.balancing.peak_ewma import PeakEwma
from resilience.balancing.random import Random
from resilience.balancing.rendezvous import Rendezvous
from resilience.balancing.round_robin import RoundRobin
from resilience.balancing.zones import Zones
from resilience.client import AsyncClient, Client
from resilience.core.errors import (
    BadAnswerError,
    CircuitOpenError,
    ConfigurationError,
    DeadlineExceededError,
    NoEndpointsError,
    OverloadedError,
    RejectedError,
    ResilienceError,
)
from resilience.core.outcome import Blame, Err, Ok, Sent, Verdict
from resilience.discovery.auto import Auto
from resilience.discovery.dns import Dns
from resilience.discovery.static import Static
from resilience.discovery.subset import Subset
from resilience.health.check import HealthCheck
from resilience.health.ejection import OutlierEjection
from resilience.http.chaos import AsyncChaosTransport, ChaosTransport, cut_body
from resilience.http.routes import Route
from resilience.http.service import Service
from resilience.http.transport import AsyncTransport, Transport
from resilience.pipeline import Pipeline
from resilience.policies.adaptive import AdaptiveLimit
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.budget import RetryBudget
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.chaos import Chaos
from resilience.policies.fallback import Fallback
from resilience.policies.guard import Guard
from resilience.policies.hedge import Hedge
from resilience.policies.keyed import KeyedCircuitBreaker
from resilience.policies.latencies import quantile
from resilience.policies.laws import Aimd, Gradient2
from resilience.policies.policy import Policy
from resilience.policies.rate_limit import RateLimit
from resilience.policies.retry import Retry
from resilience.policies.single_flight import SingleFlight
from resilience.policies.target_latency import TargetLatency
from resilience.policies.throttle import Throttle
from resilience.policies.timeout import Timeout
from resilience.policies.waits import full_jitter
from resilience.registry import NamedPipeline, Registry
from resilience.runtimes.entry import deadline

__all__ = [
    "AdaptiveLimit",
    "Aimd",
    "AsyncChaosTransport",
    "AsyncClient",
    "AsyncTransport",
    "Auto",
    "BadAnswerError",
    "Blame",
    "Bulkhead",
    "Chaos",
    "ChaosTransport",
    "CircuitBreaker",
    "CircuitOpenError",
    "Client",
    "ConfigurationError",
    "DeadlineExceededError",
    "Dns",
    "Err",
    "Fallback",
    "Gradient2",
    "Guard",
    "HealthCheck",
    "Hedge",
    "KeyedCircuitBreaker",
    "LeastRequest",
    "NamedPipeline",
    "NoEndpointsError",
    "Ok",
    "OutlierEjection",
    "OverloadedError",
    "PeakEwma",
    "Pipeline",
    "Policy",
    "Random",
    "RateLimit",
    "Registry",
    "RejectedError",
    "Rendezvous",
    "ResilienceError",
    "Retry",
    "RetryBudget",
    "RoundRobin",
    "Route",
    "Sent",
    "Service",
    "SingleFlight",
    "Static",
    "Subset",
    "TargetLatency",
    "Throttle",
    "Timeout",
    "Transport",
    "Verdict",
    "Zones",
    "cut_body",
    "deadline",
    "full_jitter",
    "quantile",
]
