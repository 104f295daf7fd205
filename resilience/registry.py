"""Named pipelines whose policies can be replaced while functions go on using them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from resilience.core.errors import ConfigurationError, require
from resilience.pipeline import Pipeline
from resilience.policies.policy import Policy
from resilience.policies.successions import Balances, policies_after
from resilience.runtimes.blocking import BLOCKING
from resilience.runtimes.entry import flat
from resilience.runtimes.stand_in import here

if TYPE_CHECKING:
    from resilience.core.call import Call
    from resilience.core.ports import Policy as PolicyPort
    from resilience.core.ports import Proceed

_MOST = 64
"""Linked chains that are kept for one pipeline: one for each place where it is used inside another."""


class NamedPipeline(Policy):
    """A pipeline of a :class:`Registry`: whatever goes under its name when a call begins. A policy like any other."""

    __slots__ = ("_chains", "current", "name")

    def __init__(self, name: str, current: Pipeline) -> None:
        _name(name, "name")
        require("current", current, "a Pipeline", lambda it: isinstance(it, Pipeline))
        self.name = name
        self.current = current
        """What goes under the name now."""
        self._chains: dict[Proceed, tuple[Pipeline, Proceed]] = {}

    def __repr__(self) -> str:
        return f"NamedPipeline({self.name!r}, {self.current!r})"

    async def around(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Send the call through the policies that are in force now, to its end."""
        current = self.current
        known = self._chains.get(proceed)
        if known is None or known[0] is not current:
            if len(self._chains) >= _MOST:
                self._chains.clear()
            known = self._chains[proceed] = (current, current.chain(proceed))
        return await known[1](call)


class Registry:
    """Pipelines by name, for functions that are decorated before their configuration is known, or outlive it.

    ::

        registry = resilience.Registry({"payments": resilience.Pipeline(resilience.Timeout(2.0), resilience.Retry())})

        @registry.pipeline("payments")
        def charge(order): ...

        registry.update({"payments": resilience.Pipeline(resilience.Timeout(1.0), resilience.Retry(5))})

    Raises ConfigurationError for what is no policy, or no name.
    """

    def __init__(self, pipelines: Mapping[str, PolicyPort] | None = None) -> None:
        self._lock = threading.Lock()
        self._named: dict[str, NamedPipeline] = {}
        self.update({} if pipelines is None else pipelines)

    def __repr__(self) -> str:
        return f"Registry({', '.join(self.names)})"

    @property
    def names(self) -> tuple[str, ...]:
        """The names there are, sorted."""
        return tuple(sorted(self._named))

    def pipeline(self, name: str, default: PolicyPort | None = None) -> NamedPipeline:
        """Return the pipeline of that name; where there is none yet, `default` gets the name.

        Raises ConfigurationError for a name that nobody has described.
        """
        with self._lock:
            named = self._named.get(name)
            if named is None:
                if default is None:
                    known = ", ".join(sorted(self._named)) or "none yet"
                    argument, expected = "name", f"the name of a pipeline ({known}), or a default"
                    raise ConfigurationError(argument, name, expected)
                named = self._named[_name(name)] = NamedPipeline(name, _pipeline(name, default))
            return named

    def update(self, pipelines: Mapping[str, PolicyPort], /) -> None:
        """Put new policies into force, name by name; names that are not mentioned stay as they are.

        Policies of the same kind go on from where the old ones were: circuits keep their state, budgets their balance,
        bulkheads and limits who is inside. Calls under way end under the old policies. Raises ConfigurationError for
        whatever is wrong, and then changes nothing.
        """
        given: object = pipelines
        if not isinstance(given, Mapping):
            argument, expected = "pipelines", "a mapping of names to pipelines or policies"
            raise ConfigurationError(argument, given, expected)
        made = {_name(name): _pipeline(name, policy) for name, policy in pipelines.items()}
        balances = Balances(here(BLOCKING).now())
        with self._lock:
            for name, pipeline in made.items():
                if self._leads_back_locked(name, pipeline, made):
                    argument, expected = f"pipelines[{name!r}]", "policies that do not lead back to itself"
                    raise ConfigurationError(argument, pipeline, expected)
            for name, pipeline in made.items():
                named = self._named.get(name)
                if named is None:
                    self._named[name] = NamedPipeline(name, pipeline)
                elif named.current is not pipeline:
                    named.current = Pipeline(*policies_after(flat(named.current), flat(pipeline), balances))

    def _leads_back_locked(self, name: str, pipeline: Pipeline, made: Mapping[str, Pipeline]) -> bool:
        """Tell whether a call would come back to the pipeline of that name, of the policies that are to be in force."""
        seen: set[NamedPipeline] = set()
        left = [pipeline]
        while left:
            for policy in flat(left.pop()):
                if not isinstance(policy, NamedPipeline) or policy in seen:
                    continue
                if policy is self._named.get(name):
                    return True
                seen.add(policy)
                ours = self._named.get(policy.name) is policy
                left.append(made.get(policy.name, policy.current) if ours else policy.current)
        return False


def _name(name: object, argument: str = "pipelines") -> str:
    if not isinstance(name, str) or not name:
        expected = "names that are strings, and not empty"
        raise ConfigurationError(argument, name, expected)
    return name


def _pipeline(name: object, policy: object) -> Pipeline:
    if isinstance(policy, NamedPipeline | type) or not callable(getattr(policy, "around", None)):
        argument, expected = f"pipelines[{name!r}]", "a Pipeline, or a policy"
        raise ConfigurationError(argument, policy, expected)
    return policy if isinstance(policy, Pipeline) else Pipeline(cast("PolicyPort", policy))
