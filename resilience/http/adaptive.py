"""The protection of a service from more than it can take, as its description asks for: per endpoint, and as a whole."""

from __future__ import annotations

import contextlib
import math
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from resilience.core.errors import OverloadedError
from resilience.core.outcome import Blame
from resilience.policies.laws import Sample
from resilience.policies.policy import Policy
from resilience.policies.successions import Balances, limit_after, policy_after

if TYPE_CHECKING:
    from resilience.core.attempt import Attempt
    from resilience.core.call import Call
    from resilience.core.endpoint import Endpoint
    from resilience.core.outcome import Verdict
    from resilience.core.ports import Proceed
    from resilience.core.slots import Slots
    from resilience.core.tally import Tally
    from resilience.http.service import Service
    from resilience.http.upstream import Upstream
    from resilience.policies.laws import Law, Limit
    from resilience.policies.rate_limit import RateLimit
    from resilience.policies.throttle import Throttle


class EndpointLimit:
    """The adaptive limit of one endpoint: what a law learns becomes the limit of its slots, up to a ceiling."""

    __slots__ = ("_ceiling", "_limit", "_lock", "_slots", "law")

    def __init__(self, law: Law, slots: Slots, ceiling: float, known: Limit | None = None) -> None:
        self.law = law
        self._slots = slots
        self._ceiling = ceiling
        self._lock = threading.Lock()
        self._limit = law.begin() if known is None else known
        self._apply_locked()

    @property
    def binds(self) -> bool:
        """Tell whether the limit is below the ceiling."""
        return self._slots.limit < self._ceiling

    def learn(self, attempt: Attempt, verdict: Verdict, now: float, /) -> bool:
        """Take note of an attempt that has been judged; true when the limit has moved.

        An answer says by its latency how the endpoint is doing, unless it asks to be left alone (429, 503 …); whatever
        else an endpoint is to blame for counts as dropped.
        """
        answered = attempt.answered
        took = (now if answered is None else answered) - attempt.started
        dropped = verdict.retry or (answered is None and verdict.blame is Blame.BAD)
        with self._lock:
            self._limit.learn(Sample(attempt.started, took, attempt.in_flight, dropped), now)
            return self._apply_locked()

    def after(self, law: Law, slots: Slots, ceiling: float) -> EndpointLimit:
        """Return what goes on under another law or ceiling: at the limit that was reached."""
        with self._lock:
            known = limit_after(self._limit, self.law, law)
        return EndpointLimit(law, slots, ceiling, known)

    def _apply_locked(self) -> bool:
        known: Any = self._limit
        if known.limit > self._ceiling:
            # Beyond it nothing can be learnt; from there it would take steps back that nobody notices.
            with contextlib.suppress(AttributeError):  # somebody's own that cannot be told
                known.limit = self._ceiling
        limit = min(self._ceiling, max(1, math.floor(known.limit)))
        return _resized(self._slots, limit)


def limit_endpoint(endpoint: Endpoint, service: Service, ceiling: float) -> None:
    """Give an endpoint the limit that its service asks for, with what its present one has learnt."""
    known: Any = endpoint.adaptive
    if service.limit is None:
        endpoint.adaptive = None
        _resized(endpoint.slots, ceiling)
    elif known is None:
        endpoint.adaptive = EndpointLimit(service.limit.law, endpoint.slots, ceiling)
    else:
        endpoint.adaptive = known.after(service.limit.law, endpoint.slots, ceiling)


def _resized(slots: Slots, limit: float) -> bool:
    """Change the limit, and hand room that is new to those who wait for it; false, and no lock, where it stays."""
    if limit == slots.limit:
        return False
    slots.resize(limit)
    return True


def throttle_for(service: Service, old: Upstream | None, now: float) -> Throttle | None:
    """Return the service's own throttle, with what is known of its acceptance."""
    return _own(service.throttle, None if old is None else old.throttle, now)  # type: ignore[no-any-return]


def rate_limit_for(service: Service, old: Upstream | None, now: float) -> RateLimit | None:
    """Return the service's own rate limit, with the tokens that are left."""
    return _own(service.rate_limit, None if old is None else old.rate_limit, now)  # type: ignore[no-any-return]


def _own(template: Any, known: Any, now: float) -> Any:  # noqa: ANN401 - a Throttle or a RateLimit
    if template is None:
        return None
    made = replace(template)  # the state of a copy is its own
    return made if known is None else policy_after(known, made, Balances(now))


class Shed(Policy):
    """Count the attempts that were turned away with nothing sent."""

    def __init__(self, shed: Tally) -> None:
        self._shed = shed

    async def around(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Let the call through, and look at how it ends."""
        try:
            return await proceed(call)
        except OverloadedError:
            self._shed.step()
            raise
