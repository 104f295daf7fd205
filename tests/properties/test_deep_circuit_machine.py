"""The deep circuit as a state machine: what it says it would do it does, modes hold, slow calls are seen in time."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from resilience.core.outcome import BAD, GOOD, UNKNOWN
from resilience.policies.circuit import Circuit
from resilience.policies.deep_circuit import DeepCircuit, Mode
from resilience.policies.permits import CircuitOptions, Rejected

SLOW, WINDOW, MINIMUM, RATIO, RAMP = 1.0, 10.0, 4, 0.5, 6.0


class DeepCircuitMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        options = CircuitOptions(
            failure_ratio=1.0,
            minimum_calls=MINIMUM,
            window=WINDOW,
            consecutive_failures=3,
            slow_after=SLOW,
            slow_ratio=RATIO,
            slow_start=RAMP,
            probes=2,
        )
        self.circuit = DeepCircuit(options, draw=lambda: 0.0)
        self.now = 1000.0
        self.flying = []
        self.opened_for_slowness = 0

    def told(self, transitions):
        for transition in transitions:
            if transition.state == "open" and "took longer" in transition.reason:
                self.opened_for_slowness += 1
                assert transition.open_for > 0

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0, 12.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def ask(self):
        would = self.circuit.would_admit(self.now)
        waits = self.circuit.retry_after(self.now)
        assert (waits == 0.0) == would
        permit = self.circuit.admit(self.now)
        drained = self.circuit.drain()
        self.told(drained)
        if not isinstance(permit, Rejected):
            self.flying.append(permit)
            assert would
        elif self.circuit.mode is Mode.NORMAL:
            assert not would or drained, "what would have been let in was let in, unless slow calls opened it just now"

    @precondition(lambda self: self.flying)
    @rule(which=st.integers(0, 1000), verdict=st.sampled_from([GOOD, GOOD, GOOD, BAD, UNKNOWN]))
    def end(self, which, verdict):
        permit = self.flying.pop(which % len(self.flying))
        self.told(self.circuit.settle(permit, verdict, now=self.now))
        assert self.circuit.settle(permit, BAD, now=self.now) == ()

    @rule(mode=st.sampled_from([Mode.NORMAL, Mode.NORMAL, Mode.SHADOW, Mode.DISABLED, Mode.FORCED_OPEN]))
    def overrule(self, mode):
        self.told(self.circuit.put(mode, self.now))
        assert self.circuit.mode is mode
        if mode is Mode.FORCED_OPEN:
            assert self.circuit.state == "open"
        if mode is Mode.DISABLED:
            assert self.circuit.state == "closed"

    @rule()
    def invite(self):
        self.told(self.circuit.invite(self.now))

    @invariant()
    def modes_hold(self):
        if self.circuit.mode is Mode.FORCED_OPEN:
            assert not self.circuit.would_admit(self.now)
        elif self.circuit.mode is not Mode.NORMAL:
            assert self.circuit.would_admit(self.now)

    @invariant()
    def counts_are_sane(self):
        calls, slow = self.circuit.slow_counts(self.now)
        self.told(self.circuit.drain())
        assert 0 <= slow <= calls

    @invariant()
    def never_more_probes_than_allowed(self):
        assert len(self.circuit._probes) + self.circuit.probes_passed <= 2

    @invariant()
    def what_has_been_looked_at_is_not_slow_yet(self):
        self.circuit.slow_counts(self.now)
        self.told(self.circuit.drain())
        assert all(self.now - began < SLOW for began in self.circuit._flying.values())


TestDeepCircuit = DeepCircuitMachine.TestCase


STEPS = st.tuples(
    st.sampled_from([0.0, 0.1, 1.0, 3.0]),  # seconds that pass
    st.booleans(),  # ask for a permit
    st.sampled_from([None, None, GOOD, BAD, BAD, UNKNOWN]),  # how an earlier call ends, if one does
    st.integers(0, 1000),  # which
)


@given(st.lists(STEPS, max_size=60))
def test_where_nothing_is_slow_it_opens_and_closes_as_the_plain_machine_does(steps):
    options = CircuitOptions(minimum_calls=6, consecutive_failures=3, probes=2)
    both = Circuit(options, draw=lambda: 0.0), DeepCircuit(options, draw=lambda: 0.0)
    now, flying = 1000.0, []
    for seconds, asks, verdict, which in steps:
        now += seconds
        if asks:
            permits = [circuit.admit(now) for circuit in both]
            refused = [isinstance(permit, Rejected) for permit in permits]
            assert refused[0] == refused[1]
            if not refused[0]:
                flying.append(permits)
        if verdict is not None and flying:
            permits = flying.pop(which % len(flying))
            told = [circuit.settle(permit, verdict, now=now) for circuit, permit in zip(both, permits, strict=True)]
            assert told[0] == told[1]
        assert both[0].state == both[1].state
        assert both[0].failures_in_a_row == both[1].failures_in_a_row
