"""An outage of the whole service: every endpoint refuses, and some circuit is open.

The back-off of a circuit is for one sick endpoint among well ones, where its share is served by the others. When there
are no others it only delays the end of the outage, by as long as the longest wait (60 s). So while nothing can be
called, one circuit after the other that has been open for its `open_for` lets a call through, and when one of them
closes, the rest need not wait any longer either.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from resilience.core.endpoint import Endpoint

# Seconds between two calls let through so, and up to half as many more: a third of what a retry budget grants at least.
APART = 1.0


class Outage:
    """Whose circuit relents next. `now` comes in as an argument, and `draw` as a number in [0, 1)."""

    def __init__(self) -> None:
        self.over = False
        """A circuit has closed since: those that are still open for their back-off may be probed."""
        self._lock = threading.Lock()
        self._on = False
        self._next = -math.inf
        self._turn = 0

    def relent(self, endpoints: Sequence[Endpoint], now: float, draw: float) -> tuple[Endpoint, Sequence[Any]] | None:
        """Have one circuit let a probe in, and return its endpoint and the changes; None when it is not yet time."""
        with self._lock:
            if now < self._next:
                return None
            for offset in range(len(endpoints)):
                endpoint = endpoints[(self._turn + offset) % len(endpoints)]
                changes = _invited(endpoint, now, "no endpoint of its service can be called")
                if changes:
                    self._on = True
                    self._turn += offset + 1
                    self._next = now + APART * (1.0 + 0.5 * draw)
                    return endpoint, changes
        return None

    def closed(self) -> None:
        """Note that a circuit has closed."""
        if self._on:
            self._on, self.over = False, True

    def rest(self, endpoints: Sequence[Endpoint], now: float) -> Iterator[tuple[Endpoint, Sequence[Any]]]:
        """Have all circuits that are open beyond their `open_for` let a probe in, now that one has closed."""
        self.over = False
        for endpoint in endpoints:
            changes = _invited(endpoint, now, "another endpoint of its service answers again")
            if changes:
                yield endpoint, changes

    def seconds(self, endpoints: Sequence[Endpoint], now: float) -> float:
        """Return the seconds until a circuit relents; infinite when none is open."""
        open_now = (it.circuit for it in endpoints if it.fit and it.circuit is not None and it.circuit.state == "open")
        return max(0.0, self._next - now, min((it.relents_at for it in open_now), default=math.inf) - now)


def _invited(endpoint: Endpoint, now: float, reason: str) -> Sequence[Any]:
    circuit = endpoint.circuit
    if circuit is None or not endpoint.fit or now < circuit.relents_at:
        return ()
    return circuit.invite(now, reason)
