"""What a pipeline does, in words: each policy, why it stands where it stands, and what is doubtful about the order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from resilience.policies.adaptive import AdaptiveLimit
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.chaos import Chaos
from resilience.policies.fallback import Fallback
from resilience.policies.guard import Guard
from resilience.policies.hedge import Hedge
from resilience.policies.keyed import KeyedCircuitBreaker
from resilience.policies.rate_limit import RateLimit
from resilience.policies.retry import Retry
from resilience.policies.single_flight import SingleFlight
from resilience.policies.throttle import Throttle
from resilience.policies.timeout import Timeout
from resilience.runtimes.entry import OWN, flat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from resilience.core.ports import Policy

_CIRCUITS = (CircuitBreaker, KeyedCircuitBreaker)

# Why each has its place: the order that all libraries agree on, as far as they do (retry outside circuit, attempt
# timeout innermost), and what follows from what each of them looks at.
_REASONS: tuple[tuple[type | tuple[type, ...], str, str], ...] = (
    (Fallback, "fallback", "outermost: it answers when everything inside it has failed"),
    (SingleFlight, "single flight", "outside whatever costs: calls that are equal share it"),
    (Retry, "retry", "outside what fails: every attempt passes anew through all that stands inside"),
    (Hedge, "hedge", "inside retry, which counts its sends; each send passes through all that stands inside"),
    (_CIRCUITS, "circuit", "inside retry: it counts attempts, and stops them when they are of no use"),
    (Throttle, "throttle", "inside retry: attempts are what the backend has to refuse"),
    (RateLimit, "rate limit", "inside retry: attempts are what was agreed on"),
    (AdaptiveLimit, "adaptive limit", "inside retry and circuit: it holds a place for what is really in flight"),
    (Bulkhead, "bulkhead", "inside retry and circuit: it holds a place for what is really in flight"),
    (Guard, "guard", "innermost: a bad answer is a failed attempt to all that stands outside"),
    (Chaos, "chaos", "innermost: everything else has to deal with it"),
)


@dataclass(frozen=True, slots=True)
class PolicyDescription:
    """One policy: the word for it, its options, and the reason for its place."""

    name: str
    options: str
    reason: str

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.name}: {self.options}" + (f" ({self.reason})" if self.reason else "")


@dataclass(frozen=True, slots=True)
class PipelineDescription:
    """The policies of a pipeline, outermost first, and every doubt about them."""

    policies: tuple[PolicyDescription, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        """Return it as text, to be printed."""
        lines = [f"{number}. {policy}" for number, policy in enumerate(self.policies, 1)]
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])


def describe(policies: Sequence[Policy], /) -> PipelineDescription:
    """Return the description of policies in their order, the outermost first."""
    met = tuple(_met(policies))
    described = tuple(_describe(met, place) for place in range(len(met)))
    return PipelineDescription(described, tuple(_doubts(met)))


def _met(policies: Sequence[Policy]) -> Iterator[Policy]:
    """Return the policies that a call meets: in place of a registry's pipeline those that go under its name now."""
    for policy in policies:
        # Told by its form: the registry is on a floor above.
        current = getattr(policy, "current", None) if type(policy).__module__.startswith(OWN) else None
        if not hasattr(current, "chain"):
            yield policy
        else:  # there is an end to it: a registry refuses one that leads back to itself
            yield from _met(flat(cast("Policy", current)))


def _describe(policies: Sequence[Policy], place: int) -> PolicyDescription:
    policy = policies[place]
    if isinstance(policy, Timeout):
        inside = any(isinstance(outer, Retry | Hedge) for outer in policies[:place])
        reason = "inside retry: one attempt" if inside else "outside the others: the whole call, every wait included"
        return PolicyDescription("timeout", repr(policy), reason)
    for kind, name, reason in _REASONS:
        if isinstance(policy, kind):
            return PolicyDescription(name, repr(policy), reason)
    return PolicyDescription(type(policy).__name__, repr(policy), "")


