"""Where a call may be sent, given what has been tried of it and what was answered."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resilience.core.call import RoutedCall
    from resilience.core.endpoint import Endpoint
    from resilience.core.outcome import Verdict


def open_to(call: RoutedCall, endpoint: Endpoint, now: float) -> bool:
    """Tell whether the endpoint lets this call in as soon as it has a free slot; a hedge never probes."""
    return not (call.hedging and only_probes(endpoint)) and endpoint.open_to(now)


def only_probes(endpoint: Endpoint) -> bool:
    """Tell whether the endpoint's circuit lets nobody in but to see whether it may close."""
    circuit = endpoint.circuit
    return circuit is not None and circuit.state != "closed" and circuit.binding


def bound_until(call: RoutedCall, endpoint: Endpoint) -> float:
    """Return the instant until which the endpoint has asked this call to stay away (``Retry-After``)."""
    return max(
        (
            (attempt.answered or attempt.started) + attempt.verdict.retry_after
            for attempt in call.attempts
            if attempt.endpoint is endpoint and attempt.verdict is not None and attempt.verdict.retry_after
        ),
        default=0.0,
    )


def at_the_earliest(call: RoutedCall, verdict: Verdict, now: float) -> Verdict:
    """Return the verdict with the shortest wait after which an endpoint that was tried may be sent to again."""
    open_now = [endpoint for endpoint in call.tried if endpoint.open_to(now)] or list(call.tried)
    wait = max(0.0, min(bound_until(call, endpoint) for endpoint in open_now) - now)
    return verdict if wait == (verdict.retry_after or 0.0) else replace(verdict, retry_after=wait or None)
