"""Branches of a call: several sends at a time, one record."""

from resilience.core.attempt import Attempt
from resilience.core.call import Call, RoutedCall
from resilience.core.endpoint import Address, Endpoint
from resilience.core.outcome import GOOD
from resilience.runtimes.blocking import BLOCKING

A, B, C = (Endpoint(Address(f"10.0.0.{n}", 80)) for n in (1, 2, 3))


def routed():
    return RoutedCall(BLOCKING, "request", 0.0, 9.0, "operation", True, lambda _outcome, _call: GOOD)


def attempt(call, endpoint):
    made = Attempt(len(call.attempts) + 1, endpoint, 0.0, None, lambda *_: None, lambda *_: None)
    call.attempts.append(made)
    call.tried += (endpoint,)
    return made


def test_a_functions_branch_has_a_verdict_of_its_own():
    call = Call(BLOCKING, "request", 1.0, 9.0, "operation")
    call.verdict = GOOD
    twin = call.branch()
    assert twin.verdict is None
    assert call.verdict is GOOD
    assert (twin.runtime, twin.request, twin.deadline, twin.operation) == (BLOCKING, "request", 9.0, "operation")


def test_attempts_of_branches_are_the_calls_and_each_branch_has_its_own_latest():
    call = routed()
    before = attempt(call, A)
    one = call.branch()
    first = attempt(one, B)
    two = call.branch()
    second = attempt(two, C)
    late = attempt(one, A)
    assert one.attempts[-1] is late
    assert two.attempts[-1] is second
    assert call.attempts == [before, first, second, late]
    assert [made.number for made in call.attempts] == [1, 2, 3, 4]
    assert one.tried == (A, B, A)
    assert two.tried == (A, B, C), "it knows where the other has been"
    assert call.tried == (A,)


def test_branches_of_branches_are_numbered_by_the_call():
    call = routed()
    one = call.branch()
    attempt(one, A)
    inner = one.branch()
    made = attempt(inner, B)
    attempt(call.branch(), C)
    last = attempt(inner, A)
    assert call.attempts[1] is made
    assert [made.number for made in call.attempts] == [1, 2, 3, 4]
    assert one.attempts == [call.attempts[0], made, last]


def test_an_attempt_that_was_none_is_taken_back_everywhere():
    call = routed()
    branch = call.branch()
    branch.attempts.remove(attempt(branch, A))
    assert not call.attempts
    assert not branch.attempts
    assert attempt(branch, B).number == 1