def _doubts(policies: Sequence[Policy]) -> Iterator[str]:
    yield from _of_retries(policies)
    yield from _of_hedges(policies)
    yield from _of_time(policies)
    yield from _of_order(policies)
    yield from of_chaos(policies)


def _of_retries(policies: Sequence[Policy]) -> Iterator[str]:
    retries = [policy for policy in policies if isinstance(policy, Retry)]
    if len(retries) > 1:
        product = 1
        for retry in retries:
            product *= retry.max_attempts
        factors = " × ".join(str(retry.max_attempts) for retry in retries)
        yield (
            f"retry around retry asks for {factors} = {product} sends; "
            f"the outer one allows {retries[0].max_attempts} in all: one retry is enough"
        )
    if any(retry.max_attempts > 1 and retry.state is None for retry in retries):
        yield "retry without a budget: a dead far side gets every call several times over"


def _of_hedges(policies: Sequence[Policy]) -> Iterator[str]:
    for hedge, inside in _found(policies, Hedge):
        if hedge.state is None:
            yield "hedge without a budget: a slow far side gets every call twice"
        if any(isinstance(policy, Retry) for policy in inside):
            yield "retry inside hedge: each of its sends retries by itself; put the retry outside"


def _of_time(policies: Sequence[Policy]) -> Iterator[str]:
    for total, inside in _found(policies, Timeout):
        whole = _seconds(total)
        for place, attempt in enumerate(inside):
            if not isinstance(attempt, Timeout):
                continue
            one = _seconds(attempt)
            sends = max((policy.max_attempts for policy in inside[:place] if isinstance(policy, Retry)), default=1)
            if one >= whole:
                yield f"the inner timeout of {one:g} s never acts: the outer {whole:g} s come first"
            elif sends * one > whole:
                yield f"{sends} attempts of {one:g} s do not fit into the outer {whole:g} s: the last are cut short"


def _of_order(policies: Sequence[Policy]) -> Iterator[str]:
    for place, policy in enumerate(policies):
        inside, outside = policies[place + 1 :], policies[:place]
        retried = any(isinstance(inner, Retry) for inner in inside)
        if retried and isinstance(policy, _CIRCUITS):
            yield "circuit outside retry: it sees a call once, after all attempts, and stops none; put it inside"
        if retried and isinstance(policy, RateLimit | Throttle):
            yield f"{_name(policy)} outside retry: it does not see the repeated attempts; put it inside"
        if retried and isinstance(policy, Bulkhead | AdaptiveLimit):
            yield f"{_name(policy)} outside retry: it holds a place through every wait between attempts; put it inside"
        if retried and isinstance(policy, Guard):
            yield "guard outside retry: a bad answer is not repeated; put it innermost"
        if isinstance(policy, Fallback) and any(isinstance(outer, (Retry, Hedge, *_CIRCUITS)) for outer in outside):
            yield "fallback inside retry, hedge or circuit: they never see a failure; put it outermost"
        if isinstance(policy, SingleFlight) and any(isinstance(outer, Hedge) for outer in outside):
            yield "single flight inside hedge: both sends share one call; put it outside"


def of_chaos(policies: Sequence[Policy], /) -> Iterator[str]:
    """Say whether failures on purpose are made where some policies do not see them."""
    for _, inside in _found(tuple(_met(policies)), Chaos):
        if not all(isinstance(policy, Chaos) for policy in inside):
            yield "chaos is not innermost: what stands inside it never has to deal with it"


def _found(policies: Sequence[Policy], kind: type[Any]) -> Iterator[tuple[Any, Sequence[Policy]]]:
    """Return each policy of a kind, with those that stand inside it."""
    return ((policy, policies[place + 1 :]) for place, policy in enumerate(policies) if isinstance(policy, kind))


def _seconds(timeout: Timeout) -> float:
    return timeout.seconds  # type: ignore[return-value]  # a float since it was checked


def _name(policy: Policy) -> str:
    return next(name for kind, name, _ in _REASONS if isinstance(policy, kind))
