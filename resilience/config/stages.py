"""The stages of a pipeline in a configuration file: policies by kind, in their order."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

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
from resilience.config.values import Cause, EndlessSeconds, ObjectPart, Seconds
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.fallback import Fallback
from resilience.policies.single_flight import SingleFlight
from resilience.policies.timeout import Timeout


class TimeoutStage(ObjectPart):
    """At most so long."""

    makes = Timeout

    kind: Literal["timeout"]
    seconds: Seconds


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


class BulkheadStage(ObjectPart):
    """At most so many inside."""

    makes = Bulkhead

    kind: Literal["bulkhead"]
    limit: Count
    queue: Annotated[int, Field(ge=0)] | None = None
    lifo_after: Seconds | None = None


class RateLimitStage(RateLimitPart):
    """At most so many a second."""

    kind: Literal["rate_limit"]


class ThrottleStage(ThrottlePart):
    """Hold back what would be refused anyway."""

    kind: Literal["throttle"]


class AdaptiveLimitStage(LimitPart):
    """At most so many inside as the far side can take."""

    kind: Literal["adaptive_limit"]


class FallbackStage(ObjectPart):
    """Answer in the place of a call that failed."""

    makes = Fallback
    nulls: ClassVar = frozenset({"value"})

    kind: Literal["fallback"]
    value: Any = None
    last_good: EndlessSeconds | None = None
    on: Cause | list[Cause] | None = None


class SingleFlightStage(ObjectPart):
    """Ask once for all that ask for the same."""

    makes = SingleFlight

    kind: Literal["single_flight"]
