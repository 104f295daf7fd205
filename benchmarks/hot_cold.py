"""Prequal's rule (NSDI '24), as far as a client alone can follow it: an experiment for `balancing_lab.py`.

Prequal's servers tell what they have in flight; here that is what this client has there. Endpoints with more in flight
than the 0.84 quantile are hot; of the others, the cold ones, the fastest is chosen.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resilience.core.call import Call
    from resilience.core.endpoint import Endpoint

# Prequal's Q_RIF, 2^-0.25.
QUANTILE = 2**-0.25
# How many are looked at: Prequal's pool of probes.
POOL = 16


class HotCold:
    """Choose the fastest of those that are not hot."""

    def __init__(self, *, draw: Callable[[], float] = random.random) -> None:
        self._random = random.Random(draw())
        self._endpoints: tuple[Endpoint, ...] = ()

    def fresh(self, *, draw: Callable[[], float] | None = None) -> HotCold:
        """Return a new one, without any endpoints."""
        return HotCold(draw=draw or random.random)

    def update(self, endpoints: Sequence[Endpoint], /) -> None:
        """Take over a new set of endpoints."""
        self._endpoints = tuple(endpoints)

    def pick(self, call: Call, usable: Callable[[Endpoint], bool], /) -> Endpoint | None:
        """Return a usable endpoint, one the call has tried only for want of another; None when none is usable."""
        ready = [endpoint for endpoint in self._endpoints if usable(endpoint)]
        ready = [endpoint for endpoint in ready if endpoint not in call.tried] or ready
        if len(ready) > POOL:
            ready = self._random.sample(ready, POOL)
        if not ready:
            return None
        self._random.shuffle(ready)  # among equals by chance
        in_flight = sorted(endpoint.slots.taken for endpoint in ready)
        limit = in_flight[min(len(ready) - 1, int(QUANTILE * len(ready)))]
        cold = [endpoint for endpoint in ready if endpoint.slots.taken <= limit]
        # The least loaded is never above a quantile of the same numbers: with own counts somebody is always cold.
        return min(cold, key=lambda endpoint: endpoint.latency or 0.0)
