"""Why a call is turned away before anything of it is sent: each error says what, to whom, and when next."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from resilience.balancing.bounds import bound_until
from resilience.core.errors import CircuitOpenError, DeadlineExceededError, NoEndpointsError, OverloadedError
from resilience.core.outcome import Sent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resilience.balancing.settling import Settling
    from resilience.core.call import RoutedCall
    from resilience.core.endpoint import Endpoint


def tired_of_waiting(room: Settling, endpoints: Sequence[Endpoint], call: RoutedCall, now: float) -> Exception:
    """Return the error for a call that has waited for a slot as long as it may."""
    if now >= call.deadline:
        message = f"the deadline passed while waiting for a free slot of {room.service}"
        return DeadlineExceededError(message, sent=Sent.NO, service=room.service)
    full = sum(1 for endpoint in endpoints if endpoint.slots.taken >= endpoint.slots.limit)
    whose = f"of its {full} ready endpoint{'s' * (full != 1)}"
    total = room.total
    if total is not None and total.taken >= total.limit:
        whose = f"of the client (limits: max_connections={total.limit:g})"
    message = (
        f"{room.service} is overloaded: all slots {whose} are taken, and none came free within {call.patience:g} s"
    )
    return OverloadedError(message, service=room.service)


def asked_to_stay_away(service: str, call: RoutedCall, open_now: Sequence[Endpoint], now: float) -> Exception:
    """Return the error for a call whose endpoints have all sent a ``Retry-After`` that is not over."""
    wait = min(bound_until(call, endpoint) for endpoint in open_now) - now
    message = f"every endpoint of {service} that could be called wants to be left alone for {wait:.1f} s"
    return OverloadedError(message, service=service, retry_after=wait)


def refusal(service: str, endpoints: Sequence[Endpoint], now: float, relents_in: float = math.inf) -> Exception:
    """Return the error for a call that no endpoint can take: an open circuit, or nothing there at all.

    `relents_in`: seconds until a circuit lets a probe in because no other endpoint is there.
    """
    waits = [
        (endpoint.circuit.retry_after(now), endpoint)
        for endpoint in endpoints
        if endpoint.circuit is not None and endpoint.fit and not endpoint.circuit.would_admit(now)
    ]
    if waits:
        wait, endpoint = min(waits, key=lambda pair: pair[0])
        wait = min(wait, relents_in)
        message = f"circuit for {endpoint.label} is {_state(endpoint, wait)}"
        if len(endpoints) > 1:
            message = f"no endpoint of {service} can be called: of {len(endpoints)}, the first " + message
        known = None if wait == math.inf else wait
        return CircuitOpenError(message, service=service, endpoint=endpoint.label, retry_after=known)
    if not endpoints:
        return NoEndpointsError(f"{service} has no endpoints", service=service)
    causes = "; ".join(f"{e.label} is {', '.join(e.not_ready_because(now))}" for e in endpoints[:5])
    more = f" and {len(endpoints) - 5} more" if len(endpoints) > 5 else ""  # noqa: PLR2004
    return NoEndpointsError(f"no endpoint of {service} is ready: {causes}{more}", service=service)


def _state(endpoint: Endpoint, wait: float) -> str:
    if wait == math.inf:
        return "forced open"
    state = endpoint.circuit.state  # type: ignore[union-attr]  # it has one, that refuses
    then = "starting slowly; try again" if state == "closed" else f"{state}; next probe"
    return f"{then} in {wait:.1f} s"
