"""Compose policies into one: the first is outermost, as in the reading order of the source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resilience.core.errors import ConfigurationError
from resilience.policies.hedge import Hedge
from resilience.policies.policy import Policy
from resilience.policies.retry import Retry
from resilience.runtimes.entry import link

if TYPE_CHECKING:
    from resilience.core.call import Call
    from resilience.core.ports import Policy as PolicyPort
    from resilience.core.ports import Proceed


def compose(policies: tuple[PolicyPort, ...], innermost: Proceed, /) -> Proceed:
    """Return the chain that sends a call through `policies`, outermost first, to `innermost`."""
    chain = innermost
    for policy in reversed(policies):
        chain = link(policy, chain)
    return chain


class Pipeline(Policy):
    """Several policies as one, outermost first. Itself a policy: it decorates, calls, and can be part of another.

    A :class:`Hedge` without a budget of its own draws on that of the :class:`Retry` beside it.

    Raises ConfigurationError for what has no `around`.
    """

    __slots__ = ("policies",)

    def __init__(self, *policies: PolicyPort) -> None:
        for policy in policies:
            if not callable(getattr(policy, "around", None)) or isinstance(policy, type):
                argument, expected = "policies", "policies: objects with `async def around(self, call, proceed)`"
                raise ConfigurationError(argument, policy, expected)
        self.policies = _sharing(policies)

    def __repr__(self) -> str:
        return f"Pipeline({', '.join(map(repr, self.policies))})"

    async def around(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Send the call through every policy in turn."""
        return await self.chain(proceed)(call)

    def chain(self, innermost: Proceed, /) -> Proceed:
        """Return the composed chain down to `innermost`."""
        return compose(self.policies, innermost)


def _sharing(policies: tuple[PolicyPort, ...]) -> tuple[PolicyPort, ...]:
    budget = next((policy.state for policy in policies if isinstance(policy, Retry) and policy.state is not None), None)
    if budget is None:
        return policies
    return tuple(policy.sharing(budget) if isinstance(policy, Hedge) else policy for policy in policies)
