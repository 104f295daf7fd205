"""Slots and their line against a model: who is inside where, and who stands in which order."""

import math

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from resilience.core.slots import Line, Slots


class Gate:
    def __init__(self):
        self.opened = False

    def open(self):
        assert not self.opened, "nobody is let through twice"
        self.opened = True


class SlotsMachine(RuleBasedStateMachine):
    """One line in front of one to three sets of slots, as in front of a bulkhead or of a service's endpoints."""

    @initialize(limits=st.lists(st.integers(1, 3), min_size=1, max_size=3), longest=st.integers(0, 4))
    def start(self, limits, longest):
        self.line = Line()
        self.all = [Slots(limit, self.line) for limit in limits]
        self.longest = longest
        self.inside = dict.fromkeys(self.all, 0)
        self.standing, self.handed = [], []

    def free(self, slots):
        claimed = any(slots in waiter.wants for waiter in self.standing)
        return not claimed and self.inside[slots] < slots.limit

    def expect_hand_over(self, slots):
        """A slot came free: the first who wants it gets it; else it stays free."""
        heir = next((waiter for waiter in self.standing if slots in waiter.wants), None)
        if heir is None or self.inside[slots] > slots.limit:
            self.inside[slots] -= 1
            return
        self.standing.remove(heir)
        self.handed.append(heir)

    @rule(data=st.data())
    def take(self, data):
        slots = data.draw(st.sampled_from(self.all))
        free = self.free(slots)
        assert slots.take() is free
        self.inside[slots] += free

    @rule(data=st.data())
    def join(self, data):
        wants = data.draw(st.lists(st.sampled_from(self.all), min_size=1, unique=True))
        first_free = next((slots for slots in wants if self.free(slots)), None)
        waiter = self.line.join(Gate(), wants, longest=self.longest)
        if first_free is not None:
            assert waiter.slots is first_free
            assert not waiter.gate.opened
            self.inside[first_free] += 1
        elif len(self.standing) >= self.longest:
            assert waiter is None
        else:
            assert waiter.slots is None
            self.standing.append(waiter)

    @precondition(lambda self: any(self.inside.values()))
    @rule(data=st.data())
    def give_back(self, data):
        slots = data.draw(st.sampled_from([slots for slots in self.all if self.inside[slots]]))
        self.expect_hand_over(slots)
        slots.give_back()

    @precondition(lambda self: self.standing)
    @rule(data=st.data())
    def give_up_waiting(self, data):
        waiter = data.draw(st.sampled_from(self.standing))
        self.standing.remove(waiter)
        self.line.leave(waiter)

    @precondition(lambda self: self.handed)
    @rule(data=st.data())
    def give_up_after_the_hand_over(self, data):
        waiter = data.draw(st.sampled_from(self.handed))
        self.handed.remove(waiter)
        self.expect_hand_over(waiter.slots)
        self.line.leave(waiter)

    @rule()
    def stir(self):
        stirred, self.standing = self.standing, []
        self.line.stir()
        for waiter in stirred:
            assert waiter.gate.opened
            assert waiter.slots is None
            self.line.leave(waiter)  # gives nothing back: it was handed nothing

    @rule(data=st.data(), limit=st.sampled_from([1, 2, 4, math.inf]))
    def resize(self, data, limit):
        slots = data.draw(st.sampled_from(self.all))
        wanting = [waiter for waiter in self.standing if slots in waiter.wants]
        for waiter in wanting[: int(max(0, min(limit - self.inside[slots], len(wanting))))]:
            self.standing.remove(waiter)
            self.handed.append(waiter)
            self.inside[slots] += 1
        slots.resize(limit)

    @rule(data=st.data(), limit=st.sampled_from([1, 2, 4, math.inf]))
    def resize_and_have_all_look_again(self, data, limit):
        data.draw(st.sampled_from(self.all)).limit = limit
        self.stir()

    @invariant()
    def agrees(self):
        for slots in self.all:
            assert slots.taken == self.inside[slots]
        assert list(self.line.waiters) == self.standing
        for waiter in self.handed:
            assert waiter.gate.opened
            assert waiter.slots in waiter.wants

    @invariant()
    def nobody_waits_beside_a_free_slot(self):
        for waiter in self.standing:
            assert all(self.inside[slots] >= slots.limit for slots in waiter.wants)


TestSlots = SlotsMachine.TestCase


def test_more_room_is_for_those_who_want_it_in_their_order():
    line = Line()
    mine, others = Slots(1, line), Slots(1, line)
    assert mine.take()
    assert others.take()
    elsewhere, first, second, third = (line.join(Gate(), (slots,), longest=9) for slots in (others, mine, mine, mine))
    mine.resize(3)
    assert [waiter.slots for waiter in (elsewhere, first, second, third)] == [None, mine, mine, None]
    mine.resize(9)
    assert (mine.taken, list(line.waiters)) == (4, [elsewhere])
    assert [waiter.gate.opened for waiter in (elsewhere, first, second, third)] == [False, True, True, True]
    mine.resize(2)
    assert mine.taken == 4
    for _ in range(4):
        mine.give_back()
    assert mine.taken == 0


def test_who_leaves_hands_nothing_on_while_too_many_are_inside():
    slots = Slots(2)
    assert slots.take()
    assert slots.take()
    waiter = slots.line.join(Gate(), (slots,), longest=9)
    slots.resize(1)
    slots.give_back()
    assert (slots.taken, waiter.slots, waiter.gate.opened) == (1, None, False)
    slots.give_back()
    assert (slots.taken, waiter.slots, waiter.gate.opened) == (1, slots, True)


def test_nobody_overtakes_who_waits_for_a_slot_that_nobody_has_handed_on():
    slots = Slots(1)
    assert slots.take()
    waiter = slots.line.join(Gate(), (slots,), longest=9)
    slots.limit = 3  # and the line has not been told yet
    assert not slots.take()
    late = slots.line.join(Gate(), (slots,), longest=9)
    assert (slots.taken, waiter.slots, late.slots) == (1, None, None)
    slots.resize(3)
    assert (slots.taken, waiter.slots, late.slots) == (3, slots, slots)
