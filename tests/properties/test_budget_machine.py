"""The retry budget against a model that remembers every deposit and every withdrawal with its instant."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from resilience.policies.budget import Budget, RetryBudget

A_HAIR = 1e-6


class BudgetMachine(RuleBasedStateMachine):
    withdrawals = Bundle("withdrawals")

    @initialize(
        ratio=st.sampled_from([0.0, 0.2, 1.0, 2.5]),
        per_second=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
        ttl=st.sampled_from([1.0, 10.0]),
        start=st.sampled_from([0.0, 1000.03]),
    )
    def start(self, ratio, per_second, ttl, start):
        self.options = RetryBudget(ratio, min_per_second=per_second, ttl=ttl)
        self.budget = self.options.fresh()
        self.now = self.seen = start
        self.deposits, self.paid = [], []

    def allowance(self, *, over):
        """The most that may have been spent in the last `over` seconds, by the calls in them."""
        calls = sum(1 for when in self.deposits if when >= self.now - over)
        return self.options.ratio * calls + self.options.min_per_second * self.options.ttl

    def spent(self, *, over):
        return sum(1 for when in self.paid if when >= self.now - over)

    @rule(share=st.sampled_from([0.01, 0.1, 0.15, 0.5, 0.95, 1.0, 1.2, 30.0]))
    def time_passes(self, share):
        self.now += share * self.options.ttl

    @rule(calls=st.integers(1, 20))
    def deposit(self, calls):
        for _ in range(calls):
            self.budget.deposit(self.now)
        self.deposits += [self.now] * calls
        self.seen = self.now

    @rule(late=st.sampled_from([0.05, 0.4, 3.0]))
    def deposit_of_a_call_that_queued(self, late):
        when = max(0.0, self.now - late * self.options.ttl)
        self.budget.deposit(when)
        self.seen = max(self.seen, when)
        self.deposits.append(self.seen)

    @rule(target=withdrawals)
    def withdraw(self):
        ttl = self.options.ttl
        granted = self.budget.try_withdraw(self.now)
        self.seen = self.now
        if granted:
            self.paid.append(self.now)
            assert self.spent(over=ttl) <= self.allowance(over=ttl) + A_HAIR
            return self.now
        # Not refused for nothing: what is remembered is at most a slice longer, at least a slice shorter.
        assert self.spent(over=1.1 * ttl + A_HAIR) + 1 > self.allowance(over=0.9 * ttl - A_HAIR) - A_HAIR
        return multiple()

    @rule(when=withdrawals)
    def refund(self, when):
        if when in self.paid:
            self.budget.refund(when)
            self.paid.remove(when)

    @precondition(lambda self: not self.deposits and not self.paid)
    @invariant()
    def opens_full(self):
        assert self.budget.balance(self.now) == self.options.min_per_second * self.options.ttl

    @invariant()
    def never_negative_and_never_more_than_the_calls_earned(self):
        ttl = self.options.ttl
        assert 0 <= self.budget.balance(self.now) <= self.allowance(over=ttl) + A_HAIR
        self.seen = self.now


TestBudget = BudgetMachine.TestCase


WIDTHS = pytest.mark.parametrize("width", [0.25, 1.0, 10.0])


@WIDTHS
@pytest.mark.parametrize("pause", range(1, 14))
def test_what_is_earned_goes_with_the_window_and_what_is_spent_a_tenth_later(pause, width):
    budget = Budget(RetryBudget(1.0, min_per_second=0.0, ttl=10.0 * width))
    for number in range(25):
        now = (number + 0.5) * width
        for _ in range(3):
            budget.deposit(now)
        assert budget.try_withdraw(now)
        assert budget.balance(now) == 3 * min(number + 1, 10) - min(number + 1, 11)
    left = 3 * max(0, 10 - pause) - max(0, 11 - pause)
    now = (24.5 + pause) * width
    assert budget.balance(now) == max(0, left)
    budget.deposit(now)
    assert budget.balance(now) == max(0, left + 1)


@WIDTHS
def test_a_refund_goes_to_the_slice_that_paid(width):
    budget = Budget(RetryBudget(0.0, min_per_second=0.2 / width, ttl=10.0 * width))
    assert budget.try_withdraw(3.5 * width)
    assert budget.try_withdraw(8.5 * width)
    assert not budget.try_withdraw(8.5 * width)
    budget.refund(3.5 * width)
    assert budget.balance(8.5 * width) == 1.0
    assert budget.balance(14.5 * width) == 1.0, "what was paid at 8.5 is still paid"
    assert budget.balance(20.5 * width) == 2.0


@WIDTHS
def test_a_call_counts_from_the_instant_at_which_its_slice_begins(width):
    budget = Budget(RetryBudget(1.0, min_per_second=0.0, ttl=10.0 * width))
    for number in range(1, 21):
        budget.deposit(number * width)
    assert budget.balance(20 * width) == 10.0, "those of the slices 11 to 20"
    assert budget.balance(29.5 * width) == 1.0
    assert budget.balance(30 * width) == 0.0
