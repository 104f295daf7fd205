"""One call's retry decisions against a model: how often it was sent, what time it is, and what was asked of it."""

import tenacity
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from resilience.core.call import Elsewhere
from resilience.core.outcome import Blame, Err, Ok, Sent, Verdict
from resilience.policies.repeats import Again, RetryState, Stop
from resilience.policies.retry import Retry
from resilience.policies.waits import full_jitter

VERDICTS = st.builds(
    Verdict,
    st.sampled_from(Blame),
    retry=st.sampled_from([True, True, True, False]),
    sent=st.sampled_from(Sent),
    retry_after=st.sampled_from([None, None, 0.0, 0.3, 7.0, 100.0]),
    elsewhere=st.booleans(),
    binds_service=st.booleans(),
)


class RetryMachine(RuleBasedStateMachine):
    @initialize(
        attempts=st.integers(1, 6),
        base=st.sampled_from([0.05, 0.5]),
        limit=st.sampled_from([0.0, 5.0, 30.0]),
        deadline=st.sampled_from([0.2, 3.0, 60.0, float("inf")]),
        stop_at=st.sampled_from([None, 2, 4]),
        draw=st.sampled_from([0.0, 0.5, 0.999]),
    )
    def start(self, attempts, base, limit, deadline, stop_at, draw):
        self.base, self.cap, self.limit, self.max_attempts, self.stop_at = base, 2.0, limit, attempts, stop_at
        self.draw = draw
        self.options = Retry(
            attempts,
            wait=full_jitter(base, self.cap),
            max_retry_after=limit,
            stop=None if stop_at is None else tenacity.stop_after_attempt(stop_at),
            budget=False,
        )
        self.now, self.patience = 1000.0, deadline
        self.the_next_call_begins()

    def the_next_call_begins(self):
        self.state = RetryState(self.options, started=self.now, request=None, draw=lambda: self.draw)
        self.deadline = self.now + self.patience
        self.sends, self.repeats, self.over = 1, 0, False

    @precondition(lambda self: self.over)
    @rule()
    def another_call(self):
        self.the_next_call_begins()

    @precondition(lambda self: not self.over)
    @rule(
        took=st.sampled_from([0.0, 0.1, 1.0]),
        verdict=VERDICTS,
        raised=st.booleans(),
        repeatable=st.booleans(),
        elsewhere=st.sampled_from(Elsewhere),
    )
    def an_attempt_fails(self, took, verdict, raised, repeatable, elsewhere):
        self.now += took
        step = self.state.next(
            Err(ConnectionError()) if raised else Ok("reply"),
            verdict,
            now=self.now,
            deadline=self.deadline,
            repeatable=repeatable,
            elsewhere=elsewhere,
            sends_left=self.max_attempts - self.sends,
        )
        assert self.state.attempts == self.sends
        other = elsewhere is not Elsewhere.NOWHERE
        moves_on = other and not verdict.binds_service
        self.repeats += not moves_on
        bound = min(self.cap, self.base * 2 ** (max(self.repeats, 1) - 1))
        asked = 0.0 if verdict.retry_after is None or moves_on else verdict.retry_after
        if isinstance(step, Stop):
            self.over = True
            assert self.a_reason_to_stop(step.why, verdict, repeatable, other, max(bound, asked), asked)
            return
        assert verdict.retry
        assert repeatable or verdict.sent is Sent.NO
        assert other or not verdict.elsewhere
        assert self.sends < self.max_attempts
        assert self.stop_at is None or self.sends < self.stop_at
        assert step.elsewhere is moves_on
        assert not step.free or (moves_on and verdict.sent is Sent.NO)
        assert asked <= step.delay <= max(bound, asked)
        assert asked <= self.limit
        assert not (moves_on and step.delay), "an endpoint not yet tried is not waited for"
        assert self.now + step.delay < self.deadline
        self.now += step.delay
        self.sends += 1

    def a_reason_to_stop(self, why, verdict, repeatable, other, longest, asked):
        return {
            "final": not verdict.retry,
            "not repeatable": verdict.sent is not Sent.NO and not repeatable,
            "attempts": self.sends == self.max_attempts,
            "no other endpoint": verdict.elsewhere and not other,
            "retry-after": asked > self.limit,
            "deadline": self.now + longest >= self.deadline,
            "stop": self.stop_at is not None and self.sends >= self.stop_at,
        }[why]

    @invariant()
    def within_bounds(self):
        assert self.sends <= self.max_attempts


TestRetry = RetryMachine.TestCase


def test_an_attempt_that_fails_is_followed_by_one_that_may_be_made():
    """The machine is not vacuous: the plainest failure is repeated."""
    state = RetryState(Retry(2, wait=1.0, budget=False), started=0.0, request=None, draw=lambda: 0.5)
    verdict = Verdict(Blame.BAD, retry=True, sent=Sent.MAYBE)
    arguments = {"now": 5.0, "deadline": 7.0, "repeatable": True, "elsewhere": Elsewhere.NOWHERE, "sends_left": 1}
    assert state.next(Err(ConnectionError()), verdict, **arguments) == Again(1.0, elsewhere=False)
