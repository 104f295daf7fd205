"""Tiers: which endpoints are asked before which, whatever the way of choosing among equals."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from resilience.core.endpoint import Endpoint

T = TypeVar("T")

# Stands in for a weight that is not above 0, so that nothing divides by zero and the endpoint is all but unused.
_LEAST_WEIGHT = 1e-6
_tier_of = attrgetter("tier")


def weight_of(endpoint: Endpoint, /) -> float:
    """Return the endpoint's weight, or next to nothing when it is not above 0."""
    return endpoint.weight if endpoint.weight > 0 else _LEAST_WEIGHT


def by_tier(endpoints: Sequence[Endpoint], /) -> list[list[Endpoint]]:
    """Return the endpoints of each tier, lowest first, in the order given and each once."""
    known = list(dict.fromkeys(endpoints))
    if len(set(map(_tier_of, known))) > 1:
        return [list(members) for _, members in groupby(sorted(known, key=_tier_of), key=_tier_of)]
    return [known] if known else []


def search(
    tiers: Iterable[T],
    tried: tuple[Endpoint, ...],
    choose: Callable[[T], Endpoint | None],
    found: Endpoint | None = None,
) -> Endpoint | None:
    """Return the first untried endpoint that `choose` finds, tier after tier, or the first tried one, or None.

    An untried endpoint of a higher tier goes before a tried one of a lower tier: a repeated call changes the place
    first. `found` is what the tiers before these have yielded.
    """
    for tier in tiers:
        if found is not None and found not in tried:
            break
        chosen = choose(tier)
        if found is None or (chosen is not None and chosen not in tried):
            found = chosen
    return found
