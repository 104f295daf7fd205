"""Panic: with too few endpoints left that are well, those would not carry the load; so nobody is left out any more.

Health checks and ejection judge from afar, and when they condemn the many it is likelier that the check is wrong, or
that what all depend on is down, than that each is broken by itself. Envoy's threshold and Finagle's are a half. A
circuit knows from calls of its own, and who drains wants no calls: neither is overruled. Pure; it never waits.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from resilience.core.endpoint import Endpoint


class Panic:
    """Marks the endpoints of a service while fewer than the share `below` of them are well.

    `below`: from 0 (never) to 1. A single endpoint never panics: there are no others that its load would fall upon.
    Tell `update` of each new set and `changed` of each endpoint whose health or ejection has changed; both return
    whether the panic begins (True), ends (False) or stays as it is (None).
    """

    def __init__(self, below: float) -> None:
        self.below = below
        self.on = False
        self.total = 0
        self._sick: set[Endpoint] = set()
        self._members: frozenset[Endpoint] = frozenset()
        self._lock = threading.Lock()

    @property
    def well(self) -> int:
        """How many endpoints are healthy and not ejected."""
        return self.total - len(self._sick)

    def update(self, endpoints: Iterable[Endpoint], /) -> bool | None:
        """Take over a new set; who leaves is in no panic any more."""
        with self._lock:
            before, self._members = self._members, frozenset(endpoints)
            self.total = len(self._members)
            joined = self._members - before
            self._sick = (self._sick & self._members) | {endpoint for endpoint in joined if not endpoint.well}
            was_on, change = self.on, self._decide_locked()
            for endpoint in before - self._members if was_on else ():
                endpoint.mark(panic=False)
            # Of ten thousand that stay none is touched for the sake of one that comes.
            for endpoint in joined if change is None else self._members:
                if endpoint.panic is not self.on:
                    endpoint.mark(panic=self.on)
            return change

    def changed(self, endpoint: Endpoint, /) -> bool | None:
        """Look at one endpoint again."""
        with self._lock:
            if endpoint not in self._members:
                return None
            (self._sick.discard if endpoint.well else self._sick.add)(endpoint)
            change = self._decide_locked()
            if change is not None:
                for member in self._members:
                    member.mark(panic=change)
            return change

    def _decide_locked(self) -> bool | None:
        on = self.total > 1 and self.well < self.below * self.total
        if on is self.on:
            return None
        self.on = on
        return on
