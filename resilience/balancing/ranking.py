"""Every endpoint's rank for a key: highest random weight, and how much one may carry."""

from __future__ import annotations

import math
from hashlib import blake2b
from heapq import nlargest
from typing import TYPE_CHECKING

from resilience.balancing.tiers import weight_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from resilience.core.endpoint import Endpoint

# How many of a key's endpoints are remembered, and for how many keys: ranking anew takes a microsecond an endpoint.
_RANKED = 4
_KEYS = 4096


class Ranking:
    """One tier, ranked for each key by address and weight alone, so that every process comes to the same order."""

    __slots__ = ("_remembered", "members")

    def __init__(self, members: Sequence[Endpoint]) -> None:
        self.members = tuple(members)
        self._remembered: dict[str, list[Endpoint]] = {}

    def best(
        self, key: str, tried: tuple[Endpoint, ...], usable: Callable[[Endpoint], bool], bound: float
    ) -> Endpoint | None:
        """Return the first in the key's order that is usable, untried and below the bound; or nearly; or None."""
        capacity: float | None = None
        crowded: Endpoint | None = None
        again: Endpoint | None = None
        for endpoint in self._ranked(key):
            if not usable(endpoint):
                continue
            if endpoint in tried:
                again = again or endpoint
                continue
            taken = endpoint.slots.taken
            if not taken or bound == math.inf:  # the capacity is at least one: no need to add up
                return endpoint
            if capacity is None:
                capacity = self._capacity(usable, bound)
            if capacity == math.inf or taken < math.ceil(capacity * weight_of(endpoint)):
                return endpoint
            crowded = crowded or endpoint
        return crowded or again

    def _capacity(self, usable: Callable[[Endpoint], bool], bound: float) -> float:
        """Return how many calls one unit of weight may carry: `bound` times the average, the new call counted."""
        there = [endpoint for endpoint in self.members if usable(endpoint)]
        weights = sum(map(weight_of, there))
        # Another thread may have changed what is usable since the caller looked.
        return bound * (sum(endpoint.slots.taken for endpoint in there) + 1) / weights if weights else math.inf

    def _ranked(self, key: str) -> Iterator[Endpoint]:
        first = self._remembered.get(key)
        if first is None:
            if len(self._remembered) >= _KEYS:
                self._remembered = {}
            first = self._remembered[key] = self._rank(key, _RANKED)
        yield from first
        if len(first) < len(self.members):
            yield from self._rank(key, len(self.members))[len(first) :]

    def _rank(self, key: str, most: int) -> list[Endpoint]:
        seed = blake2b(key.encode(errors="surrogatepass"), digest_size=16).digest()

        def score(endpoint: Endpoint) -> float:
            number = int.from_bytes(blake2b(endpoint.label.encode(), digest_size=8, key=seed).digest())
            # 52 bits and a half: strictly between 0 and 1, so that the logarithm is below 0. −w/ln(u) is the largest
            # with probability w/Σw (weighted rendezvous hashing, as in Ceph's straw2 and the IETF's draft on HRW).
            return -weight_of(endpoint) / math.log(((number >> 12) + 0.5) * 2.0**-52)

        return nlargest(most, self.members, key=score)
