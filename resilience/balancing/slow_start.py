"""Slow start: an endpoint that has just come, or come back, gets its share of the calls little by little.

Decided at the door, not in the balancer: a newcomer whose turn it is, or who is the cheapest, is passed over by chance
more often than not at first, ever less. So it works with every balancer, each endpoint has a clock of its own, and
nothing is rebuilt while it runs (Envoy's schedulers were, and shares broke on churn: its issues 11050, 26290, 29008).
A weight would not do: the newcomer has nothing in flight, and nothing divided by any weight is still the least.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resilience.balancing.wrapping import Wrapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from resilience.core.call import Call
    from resilience.core.endpoint import Endpoint
    from resilience.core.ports import Balancer

LEAST = 0.1
"""Share of its weight that an endpoint gets at the very first (Envoy's minimum of 10 %)."""


class SlowStart:
    """Who is still warming up. `over`: seconds until an endpoint gets its full share, above 0."""

    __slots__ = ("_since", "draw", "over")

    def __init__(self, over: float, draw: Callable[[], float]) -> None:
        self.over = over
        self.draw = draw
        self._since: dict[Endpoint, float] = {}

    def __bool__(self) -> bool:
        """Tell whether anybody may be warming up."""
        return bool(self._since)

    def began(self, endpoint: Endpoint, now: float, /) -> None:
        """Start an endpoint's clock, or start it anew."""
        self._since[endpoint] = now

    def keep(self, endpoints: Iterable[Endpoint], /) -> None:
        """Forget all others."""
        there = frozenset(endpoints)
        self._since = {endpoint: since for endpoint, since in list(self._since.items()) if endpoint in there}

    def share(self, endpoint: Endpoint, now: float, /) -> float:
        """Return the share of its weight that an endpoint gets now: ``max(0.1, t/T)``, up to 1."""
        since = self._since.get(endpoint)
        if since is None:
            return 1.0
        share = (now - since) / self.over
        if share >= 1.0:
            self._since.pop(endpoint, None)
            return 1.0
        return max(LEAST, share)


class Eased(Wrapping):
    """A balancer whose newcomers are eased in; they share one tier."""

    def __init__(self, inner: Balancer, slow_start: SlowStart) -> None:
        super().__init__(inner)
        self._slow_start = slow_start

    def fresh(self) -> Eased:
        """Return a new one that shares the clocks."""
        return Eased(self.inner.fresh(), self._slow_start)  # type: ignore[attr-defined]  # checked by whoever asks

    def pick(self, call: Call, usable: Callable[[Endpoint], bool], /) -> Endpoint | None:
        """Choose with every newcomer in its share; none is passed over where all others are tried or unusable."""
        slow_start = self._slow_start
        if not slow_start:
            return self.inner.pick(call, usable)
        # One number for all: a balancer may ask twice, and is told the same.
        number, now = slow_start.draw(), call.started

        def admitted(endpoint: Endpoint) -> bool:
            return number < slow_start.share(endpoint, now) and usable(endpoint)

        found = self.inner.pick(call, admitted)
        return self.inner.pick(call, usable) if found is None or found in call.tried else found
