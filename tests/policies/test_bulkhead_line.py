"""Bulkhead with a line in which not all are equal: priorities, and last come first served under overload."""

import math
import threading
from fractions import Fraction

import pytest

from resilience.core.errors import ConfigurationError, OverloadedError
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.queueing import RankedLine, RankedSlots, RankedWaiter
from resilience.runtimes.blocking import BLOCKING
from resilience.runtimes.virtual import VirtualCancelled, VirtualRuntime
from tests.composition.fake_time import on


def play(bulkhead, arrivals, *, held=1.0):
    """Let calls arrive (when, name, importance), each inside for `held`; return who was served when, and who not."""
    runtime = VirtualRuntime()
    served, refused = [], []

    async def call(when, name, importance):
        async def work(_importance):
            served.append((name, runtime.now() - 1000.0))
            await runtime.sleep(held)

        await runtime.sleep(when)
        try:
            await bulkhead.acall(work, importance)
        except OverloadedError as error:
            refused.append((name, round(runtime.now() - 1000.0, 6), str(error)))

    with on(runtime):
        for arrival in arrivals:
            runtime.spawn(lambda arrival=arrival: call(*arrival))
        runtime.advance(1000.0)
    assert bulkhead.slots.taken == 0
    assert not bulkhead.slots.line.waiters
    return served, refused


def test_the_most_important_go_first():
    bulkhead = Bulkhead(1, queue=9, priority=lambda importance: importance)
    served, refused = play(bulkhead, [(0.0, "a", 0), (0.1, "b", 0), (0.2, "c", 5), (0.3, "d", 5), (0.4, "e", 0)])
    assert "".join(name for name, _ in served) == "acdbe"
    assert refused == []


def test_the_least_important_give_way_when_the_line_is_full():
    bulkhead = Bulkhead(1, queue=2, priority=lambda importance: importance)
    served, refused = play(bulkhead, [(0.0, "a", 0), (0.1, "b", 1), (0.2, "c", 1), (0.3, "d", 2), (0.4, "e", 1)])
    assert "".join(name for name, _ in served) == "adb"
    assert [(name, when) for name, when, _ in refused] == [("c", 0.3), ("e", 0.4)]
    assert "somebody else has its place" in refused[0][2]
    assert "and 2 more wait" in refused[1][2]


def test_under_overload_the_newest_go_first_and_the_oldest_give_way():
    bulkhead = Bulkhead(1, queue=3, lifo_after=1.0)
    arrivals = [(0.0, "a", 0), (0.1, "b", 0), (0.2, "c", 0), (0.3, "d", 0), (1.5, "e", 0), (2.5, "f", 0)]
    served, refused = play(bulkhead, arrivals)
    # b goes at 1.0, having waited 0.9; at 2.0 c has waited for 1.8: now the newest go first.
    assert "".join(name for name, _ in served) == "abefdc"
    assert refused == []
    bulkhead = Bulkhead(1, queue=2, lifo_after=0.5)
    served, refused = play(bulkhead, [(0.0, "a", 0), (0.1, "b", 0), (0.2, "c", 0), (0.9, "d", 0)])
    assert "".join(name for name, _ in served) == "adc"
    assert [name for name, _, _ in refused] == ["b"]


def test_without_load_it_is_first_come_first_served():
    bulkhead = Bulkhead(1, queue=9, lifo_after=100.0)
    served, _ = play(bulkhead, [(number / 10, number, 0) for number in range(8)])
    assert [name for name, _ in served] == list(range(8))


def test_a_free_slot_is_taken_at_once_and_a_line_without_places_refuses():
    bulkhead = Bulkhead(1, queue=0, priority=lambda importance: importance)
    served, refused = play(bulkhead, [(0.0, "a", 0), (0.5, "b", 9), (1.5, "c", 0)])
    assert served == [("a", 0.0), ("c", 1.5)]
    assert [name for name, _, _ in refused] == ["b"]


def test_who_is_cut_in_the_line_leaves_it():
    runtime = VirtualRuntime()
    bulkhead = Bulkhead(1, queue=5, priority=lambda *_: 1)
    with on(runtime):
        tasks = [runtime.spawn(lambda: bulkhead.acall(runtime.sleep, 1.0)) for _ in range(3)]
        runtime.advance(0.5)
        runtime.cancel(tasks[1])
        runtime.advance(10.0)
    assert isinstance(tasks[1].error, VirtualCancelled)
    assert [task.error for task in (tasks[0], tasks[2])] == [None, None]
    assert bulkhead.slots.taken == 0


def test_a_slot_that_comes_free_while_somebody_joins_is_not_lost():
    line = RankedLine()
    slots = RankedSlots(1, line)
    assert slots._next_locked() is None
    waiter = RankedWaiter(BLOCKING.gate(), slots, rank=0.0, clock=BLOCKING.now)
    assert line.stand(waiter, longest=0)
    assert waiter.slots is slots
    assert slots.taken == 1
    slots.give_back()
    assert slots.taken == 0


