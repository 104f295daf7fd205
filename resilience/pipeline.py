"""Compose policies into one: the first is outermost, as in the reading order of the source."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from resilience.core.errors import ConfigurationError
from resilience.core.outcome import Err
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.describing import describe, of_chaos
from resilience.policies.hedge import Hedge
from resilience.policies.policy import Policy
from resilience.policies.retry import Retry
from resilience.runtimes.entry import flat, link

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from resilience.core.call import Call
    from resilience.core.errors import CircuitOpenError
    from resilience.core.outcome import Ok
    from resilience.core.ports import Policy as PolicyPort
    from resilience.core.ports import Proceed
    from resilience.policies.describing import PipelineDescription

P = ParamSpec("P")
T = TypeVar("T")


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

    __slots__ = ("_outermost", "policies")

    def __init__(self, *policies: PolicyPort) -> None:
        for policy in policies:
            if not callable(getattr(policy, "around", None)) or isinstance(policy, type):
                argument, expected = "policies", "policies: objects with `async def around(self, call, proceed)`"
                raise ConfigurationError(argument, policy, expected)
        self.policies = _sharing(policies)
        outermost = next(iter(flat(self)), None)
        self._outermost = outermost if isinstance(outermost, CircuitBreaker) else None
        for warning in of_chaos(self._parts()):
            warnings.warn(warning, UserWarning, stacklevel=2)

    def __repr__(self) -> str:
        return f"Pipeline({', '.join(map(repr, self.policies))})"

    async def around(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Send the call through every policy in turn."""
        return await self.chain(proceed)(call)

    def outcome(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Ok[T] | Err:
        """Call a plain function through all policies and return what becomes of it; see :meth:`Policy.outcome`."""
        refused = self._refusal(fn)
        return super().outcome(fn, *args, **kwargs) if refused is None else Err(refused)

    async def aoutcome(
        self, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Ok[T] | Err:
        """Call a coroutine function through all policies and return what becomes of it; see `outcome`."""
        refused = self._refusal(fn)
        return await super().aoutcome(fn, *args, **kwargs) if refused is None else Err(refused)

    def _refusal(self, fn: Callable[..., Any]) -> CircuitOpenError | None:
        # A circuit that is outermost, and open, refuses without a call being made.
        outermost = self._outermost
        return None if outermost is None else outermost.refusal(fn)

    def describe(self) -> PipelineDescription:
        """Return the policies in their order, each with the reason for its place, and every doubt about them."""
        return describe(self._parts())

    def _parts(self) -> tuple[PolicyPort, ...]:
        # Of somebody's own kind of pipeline too, which is one policy to those around it: it may filter by itself.
        return tuple(part for policy in self.policies for part in flat(policy))

    def chain(self, innermost: Proceed, /) -> Proceed:
        """Return the composed chain down to `innermost`."""
        return compose(self.policies, innermost)


def _sharing(policies: tuple[PolicyPort, ...]) -> tuple[PolicyPort, ...]:
    budget = next((policy.state for policy in policies if isinstance(policy, Retry) and policy.state is not None), None)
    if budget is None:
        return policies
    return tuple(policy.sharing(budget) if isinstance(policy, Hedge) else policy for policy in policies)
