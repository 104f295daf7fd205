"""Discovery as httpx would do it, until the name is known to stand for a fleet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resilience.core.endpoint import Address
from resilience.core.resolution import Replica, Resolution

if TYPE_CHECKING:
    from resilience.core.resolution import Target


@dataclass(frozen=True, slots=True)
class Auto:
    """One origin, dialled through the system's resolver."""

    def immediate(self, target: Target, /) -> Resolution:
        """Return the name itself: the dial resolves it."""
        return Resolution((Replica(Address(target.host, target.port)),), math.inf, "system", fleet=False, why="one origin")

    async def resolve(self, target: Target, /, *, deadline: float) -> Resolution:
        """Return the name itself: the dial resolves it."""
        del deadline
        return self.immediate(target)
