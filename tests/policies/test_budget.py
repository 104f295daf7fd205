"""The budget at its edges; `tests/properties` explores the rest."""

from resilience.policies.budget import RetryBudget


def test_a_withdrawal_that_is_long_forgotten_is_not_refunded():
    budget = RetryBudget(0.0, min_per_second=0.2, ttl=11.0).fresh()
    assert budget.try_withdraw(0.0)
    later = 1.1 * 11.0  # eleven slices on, in the same place of the ring
    assert budget.try_withdraw(later)
    before = budget.balance(later)
    budget.refund(0.0)
    assert budget.balance(later) == before
    budget.refund(later)
    assert budget.balance(later) == before + 1.0
    budget.refund(later)
    assert budget.balance(later) == before + 1.0, "once"


def test_five_calls_earn_a_send():
    budget = RetryBudget(0.2, min_per_second=0.0).fresh()
    for calls in range(4):
        assert not budget.try_withdraw(0.0), calls
        budget.deposit(0.0)
    budget.deposit(0.0)
    assert budget.try_withdraw(0.0)
    assert not budget.try_withdraw(0.0)


def test_the_reserve_is_exact_over_any_ttl():
    """Thirty sends at the end of one slice are not followed by thirty more at the start of the tenth after it."""
    budget = RetryBudget(0.0).fresh()
    assert [budget.try_withdraw(0.99) for _ in range(31)].count(True) == 30
    assert not budget.try_withdraw(10.01)
    assert not budget.try_withdraw(10.99)
    assert budget.try_withdraw(11.0)
