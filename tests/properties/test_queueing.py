"""Who is next and who gives way, against what a line is for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.policies.queueing import RankedLine, RankedSlots, RankedWaiter, gives_way, next_of, overloaded
from resilience.runtimes.blocking import BLOCKING

LINES = st.lists(st.tuples(st.floats(0.0, 10.0), st.integers(-2, 2)), min_size=1, max_size=10)
PATIENCE = st.sampled_from([0.5, 3.0, float("inf")])


def line_of(waits):
    slots = RankedSlots(1, RankedLine())
    waits = sorted(waits, key=lambda wait: -wait[0])
    return [RankedWaiter(BLOCKING.gate(), slots, rank=rank, clock=lambda w=wait: 100.0 - w) for wait, rank in waits]


@given(LINES, PATIENCE)
def test_the_next_is_one_of_the_most_important(waits, patience):
    line = line_of(waits)
    chosen = next_of(line, 100.0, patience)
    assert chosen.rank == max(waiter.rank for waiter in line)
    equals = [waiter for waiter in line if waiter.rank == chosen.rank]
    assert chosen is equals[-1 if waits and max(wait for wait, _ in waits) > patience else 0]


@given(LINES, PATIENCE, st.integers(-3, 3))
def test_nobody_gives_way_to_somebody_less_important(waits, patience, rank):
    line = line_of(waits)
    newcomer = RankedWaiter(BLOCKING.gate(), line[0].wants[0], rank=rank, clock=lambda: 100.0)
    leaves = gives_way(line, newcomer, 100.0, patience)
    least = min(waiter.rank for waiter in line)
    if leaves is None:
        assert least > rank or (least == rank and not overloaded(line, 100.0, patience))
    else:
        assert leaves.rank == least <= rank
        assert leaves.rank < rank or overloaded(line, 100.0, patience)


def test_an_empty_line_has_nobody_to_give_way():
    waiter = line_of([(0.0, 0)])[0]
    assert gives_way([], waiter, 100.0, 1.0) is None
    assert not overloaded([], 100.0, 0.0)


@pytest.mark.parametrize(("rank", "leaves"), [(-1, None), (0, 0), (1, 0)])
def test_under_overload_the_oldest_gives_way_but_not_to_somebody_less_important(rank, leaves):
    line = line_of([(5.0, 0), (4.0, 0), (3.0, 1)])
    newcomer = RankedWaiter(BLOCKING.gate(), line[0].wants[0], rank=rank, clock=lambda: 100.0)
    assert gives_way(line, newcomer, 100.0, 1.0) is (None if leaves is None else line[leaves])
