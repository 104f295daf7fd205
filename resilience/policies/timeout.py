"""At most so long, whatever is inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resilience.core.errors import DeadlineExceededError
from resilience.core.units import seconds as in_seconds
from resilience.policies.policy import Policy

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
        now = call.runtime.now()
        outer = call.deadline
        call.deadline = deadline = min(outer, now + limit)
        try:
            return await call.runtime.limit(deadline - now, lambda: proceed(call))
        except TimeoutError as error:
            if isinstance(error, DeadlineExceededError) or call.runtime.now() < deadline or error.args:
                raise
            message = f"{call.operation or 'the call'} took longer than its {deadline - now:.3g} s"
            raise DeadlineExceededError(message, service=call.operation or None, causes=(error,)) from None
        finally:
            call.deadline = outer
