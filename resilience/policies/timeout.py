"""At most so long, whatever is inside."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resilience.core.call import Ambient, ambient
from resilience.core.errors import DeadlineExceededError
from resilience.core.outcome import Sent
from resilience.core.units import seconds as in_seconds
from resilience.policies.policy import Policy
from resilience.runtimes.blocking import BlockingRuntime
from resilience.runtimes.entry import late, passed

if TYPE_CHECKING:
    from datetime import timedelta

    from resilience.core.call import Call
    from resilience.core.ports import Proceed


@dataclass(frozen=True, slots=True)
class Timeout(Policy):
    """Give the work inside at most `seconds` (above 0, finite), then raise :class:`DeadlineExceededError`.

    Async work is cancelled. Blocking work runs in a thread of its own and is left behind when the time is up, since
    nothing can stop a thread; retries inside it stop by themselves, because they see the deadline. A TimeoutError of
    the work's own passes through as it is.
    """

    seconds: float | timedelta

    def __post_init__(self) -> None:
        """Check the duration."""
        object.__setattr__(self, "seconds", in_seconds("seconds", self.seconds))

    async def around(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Run the call under the earlier of its deadline and this limit."""
        limit: float = self.seconds  # type: ignore[assignment]  # a float since __post_init__
        runtime, outer = call.runtime, call.deadline
        now = runtime.now()
        deadline = now + limit
        if outer < deadline:  # noqa: PLR1730 - min() is a call, on every guarded call's way
            deadline = outer
        if deadline <= now:
            raise passed(call.operation, Sent.NO)
        # Work that a thread leaves behind goes on with its own copy, whose deadline stays.
        inside = copy(call) if isinstance(runtime, BlockingRuntime) else call
        inside.deadline = deadline
        inside.left_behind = None  # of what is inside here
        sent = call.sent
        around = ambient.get()
        token = ambient.set(Ambient(deadline, None if around is None else around.runtime))
        try:
            return await runtime.limit(deadline - now, lambda: proceed(inside))
        except TimeoutError as error:
            if isinstance(error, DeadlineExceededError) or runtime.now() < deadline or error.args:
                raise
            message = f"{call.operation or 'the call'} took longer than its {deadline - now:.3g} s"
            if inside.left_behind is not None and inside is not call:
                inside.left_behind()
            raise late(inside, message, sent=sent) from None
        finally:
            ambient.reset(token)
            call.deadline = outer
            if inside is not call and runtime.now() < deadline:
                call.verdict, call.why, call.sends_left = inside.verdict, inside.why, inside.sends_left
                call.covered, call.stopped_for = inside.covered, inside.stopped_for
