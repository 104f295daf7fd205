"""Peak EWMA: the lowest expected wait, from latency that follows peaks at once and forgets them slowly.

Each endpoint is priced at its latency estimate × (calls in flight + 1) ÷ weight, as in Finagle and linkerd. Added
are: a failure costs at least the penalty, so that fast 503s attract nothing (linkerd's load biaser); an endpoint
without history gets one call to prove itself; and silence counts: while nothing has been answered since a call went
out, the estimate is no shorter than that, so that a hung endpoint is left alone before its first timeout (in simulation
that saves a third to two thirds of the calls lost to a replica that gets stuck).
"""

from __future__ import annotations

import random
from math import exp
from typing import TYPE_CHECKING

from resilience.balancing.sampling import Sample
from resilience.balancing.tiers import by_tier, search, weight_of
from resilience.core.errors import require
from resilience.core.outcome import Blame
from resilience.core.units import seconds as in_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from resilience.core.call import Call
    from resilience.core.endpoint import Endpoint
    from resilience.core.outcome import Verdict

# A server's Retry-After counts up to here, in seconds (linkerd's load biaser).
_LONGEST_RETRY_AFTER = 300.0
# More than elsewhere: estimates differ enough that clients do not all run to the same endpoint. In simulation, of ten
# unequal replicas all looked at by 50 clients, the 99th percentile is a half of that with two choices; of ten replicas
# with three refusing, two choices meet two of those in one call of 15.
_SCAN_UP_TO = 16


class Estimate:
    """What is known of one endpoint's latency. Written without a lock: a lost update costs one sample's worth of truth.

    No lock, because an attempt may be settled by the garbage collector, at any line of any thread.
    """

    __slots__ = ("cost", "silent_since", "stamp", "waiting")

    def __init__(self) -> None:
        self.cost = -1.0
        """Seconds, as of `stamp`; below 0 before the first sample."""
        self.stamp = 0.0
        self.waiting = False
        """Has a call been handed out since the last answer?"""
        self.silent_since = 0.0
        """When the first of those was handed out."""

    def at(self, now: float, decay: float) -> float:
        """Return the decayed estimate: without new samples it falls, so that every endpoint is tried again some day."""
        age = now - self.stamp
        return self.cost * exp(-age / decay) if age > 0 else self.cost

    def add(self, cost: float, now: float, decay: float) -> None:
        """Let one sample in: a peak at once, anything lower by how long ago the last one was."""
        known = self.cost
        age = max(0.0, now - self.stamp)
        kept = exp(-age / decay)
        self.cost = cost if cost >= known else cost * (1 - kept) + known * kept
        self.stamp = max(self.stamp, now)

    def raise_to(self, cost: float, now: float, decay: float) -> None:
        """Let in a sample that may raise the estimate, and cannot lower it faster than time does."""
        known = self.at(now, decay)
        if cost > known:
            self.cost = cost
            self.stamp = max(self.stamp, now)


class PeakEwma:
    """Choose the lowest expected wait: of two by chance, of all when there are 16 or fewer; lower tiers first.

    `decay`: seconds in which an estimate loses 63 % of its surplus; `penalty`: seconds a failure costs at least, or its
    Retry-After (up to 300 s) when that is longer; `default_latency`: seconds assumed of an endpoint whose first answer
    is still out. All above 0; defaults are linkerd's. Raises ConfigurationError. `draw` returns numbers in [0, 1).
    """

    __slots__ = ("_draw", "_estimates", "_tiers", "decay", "default_latency", "penalty")

    def __init__(
        self,
        decay: float | timedelta = 10.0,
        penalty: float | timedelta = 5.0,
        default_latency: float | timedelta = 0.03,
        *,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.decay = in_seconds("decay", decay)
        self.penalty = in_seconds("penalty", penalty)
        self.default_latency = in_seconds("default_latency", default_latency)
        require("draw", draw, "a function that returns numbers in [0, 1)", callable)
        self._draw = draw
        self._tiers: tuple[Sample, ...] = ()
        self._estimates: dict[Endpoint, Estimate] = {}

    def __repr__(self) -> str:
        return f"PeakEwma(decay={self.decay:g}, penalty={self.penalty:g}, default_latency={self.default_latency:g})"

    def fresh(self, *, draw: Callable[[], float] | None = None) -> PeakEwma:
        """Return a new balancer of the same options, without any endpoints."""
        return PeakEwma(self.decay, self.penalty, self.default_latency, draw=draw or self._draw)

    def update(self, endpoints: Sequence[Endpoint], /) -> None:
        """Take over a new set of endpoints; the estimates of those that stay are kept."""
        known = self._estimates
        # Estimates first: a pick that is under way finds those of the endpoints it sees, or does without.
        self._estimates = {endpoint: known.get(endpoint) or Estimate() for endpoint in endpoints}
        self._tiers = tuple(Sample(members, scan_up_to=_SCAN_UP_TO) for members in by_tier(endpoints))

    def pick(self, call: Call, usable: Callable[[Endpoint], bool], /) -> Endpoint | None:
        """Return a usable endpoint, one the call has tried only for want of another; None when none is usable."""
        # The start of the call stands for now: near enough against a decay of seconds, and no clock is read.
        tried, draw, now = call.tried, self._draw, call.started
        chosen = search(self._tiers, tried, lambda tier: tier.cheapest(tried, usable, draw, self._price, now))
        if chosen is None:
            return None
        estimate = self._estimates.get(chosen)
        if estimate is not None:
            silent = estimate.waiting and chosen.slots.taken > 0
            # Silence longer than the penalty is no sign any more, and starts anew: by then what hangs has timed out,
            # and what streams goes on streaming.
            if not silent or now - estimate.silent_since >= self.penalty:
                estimate.waiting = True
                estimate.silent_since = now
        return chosen

    def observe(self, endpoint: Endpoint, seconds: float, verdict: Verdict, now: float, /) -> None:
        """Hear what became of one attempt, once each: `seconds` from send to headers, or to whatever ended it.

        A failure (BAD, or an answer that asks for a retry: 408, 425, 429) costs ``max(penalty, Retry-After, cost)``.
        UNKNOWN tells how long it had to wait at least: it can raise the estimate, never lower it.
        """
        estimate = self._estimates.get(endpoint)
        if estimate is None:
            return
        if verdict.blame is Blame.UNKNOWN:
            if estimate.cost >= 0 or seconds > self.default_latency:
                estimate.raise_to(seconds, now, self.decay)
            return
        estimate.waiting = False
        if verdict.blame is Blame.BAD or verdict.retry:
            asked = min(verdict.retry_after or 0.0, _LONGEST_RETRY_AFTER)
            estimate.raise_to(max(self.penalty, asked, seconds), now, self.decay)
        else:
            estimate.add(seconds, now, self.decay)

    def _price(self, endpoint: Endpoint, now: float) -> float:
        # In one piece, because a pick asks up to 16 times.
        estimate = self._estimates.get(endpoint)
        taken = endpoint.slots.taken
        if estimate is None:
            cost = self.default_latency
        else:
            cost = estimate.cost
            if cost >= 0 and (age := now - estimate.stamp) > 0:
                cost *= exp(-age / self.decay)
            if taken and estimate.waiting and (silence := now - estimate.silent_since) < self.penalty:
                cost = max(self.default_latency if cost < 0 else cost, silence)
            elif cost < 0:
                return 0.0
        return cost * (taken + 1) / weight_of(endpoint)