def test_sixty_four_threads_and_never_more_than_the_limit_inside():
    bulkhead = Bulkhead(4, queue=40, priority=lambda number: number % 3, lifo_after=1e-4)
    inside, most, done, refused = [0], [0], [], []
    lock = threading.Lock()

    def function(_number):
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        with lock:
            inside[0] -= 1
        done.append(1)

    def work():
        for number in range(100):
            try:
                bulkhead.call(function, number)
            except OverloadedError:
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) + len(refused) == 6400
    assert most[0] <= 4
    assert bulkhead.slots.taken == 0
    assert not bulkhead.slots.line.waiters


class Kinds(dict):
    """What the user's own table says of a kind; a line that is served while one stands in it."""

    def __init__(self, **ranks):
        super().__init__(ranks)
        self.runtime = VirtualRuntime()
        self.bulkhead = Bulkhead(1, queue=9, priority=self.__getitem__)

    def play(self, *kinds):
        """Let calls arrive in this order while one is inside; return what each came to."""

        async def work(kind):
            await self.runtime.sleep(1.0)
            return kind

        with on(self.runtime):
            tasks = [self.runtime.spawn(lambda kind=kind: self.bulkhead.acall(work, kind)) for kind in kinds]
            self.runtime.advance(100.0)
        assert all(task.done for task in tasks)
        assert (self.bulkhead.slots.taken, list(self.bulkhead.slots.line.waiters)) == (0, [])
        return [task.result if task.error is None else task.error for task in tasks]


@pytest.mark.parametrize("rank", [None, math.nan, "1", 1j, [1]])
def test_a_rank_that_is_no_number_is_the_mistake_of_its_own_call(rank):
    inside, one, other, fine = Kinds(inside=0, wrong=rank, fine=1).play("inside", "wrong", "wrong", "fine")
    assert (inside, fine) == ("inside", "fine")
    for error in (one, other):
        assert isinstance(error, ConfigurationError)
        assert (error.argument, error.expected) == ("priority", "a function that returns a number")
        assert error.value is rank


@pytest.mark.parametrize("rank", [-math.inf, math.inf, -1, 0.5, 10**400, True, Fraction(1, 3)])
def test_any_number_is_a_rank(rank):
    assert Kinds(inside=0, own=rank, fine=1).play("inside", "own", "fine") == ["inside", "own", "fine"]


def test_what_a_priority_raises_its_own_call_gets():
    inside, unknown, fine = Kinds(inside=0, fine=1).play("inside", "unknown", "fine")
    assert isinstance(unknown, KeyError)
    assert (inside, fine) == ("inside", "fine")


class Moody(float):
    """A number of somebody's own making."""

    __hash__ = float.__hash__

    def __eq__(self, other):
        raise TypeError("not with that one")

    __lt__ = __gt__ = __eq__


def test_a_slot_is_handed_on_in_the_order_of_arrival_where_ranks_do_not_compare():
    kinds = Kinds(inside=0, one=Moody(1), other=Moody(2))
    assert kinds.play("inside", "one", "other") == ["inside", "one", "other"]


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"priority": 1}, "priority"),
        ({"lifo_after": 0}, "lifo_after"),
        ({"lifo_after": math.inf}, "lifo_after"),
        ({"lifo_after": "1"}, "lifo_after"),
    ],
)
def test_bad_arguments_are_named(arguments, argument):
    with pytest.raises(ConfigurationError) as caught:
        Bulkhead(1, **arguments)
    assert caught.value.argument == argument


def test_how_important_a_call_is_is_said_by_all_of_its_arguments_and_asked_only_where_slots_are_short():
    asked = []
    bulkhead = Bulkhead(1, priority=lambda *args, **kwargs: asked.append((args, kwargs)) or 0)

    def function(*_, inner=None, **__):
        if inner is not None:
            with pytest.raises(OverloadedError):
                bulkhead.call(inner, 1, name="b")
        return "reply"

    assert bulkhead.call(function, 1, name="a") == "reply"
    assert asked == []
    assert bulkhead.call(function, inner=function) == "reply"
    assert asked == [((1,), {"name": "b"})]


def test_each_that_finds_a_slot_free_while_it_joins_takes_one():
    line = RankedLine()
    slots = RankedSlots(2, line)
    waiters = [RankedWaiter(BLOCKING.gate(), slots, rank=0.0, clock=BLOCKING.now) for _ in range(3)]
    assert [line.stand(waiter, longest=1) for waiter in waiters] == [True, True, True]
    assert slots.taken == 2
    assert list(line.waiters) == waiters[2:]
