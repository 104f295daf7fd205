"""Rendezvous hashing: each key keeps its endpoint, and loses it only when that one leaves or is overloaded."""

from __future__ import annotations

import math
import random
import sys
from typing import TYPE_CHECKING, Any

from resilience.balancing.ranking import Ranking
from resilience.balancing.round_robin import RoundRobin
from resilience.balancing.tiers import by_tier, search
from resilience.core.errors import ConfigurationError
from resilience.core.propagation import header_name
from resilience.runtimes.entry import is_async

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resilience.core.call import Call
    from resilience.core.endpoint import Endpoint


class Rendezvous:
    """Pin the calls of one key to one endpoint: the highest score of (key, address), in shares of the weights.

    Every client comes to the same choice, and when an endpoint leaves only its keys move (Thaler and Ravishankar 1998).
    The key is ``call.key``, or comes from the request: the value of a `header`, of a `cookie`, or what `key` returns
    for the request; at most one of the three. Calls without a key, or with an empty one, go round robin. No endpoint
    gets more than `bounded_load` times its share of what is in flight (from 1; ``math.inf`` for no bound): beyond it
    the key's next choice is taken (Mirrokni et al. 2016). Raises ConfigurationError. `draw` returns numbers in [0, 1).
    """

    __slots__ = ("_draw", "_keyless", "_tiers", "bounded_load", "cookie", "header", "key")

    def __init__(
        self,
        *,
        header: str | None = None,
        cookie: str | None = None,
        key: Callable[[Any], str | None] | None = None,
        bounded_load: float = 1.25,
        draw: Callable[[], float] = random.random,
    ) -> None:
        _check(header, cookie, key, bounded_load)
        self.header = header
        self.cookie = cookie
        self.key = key
        self.bounded_load = float(bounded_load)
        self._draw = draw
        self._keyless = RoundRobin(draw=draw)
        self._tiers: tuple[Ranking, ...] = ()

    def __repr__(self) -> str:
        sources = {"header": self.header, "cookie": self.cookie, "key": self.key}
        source = "".join(f"{name}={value!r}, " for name, value in sources.items() if value is not None)
        return f"Rendezvous({source}bounded_load={self.bounded_load:g})"

    def fresh(self, *, draw: Callable[[], float] | None = None) -> Rendezvous:
        """Return a new balancer of the same options, without any endpoints."""
        return Rendezvous(
            header=self.header,
            cookie=self.cookie,
            key=self.key,
            bounded_load=self.bounded_load,
            draw=draw or self._draw,
        )

    def update(self, endpoints: Sequence[Endpoint], /) -> None:
        """Take over a new set of endpoints; the keys of those that stay stay with them."""
        self._keyless.update(endpoints)
        self._tiers = tuple(Ranking(members) for members in by_tier(endpoints))

    def pick(self, call: Call, usable: Callable[[Endpoint], bool], /) -> Endpoint | None:
        """Return the key's usable endpoint, one the call has tried only for want of another; None without any."""
        key = self.key_of(call)
        if key is None:
            return self._keyless.pick(call, usable)
        tried, bound = call.tried, self.bounded_load
        return search(self._tiers, tried, lambda tier: tier.best(key, tried, usable, bound))

    def key_of(self, call: Call, /) -> str | None:
        """Return what the call is pinned by: its own key, else its request's; None for none or an empty one."""
        return call.key or self._key_in(call.request)

    def _key_in(self, request: Any) -> str | None:  # noqa: ANN401 - an httpx.Request, or whatever else has headers
        found: object = None
        if self.key is not None:
            found = self.key(request)
        elif (headers := getattr(request, "headers", None)) is not None:
            if self.header is not None:
                found = headers.get(self.header)
            elif self.cookie is not None:
                found = _cookie(headers.get("cookie"), self.cookie)
        # ``Cookie: sid=`` is what a client sends that has none: all of those are not one user.
        return None if found is None else str(found) or None


def _cookie(header: str | None, name: str) -> str | None:
    """Return a cookie's value (RFC 6265, section 4.2): pairs divided by semicolons, the first of the name counts."""
    for pair in (header or "").split(";"):
        found, _, value = pair.strip().partition("=")
        if found == name:
            return value.strip('"')
    return None


def _check(header: object, cookie: object, key: object, bounded_load: object) -> None:
    sources = {"header": header, "cookie": cookie, "key": key}
    given = [name for name, value in sources.items() if value is not None]
    if len(given) > 1:
        raise ConfigurationError(given[1], sources[given[1]], f"None, because {given[0]} is given: at most one of them")
    if header is not None:
        header_name("header", header)
    if cookie is not None and not (isinstance(cookie, str) and cookie.strip()):
        argument, expected = "cookie", "a name"
        raise ConfigurationError(argument, cookie, expected)
    if key is not None and (not callable(key) or is_async(key)):
        argument, expected = "key", "a plain function of the request that returns a string or None"
        raise ConfigurationError(argument, key, expected)
    # not (… >= 1) instead of … < 1: NaN is refused too.
    number = isinstance(bounded_load, int | float) and not isinstance(bounded_load, bool)
    if not number or not (1 <= bounded_load <= sys.float_info.max or bounded_load == math.inf):  # type: ignore[operator]  # a number by the line above
        argument, expected = "bounded_load", "a number from 1, or math.inf"
        raise ConfigurationError(argument, bounded_load, expected)
