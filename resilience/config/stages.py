"""The stages of a pipeline in a configuration file: policies by kind, in their order."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from resilience.config.parts import (
    CircuitPart,
    Count,
    GuardPart,
    HedgePart,
    LimitPart,
    RateLimitPart,
    RetryPart,
    ThrottlePart,
)
from resilience.config.values import Cause, Part, Seconds
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.fallback import Fallback
from resilience.policies.single_flight import SingleFlight
from resilience.policies.timeout import Timeout


class TimeoutStage(Part):
    """At most so long."""

    kind: Literal["timeout"]
    seconds: Seconds

    def make(self) -> Timeout:
        """Return the policy's own object."""
        return Timeout(self.seconds)


class RetryStage(RetryPart):
    """Try again."""

    kind: Literal["retry"]


class CircuitStage(CircuitPart):
    """Send nothing for a while when too much fails."""

    kind: Literal["circuit"]


class HedgeStage(HedgePart):
    """Send a second time what is late."""

    kind: Literal["hedge"]


class GuardStage(GuardPart):
    """Refuse bad answers."""

    kind: Literal["guard"]


class BulkheadStage(Part):
    """At most so many inside."""

    kind: Literal["bulkhead"]
    limit: Count
    queue: Annotated[int, Field(ge=0)] | None = None
    lifo_after: Seconds | None = None

    def make(self) -> Bulkhead:
        """Return the policy's own object."""
        return Bulkhead(**self.given())


class RateLimitStage(RateLimitPart):
    """At most so many a second."""

    kind: Literal["rate_limit"]


class ThrottleStage(ThrottlePart):
    """Hold back what would be refused anyway."""

    kind: Literal["throttle"]


class AdaptiveLimitStage(LimitPart):
    """At most so many inside as the far side can take."""

    kind: Literal["adaptive_limit"]


class FallbackStage(Part):
    """Answer in the place of a call that failed."""

    kind: Literal["fallback"]
    value: Any = None
    last_good: Seconds | None = None
    on: Cause | list[Cause] | None = None

    def make(self) -> Fallback:
        """Return the policy's own object."""
        return Fallback(**self.given())


class SingleFlightStage(Part):
    """Ask once for all that ask for the same."""

    kind: Literal["single_flight"]

    def make(self) -> SingleFlight:
        """Return the policy's own object."""
        return SingleFlight()
