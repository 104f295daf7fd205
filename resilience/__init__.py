"""Outbound calls that survive: retries, circuits, balancing, discovery and deadlines around httpx."""

from resilience.balancing.least_request import LeastRequest
from resilience.balancing.peak_ewma import PeakEwma
from resilience.balancing.random import Random
from resilience.balancing.rendezvous import Rendezvous
from resilience.balancing.round_robin import RoundRobin
from resilience.client import AsyncClient, Client
from resilience.core.errors import (
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
from resilience.health.check import HealthCheck
from resilience.http.service import Service
from resilience.http.transport import AsyncTransport, Transport
from resilience.pipeline import Pipeline
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.budget import RetryBudget
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.hedge import Hedge
from resilience.policies.latencies import quantile
from resilience.policies.policy import Policy
from resilience.policies.retry import Retry
from resilience.policies.timeout import Timeout
from resilience.policies.waits import full_jitter
from resilience.runtimes.entry import deadline

__all__ = [
    "AsyncClient",
    "AsyncTransport",
    "Auto",
    "Blame",
    "Bulkhead",
    "CircuitBreaker",
    "CircuitOpenError",
    "Client",
    "ConfigurationError",
    "DeadlineExceededError",
    "Dns",
    "Err",
    "HealthCheck",
    "Hedge",
    "LeastRequest",
    "NoEndpointsError",
    "Ok",
    "OverloadedError",
    "PeakEwma",
    "Pipeline",
    "Policy",
    "Random",
    "RejectedError",
    "Rendezvous",
    "ResilienceError",
    "Retry",
    "RetryBudget",
    "RoundRobin",
    "Sent",
    "Service",
    "Static",
    "Timeout",
    "Transport",
    "Verdict",
    "deadline",
    "full_jitter",
    "quantile",
]
