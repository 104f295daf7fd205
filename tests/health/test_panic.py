"""Panic: with fewer than half of the endpoints well, health and ejection are ignored; circuits and draining are not."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from resilience.core.endpoint import Address, Endpoint
from resilience.core.outcome import BAD
from resilience.health.panic import Panic
from resilience.policies.circuit import Circuit
from resilience.policies.permits import CircuitOptions


def several(count: int) -> list[Endpoint]:
    return [Endpoint(Address(f"10.0.0.{n}", 80)) for n in range(count)]


@pytest.mark.parametrize(("count", "sick_until_panic"), [(2, 2), (3, 2), (4, 3), (10, 6)])
def test_it_begins_below_the_half_and_ends_at_it(count: int, sick_until_panic: int) -> None:
    known = several(count)
    panic = Panic(0.5)
    assert panic.update(known) is None
    for number, endpoint in enumerate(known[:sick_until_panic], 1):
        endpoint.mark(healthy=False)
        assert panic.changed(endpoint) is (True if number == sick_until_panic else None)
    assert all(endpoint.ready(0.0) for endpoint in known)
    assert known[0].not_ready_because(0.0) == ()
    known[0].mark(healthy=True)
    assert panic.changed(known[0]) is False
    assert [endpoint.ready(0.0) for endpoint in known[:2]] == [True, False]
    assert (panic.well, panic.total) == (count - sick_until_panic + 1, count)


def test_a_single_endpoint_never_panics() -> None:
    (endpoint,) = several(1)
    panic = Panic(0.5)
    panic.update([endpoint])
    endpoint.mark(healthy=False)
    assert panic.changed(endpoint) is None
    assert not endpoint.ready(0.0)


def test_before_it_is_told_of_any_there_are_none() -> None:
    panic = Panic(0.5)
    assert (panic.on, panic.total, panic.well) == (False, 0, 0)


def test_zero_is_never() -> None:
    known = several(3)
    panic = Panic(0.0)
    panic.update(known)
    for endpoint in known:
        endpoint.mark(ejected=True)
        assert panic.changed(endpoint) is None
    assert not any(endpoint.ready(0.0) for endpoint in known)


def test_circuits_and_draining_are_not_ignored() -> None:
    known = several(3)
    known[0].circuit = circuit = Circuit(CircuitOptions(consecutive_failures=1))
    circuit.settle(circuit.admit(0.0), BAD, now=0.0)
    known[1].mark(draining=True)
    panic = Panic(0.5)
    for endpoint in known:
        endpoint.mark(healthy=False)
    assert panic.update(known) is True
    assert [endpoint.not_ready_because(0.0) for endpoint in known] == [("circuit",), ("draining",), ()]


def test_who_leaves_is_in_no_panic_any_more_and_who_joins_is() -> None:
    known = several(4)
    for endpoint in known[:3]:
        endpoint.mark(healthy=False)
    panic = Panic(0.5)
    assert panic.update(known[:3]) is True
    assert panic.update([*known[1:3], known[3]]) is None
    assert [endpoint.panic for endpoint in known] == [False, True, True, True]
    assert panic.changed(known[0]) is None, "nobody's business here"


class Panicking(RuleBasedStateMachine):
    """The model counts anew each time."""

    @initialize(below=st.sampled_from([0.0, 0.3, 0.5, 0.9]))
    def start(self, below: float) -> None:
        self.all = several(8)
        self.panic = Panic(below)
        self.there: list[Endpoint] = []
        self.told = False

    @rule(chosen=st.sets(st.integers(0, 7)))
    def update(self, chosen: set[int]) -> None:
        self.there = [self.all[index] for index in chosen]
        self.hear(self.panic.update(self.there))

    @rule(index=st.integers(0, 7), healthy=st.booleans() | st.none(), ejected=st.booleans() | st.none())
    def change(self, index: int, healthy: bool | None, ejected: bool | None) -> None:
        self.all[index].mark(healthy=healthy, ejected=ejected)
        self.hear(self.panic.changed(self.all[index]))

    def hear(self, change: bool | None) -> None:
        if change is not None:
            assert change is not self.told, "told twice"
            self.told = change

    @invariant()
    def it_is_as_counted(self) -> None:
        if not hasattr(self, "panic"):
            return
        well = sum(endpoint.healthy and not endpoint.ejected for endpoint in self.there)
        expected = len(self.there) > 1 and well / len(self.there) < self.panic.below
        assert self.panic.on is self.told is expected
        for endpoint in self.all:
            assert endpoint.fit is (
                (endpoint in self.there and expected) or (endpoint.healthy and not endpoint.ejected)
            )


TestPanicking = Panicking.TestCase
TestPanicking.settings = settings(
    max_examples=min(60, settings.default.max_examples), stateful_step_count=30, deadline=None
)
