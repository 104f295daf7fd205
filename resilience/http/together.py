"""What the pools of all endpoints may hold together: ``limits=`` of httpx counts over the whole client."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resilience.core.slots import Slots
    from resilience.http.options import PoolOptions
    from resilience.http.pool_async import AsyncPool
    from resilience.http.pool_blocking import BlockingPool


class Together:
    """Counts over all pools of one transport; costs nothing when `limits=` was not given."""

    def __init__(self, options: PoolOptions, total: Slots | None) -> None:
        self._max_idle = options.max_idle
        self._total = total
        self._pools: list[BlockingPool | AsyncPool] = []

    def join(self, pool: BlockingPool | AsyncPool) -> None:
        """Count one more pool."""
        self._pools.append(pool)

    def leave(self, pool: BlockingPool | AsyncPool) -> None:
        """Count it no more."""
        if pool in self._pools:
            self._pools.remove(pool)

    def idle(self) -> int:
        """Return how many connections are idle in all."""
        return sum(pool.idle_count() for pool in list(self._pools))

    def full(self) -> bool:
        """Tell whether as many are idle as may be."""
        return self._max_idle != math.inf and self.idle() >= self._max_idle

    def spare(self) -> Any | None:  # noqa: ANN401 - a connection of whichever kind
        """Return an idle connection that has to be closed before another may be opened, or None.

        Whoever opens one holds a slot already; so beyond the limit there is always one that is idle.
        """
        total = self._total
        if total is None or self.idle() + total.taken <= total.limit:
            return None
        for pool in list(self._pools):
            connection = pool.oldest()
            if connection is not None:
                return connection
        return None
