"""What tests of balancers share: endpoints by weight, calls that have tried some, and a settled random number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resilience.core.call import Call
from resilience.core.endpoint import Address, Endpoint
from resilience.runtimes.virtual import VirtualRuntime

if TYPE_CHECKING:
    from collections.abc import Iterable

    from resilience.core.ports import Balancer


class Trying(Call):
    """A call that has tried these endpoints, pinned by a key."""

    __slots__ = ("key", "tried")

    def __init__(
        self, tried: Iterable[Endpoint] = (), *, at: float = 0.0, key: str | None = None, request: Any = None
    ) -> None:
        super().__init__(VirtualRuntime(), request, at)
        self.tried = tuple(tried)
        self.key = key


def endpoints(*weights: float, tier: int = 0, first: int = 1) -> list[Endpoint]:
    return [Endpoint(Address(f"10.0.{tier}.{n}", 80), weight=w, tier=tier) for n, w in enumerate(weights, first)]


def fit(endpoint: Endpoint) -> bool:
    return endpoint.fit


def picks(balancer: Balancer, times: int, tried: Iterable[Endpoint] = ()) -> list[Endpoint | None]:
    call = Trying(tried)
    return [balancer.pick(call, fit) for _ in range(times)]
