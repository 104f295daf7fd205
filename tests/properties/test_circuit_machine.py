"""The circuit against a model: a list of what was counted, a list of probes under way, and a clock."""

import math
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from resilience.core.outcome import BAD, GOOD, UNKNOWN, Blame, Sent
from resilience.policies.circuit import PROBE_LEASE, SOLE_MAX_OPEN, Circuit
from resilience.policies.permits import CLOSED, HALF_OPEN, OPEN, CircuitOptions, Permit, Rejected
from resilience.policies.verdicts import CONNECT_FAILED, judge_status

ANSWERED_500 = judge_status(500, {})
VERDICTS = [GOOD, BAD, CONNECT_FAILED, ANSWERED_500, UNKNOWN]
PAUSES = st.sampled_from([0.0, 0.1, 0.25, 1.0, 1.5, 4.0, 10.0, 30.0, 31.0, 70.0])
OPTIONS = st.builds(
    CircuitOptions,
    failure_ratio=st.sampled_from([0.2, 0.5, 1.0]),
    minimum_calls=st.integers(1, 12),
    window=st.sampled_from([1.0, 10.0]),
    consecutive_failures=st.integers(1, 6),
    open_for=st.sampled_from([0.5, 1.0, 8.0]),
    max_open_for=st.sampled_from([8.0, 60.0]),
    probes=st.integers(1, 3),
)


@dataclass
class Leave:
    """What the model remembers of a permit."""

    permit: Permit
    epoch: int
    lease_until: float
    failures: int
    settled: bool = False


