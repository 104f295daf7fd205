"""Groups of endpoints, each with a balancer of its own; a call begins at one, drawn in shares of what they can take."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import accumulate
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from resilience.balancing.tiers import search, weight_of
from resilience.balancing.wrapping import Wrapping, copied
from resilience.core.chance import fixed
from resilience.core.errors import require

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from resilience.core.call import Call
    from resilience.core.endpoint import Endpoint
    from resilience.core.outcome import Verdict
    from resilience.core.ports import Balancer

Pick: TypeAlias = "Callable[[Call, Callable[[Endpoint], bool]], Endpoint | None]"

REFRESH = 0.1
"""Seconds for which a look at who is ready is good."""
LOOK = 1e-4
"""And seconds more for each endpoint: a look costs a hundredth of that, so looking takes a hundredth of the time."""


class Group:
    """Some of the endpoints, and the balancer that chooses among them."""

    __slots__ = ("balancer", "members", "name", "weight")

    def __init__(self, name: Hashable, balancer: Balancer, members: Sequence[Endpoint]) -> None:
        self.name = name
        self.balancer = balancer
        self.members = members
        self.weight = sum(map(weight_of, members))

    def ready(self, now: float) -> float:
        """Return the weight of those that would let a call in."""
        return sum(weight_of(endpoint) for endpoint in self.members if endpoint.open_to(now))


class Spread(Wrapping, ABC):
    """The part common to tiers and zones; `shares` says how many of the calls begin at each group.

    A call goes on to the other groups when the one it begins at has nothing usable that it has not tried. A balancer
    that cannot be copied (it has no `fresh`) gets all endpoints, as if there were one group.
    """

    kind: ClassVar[str] = "group"
    """What its groups are, the same in every process: keys are drawn anew for each kind. Else those that spill into the
    second tier, all of high numbers, would all begin in its last zone."""

    def __init__(self, inner: Balancer, draw: Callable[[], float]) -> None:
        require("inner", inner, "a balancer: an object with `pick`", lambda it: callable(getattr(it, "pick", None)))
        require("draw", draw, "a function that returns numbers in [0, 1)", callable)
        super().__init__(inner)
        self.draw = draw
        self.pick: Pick = inner.pick  # with one group nothing stands in between
        self._groups: tuple[Group, ...] = ()
        self._of: Mapping[Endpoint, Group] = {}
        self._bounds: list[float] = []
        self._until = 0.0

    @abstractmethod
    def grouped(self, endpoints: Sequence[Endpoint], /) -> dict[Hashable, list[Endpoint]]:
        """Return the groups by name, the first to go to first."""
        ...

    @abstractmethod
    def shares(self, groups: Sequence[Group], now: float, /) -> Sequence[float]:
        """Return the share of the calls that begin at each; they add up to 1."""
        ...

    def update(self, endpoints: Sequence[Endpoint], /) -> None:
        """Take over a new set of endpoints; groups that stay keep their balancer."""
        found = self.grouped(endpoints)
        known = {group.name: group.balancer for group in self._groups[1:]}
        groups: list[Group] = []
        for name, members in found.items() if len(found) > 1 else ():
            balancer = known.get(name) or copied(self.inner) if groups else self.inner
            if balancer is None:
                groups = []
                break
            groups.append(Group(name, balancer, members))
        if not groups:  # nothing to divide, or nothing to divide it with
            self.inner.update(endpoints)
            self._groups, self._of, self.pick = (), {}, self.inner.pick
            return
        for group in groups:
            group.balancer.update(group.members)
        self._of = {endpoint: group for group in groups for endpoint in group.members}
        self._groups, self._until = tuple(groups), 0.0
        self.pick = self._pick

    def observe(self, endpoint: Endpoint, seconds: float, verdict: Verdict, now: float, /) -> None:
        """Let the balancer that chose it hear what became of an attempt."""
        if self._hear is None:
            return
        group = self._of.get(endpoint)
        balancer = self.inner if group is None else group.balancer
        balancer.observe(endpoint, seconds, verdict, now)  # type: ignore[attr-defined]  # copies hear as it does

    def _pick(self, call: Call, usable: Callable[[Endpoint], bool], /) -> Endpoint | None:
        groups = self._groups
        if not groups:  # another thread has just made one of them, after the caller had taken hold of this method
            return self.inner.pick(call, usable)
        first = self._drawn(groups, call)
        order = (groups[first], *groups[:first], *groups[first + 1 :])
        return search(order, call.tried, lambda group: group.balancer.pick(call, usable))

    def _drawn(self, groups: Sequence[Group], call: Call) -> int:
        now = call.started
        bounds = self._bounds
        if now >= self._until or len(bounds) != len(groups):
            bounds = self._bounds = list(accumulate(self.shares(groups, now)))
            self._until = now + REFRESH + LOOK * sum(len(group.members) for group in groups)
        # A call with a key begins where it always does, as long as the shares stay.
        key_of = self.key_of
        key = (None if key_of is None else key_of(call)) or call.key
        number = fixed(f"{self.kind}/{key}") if key else self.draw()
        return next((at for at, bound in enumerate(bounds) if number < bound), 0)
