"""The room of a service with adaptive limits: it feeds them, and turns away where they say that there is no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resilience.balancing.room import Room
from resilience.core.errors import OverloadedError
from resilience.core.outcome import Blame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resilience.core.attempt import Attempt
    from resilience.core.call import RoutedCall
    from resilience.core.endpoint import Endpoint
    from resilience.core.outcome import Verdict


class LimitedRoom(Room):
    """A room whose endpoints each have a limit that moves with what is learnt of them.

    An endpoint at its limit is full like any other: the call goes to another one. When all that are left are full and
    limited below what they are allowed in any case, they are slower than they should be: a line of ours would add to
    that, so that nobody stands in it.
    """

    def _permitted(self, call: RoutedCall, endpoint: Endpoint, now: float) -> Attempt | None:
        attempt = super()._permitted(call, endpoint, now)
        if attempt is not None:
            attempt.in_flight = endpoint.slots.taken
        return attempt

    def _judge(self, attempt: Attempt, verdict: Verdict, now: float) -> None:
        super()._judge(attempt, verdict, now)
        adaptive = attempt.endpoint.adaptive
        # Whoever waits for a slot here should hear of it: to come in, or to be turned away.
        if (
            adaptive is not None
            and verdict.blame is not Blame.UNKNOWN
            and adaptive.learn(attempt, verdict, now)
            and self.line.waiters
        ):
            self.line.stir()

    def _line_for(self, wanted: Sequence[Endpoint]) -> None:
        for endpoint in wanted:
            adaptive, slots = endpoint.adaptive, endpoint.slots
            if adaptive is None or not adaptive.binds or slots.taken < slots.limit:
                return
        limits = ", ".join(f"{endpoint.slots.limit:g}" for endpoint in wanted[:5])
        more = f" and {len(wanted) - 5} more" if len(wanted) > 5 else ""  # noqa: PLR2004
        whose = f"its {len(wanted)} endpoints" if len(wanted) > 1 else "its endpoint"
        message = f"{self.service} is overloaded: {whose} can take no more than {limits} at once{more}"
        raise OverloadedError(message, service=self.service)