class CircuitMachine(RuleBasedStateMachine):
    permits = Bundle("permits")

    @initialize(options=OPTIONS, sole=st.booleans(), draw=st.sampled_from([0.0, 0.5, 0.999]))
    def start(self, options, sole, draw):
        self.options, self.draw, self.now = options, draw, 1000.0
        self.circuit = Circuit(options, sole=sole, draw=lambda: draw)
        self.sole, self.state, self.epoch, self.openings, self.until = sole, CLOSED, 0, 0, 0.0
        self.counted, self.failures, self.recovered, self.probing, self.passed = [], 0, 0, [], 0

    # The model.

    def enter(self, state):
        self.state, self.epoch = state, self.epoch + 1
        self.recovered, self.probing, self.passed = self.failures, [], 0
        if state is not OPEN:
            self.counted = []
        if state is CLOSED:
            self.openings = 0

    def trip(self):
        options = self.options
        wait = min(options.max_open_for, options.open_for * 2**self.openings)
        if self.openings:
            wait = min(options.max_open_for, wait * (1 + self.draw / 2))
        if self.sole:
            wait = min(wait, SOLE_MAX_OPEN)
        self.openings += 1
        self.enter(OPEN)
        self.until = self.now + wait

    def alive(self):
        return [leave for leave in self.probing if leave.lease_until > self.now]

    def has_room(self):
        if self.state is HALF_OPEN:
            return len(self.alive()) + self.passed < self.options.probes
        return self.state is CLOSED or self.now >= self.until

    def expected_after(self, leave, verdict):
        """Let the model count a verdict; return the state it ends in."""
        if leave.settled or leave.epoch != self.epoch:
            return
        leave.settled = True
        if leave in self.probing:
            if leave not in self.alive():
                return
            self.probing.remove(leave)
            if verdict.blame is Blame.BAD:
                self.trip()
            elif verdict.blame is Blame.GOOD:
                self.passed += 1
                if self.passed == self.options.probes:
                    self.enter(CLOSED)
        elif self.state is CLOSED and verdict.blame is not Blame.UNKNOWN:
            self.counted.append((int(self.now / (self.options.window / 10)), verdict.blame is Blame.BAD))
            if verdict.blame is Blame.GOOD:
                self.recovered = self.failures
                return
            news = leave.failures >= self.recovered
            if verdict is not ANSWERED_500 and (not self.sole or verdict.sent is Sent.NO) and news:
                self.failures += 1
            good, bad = self.in_window()
            enough = good + bad >= self.options.minimum_calls
            if self.failures - self.recovered >= self.options.consecutive_failures or (
                enough and bad >= self.options.failure_ratio * (good + bad)
            ):
                self.trip()

    def in_window(self):
        oldest = int(self.now / (self.options.window / 10)) - 9
        recent = [bad for number, bad in self.counted if number >= oldest]
        return recent.count(False), recent.count(True)

    # What happens to both.

    @rule(seconds=PAUSES)
    def time_passes(self, seconds):
        self.now += seconds

    @rule(target=permits)
    def admit(self):
        had_room = self.has_room()
        given = self.circuit.admit(self.now)
        if not had_room:
            assert isinstance(given, Rejected)
            assert 0 < given.retry_after <= max(self.options.open_for, self.until - self.now)
            return multiple()
        assert isinstance(given, Permit)
        assert (given.transition is not None) is (self.state is OPEN)
        if self.state is OPEN:
            self.enter(HALF_OPEN)
        leave = Leave(given, self.epoch, self.now + PROBE_LEASE, self.failures)
        assert given.probe is (self.state is HALF_OPEN)
        if given.probe:
            self.probing.append(leave)
        return leave

    @rule(target=permits)
    def admit_closed(self):
        given = self.circuit.admit_closed()
        assert (given is not None) is (self.state is CLOSED)
        return multiple() if given is None else Leave(given, self.epoch, math.inf, self.failures)

    @rule(leave=permits, verdict=st.sampled_from(VERDICTS))
    def settle(self, leave, verdict):
        before = self.state
        self.expected_after(leave, verdict)
        transitions = self.circuit.settle(leave.permit, verdict, now=self.now)
        assert [t.state for t in transitions] == ([] if self.state is before else [self.state])
        for transition in transitions:
            if transition.state is OPEN:
                assert math.isclose(transition.open_for, self.until - self.now, abs_tol=1e-9)
                assert transition.open_for <= self.options.max_open_for

    @rule(leave=permits)
    def succeed_without_the_lock(self, leave):
        """False means that nothing was counted, and that `settle` has to be asked."""
        if self.circuit.succeeded(leave.permit, self.now):
            assert not leave.settled
            assert self.state is CLOSED
            self.expected_after(leave, GOOD)
        else:
            self.settle(leave, GOOD)

    @rule()
    def a_health_check_passes(self):
        early = self.state is OPEN and self.until > self.now
        transitions = self.circuit.invite(self.now)
        assert [t.state for t in transitions] == ([HALF_OPEN] if early else [])
        if early:
            self.enter(HALF_OPEN)

    @rule(state=st.sampled_from([CLOSED, OPEN, HALF_OPEN]))
    def by_hand(self, state):
        changed = state != self.state
        transitions = self.circuit.force(state, self.now)
        assert [t.state for t in transitions] == ([state] if changed else [])
        if changed:
            self.trip() if state is OPEN else self.enter(state)
        elif state is OPEN:
            wait = min(self.options.open_for, SOLE_MAX_OPEN) if self.sole else self.options.open_for
            self.until = max(self.until, self.now + wait)

    @rule(sole=st.booleans())
    def replicas_come_and_go(self, sole):
        self.sole = self.circuit.sole = sole

    # What always holds.

    @invariant()
    def agrees(self):
        circuit = self.circuit
        assert circuit.state == self.state
        assert circuit.would_admit(self.now) is self.has_room()
        assert (circuit.retry_after(self.now) == 0) is self.has_room()
        assert circuit.failures_in_a_row == self.failures - self.recovered
        assert circuit.probes_passed == self.passed
        assert len(self.alive()) + self.passed <= self.options.probes
        if self.state is CLOSED:
            assert circuit.counts(self.now) == self.in_window()

    def teardown(self):
        if not hasattr(self, "circuit"):
            return
        longest = max(self.options.max_open_for, self.options.open_for, PROBE_LEASE)
        self.now += longest
        assert isinstance(self.circuit.admit(self.now), Permit)  # whatever happened, it is not wedged


TestCircuit = CircuitMachine.TestCase
