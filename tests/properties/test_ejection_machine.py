"""Ejection, whoever fails, leaves and returns: never too many, never without cause, never for good."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from resilience.core.outcome import BAD, GOOD, UNKNOWN
from resilience.health.ejection import Ejected, Ejection, OutlierEjection, Returned


class Ejecting(RuleBasedStateMachine):
    """The model knows who is out and until when, and each one's verdicts since it was last judged."""

    @initialize(share=st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0]), members=st.sets(st.integers(0, 9), min_size=1))
    def start(self, share: float, members: set[int]) -> None:
        self.options = OutlierEjection(max_ejected=share, minimum_calls=5, jitter=0.5)
        self.ejection: Ejection[int] = Ejection(self.options)
        self.ejection.update(members)
        self.members = members
        self.out: dict[int, float] = {}
        self.bad: dict[int, int] = {}
        self.now = 0.0

    @rule(member=st.integers(0, 11), times=st.integers(1, 20), verdict=st.sampled_from([GOOD, BAD, UNKNOWN]))
    def settle(self, member: int, times: int, verdict: Any) -> None:
        for _ in range(times):
            self.ejection.settle(member, verdict)
        if verdict is BAD and member not in self.out:
            self.bad[member] = self.bad.get(member, 0) + times

    @rule(passes=st.floats(0.0, 40.0), chance=st.floats(0.0, 1.0, exclude_max=True))
    def sweep(self, passes: float, chance: float) -> None:
        self.now += passes
        due = {member for member, until in self.out.items() if until <= self.now}
        returned = set()
        for change in self.ejection.sweep(self.now, lambda: chance):
            if isinstance(change, Returned):
                returned.add(change.member)
                del self.out[change.member]
            else:
                assert isinstance(change, Ejected)
                assert change.member in self.members
                assert change.member not in self.out
                assert self.bad.get(change.member, 0) > 0, "without a single failure"
                assert change.rate < change.expected <= 1.0 - self.options.margin
                assert self.options.base <= change.seconds <= self.options.longest * (1 + self.options.jitter)
                self.out[change.member] = self.now + change.seconds
                self.bad[change.member] = 0
        assert returned == due

    @rule(members=st.sets(st.integers(0, 9)))
    def update(self, members: set[int]) -> None:
        self.out = {member: until for member, until in self.out.items() if member in members}
        for change in self.ejection.update(sorted(members)):
            freed = self.out.pop(change.member)
            assert all(freed <= until for until in self.out.values()), "the one that is next to return"
        self.bad = {member: count for member, count in self.bad.items() if member in members}
        self.members = members

    @rule(member=st.integers(0, 11))
    def restore(self, member: int) -> None:
        assert bool(self.ejection.restore(member)) == (self.out.pop(member, None) is not None)

    @invariant()
    def never_too_many_and_one_is_always_kept(self) -> None:
        count = len(self.members)
        assert len(self.out) <= self.options.max_ejected * count + 1e-9
        assert len(self.out) < count or not count

    @invariant()
    def something_is_always_due(self) -> None:
        wait = self.ejection.wait(self.now)
        assert 0.0 <= wait <= self.options.interval + 1e-6
        assert all(self.now + wait <= max(until, self.now) + 1e-6 for until in self.out.values())


TestEjecting = Ejecting.TestCase
TestEjecting.settings = settings(
    max_examples=min(60, settings.default.max_examples), stateful_step_count=30, deadline=None
)
