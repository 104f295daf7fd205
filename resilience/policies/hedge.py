"""Ask a second time when the first answer is late, and take whichever comes first.

The decision is in ``race.py``; its sends are started, judged and ended in ``sends.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from resilience.core.errors import ConfigurationError
from resilience.core.units import seconds as in_seconds
from resilience.core.units import whole
from resilience.policies.budget import Budget, RetryBudget
from resilience.policies.latencies import Latencies, Quantile
from resilience.policies.policy import Policy
from resilience.policies.race import Race
from resilience.policies.sends import Sends

if TYPE_CHECKING:
    from datetime import timedelta

    from resilience.core.call import Call
    from resilience.core.ports import Proceed


@dataclass(frozen=True, slots=True)
class Hedge(Policy):
    """Send a repeatable call again when no answer has come after `after`, and take the first good one.

    `after`: seconds (above 0), or ``quantile(0.95, ceiling=1.0)`` for a delay that follows the latencies. `extra`:
    sends beyond the first (from 1; 1, Polly's). `budget`: the :class:`RetryBudget` the extra sends draw on; None is
    that of a :class:`Retry` in the same pipeline, the service's in a client, else one of its own; ``False`` none.

    A failure does not win: it lets the next send begin at once, unless repeating is no use. Losers are cancelled and
    not waited for; in threads, which nothing can stop, they run to their end and their answer is dropped. What is not
    repeatable is sent once, and so is a file: it has one position for all who read it. Every send runs in a copy of the
    caller's context. Raises ConfigurationError.
    """

    after: float | timedelta | Quantile = field(kw_only=True)
    extra: int = field(default=1, kw_only=True)
    budget: RetryBudget | bool | None = field(default=None, kw_only=True)
    state: Budget | None = field(init=False, repr=False, compare=False)
    shares: bool = field(default=False, init=False, repr=False, compare=False)
    """Somebody else's calls pay into the budget."""
    latencies: Latencies | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the arguments and take over their plain forms."""
        if isinstance(self.after, Quantile):
            object.__setattr__(self, "latencies", Latencies())
        else:
            object.__setattr__(self, "after", in_seconds("after", self.after))
            object.__setattr__(self, "latencies", None)
        whole("extra", self.extra)
        if self.budget is None:
            object.__setattr__(self, "state", RetryBudget().state)
        elif isinstance(self.budget, RetryBudget):
            object.__setattr__(self, "state", self.budget.state)
        elif self.budget is False:
            object.__setattr__(self, "state", None)
        else:
            argument, expected = "budget", "a RetryBudget, None for a shared one or one of its own, or False for none"
            raise ConfigurationError(argument, self.budget, expected)

    def sharing(self, budget: Budget | None, *, paid: bool = True) -> Hedge:
        """Return the same policy drawing on this balance, which others pay into if `paid`; one of its own stays."""
        if self.budget is not None and self.state is not budget:
            return self
        shared = replace(self)
        object.__setattr__(shared, "state", budget)
        object.__setattr__(shared, "shares", paid)
        return shared

    def delay(self, now: float, /) -> float:
        """Return the seconds that a send gets before the next one begins."""
        if isinstance(self.after, Quantile) and self.latencies is not None:
            return self.latencies.delay(self.after, now)
        return self.after  # type: ignore[return-value]  # a float since __post_init__

    async def around(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Send the call on, and once more beside it when that is late."""
        if self.state is not None and not self.shares:
            self.state.deposit(call.started)
        if not call.repeatable or call.sends_left < 1 or not call.shareable:
            return await proceed(call)
        race = Race(after=self.delay(call.started), most=1 + self.extra)
        return await Sends(call, proceed, race, self.state, self.latencies).winner()
