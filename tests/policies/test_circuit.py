"""The circuit where threads meet, and its rules written out; `tests/properties` explores the rest."""

from types import SimpleNamespace

import pytest

from resilience.balancing.outage import Outage
from resilience.core.outcome import BAD, GOOD, UNKNOWN
from resilience.policies.circuit import PROBE_LEASE, SOLE_MAX_OPEN, Circuit
from resilience.policies.deep_circuit import DeepCircuit
from resilience.policies.permits import CLOSED, HALF_OPEN, OPEN, CircuitOptions, Permit, ProbePermit, Rejected
from resilience.policies.verdicts import CONNECT_FAILED, judge_status


def opened(now=0.0, **options):
    circuit = Circuit(CircuitOptions(**options), draw=lambda: 0.0)
    circuit.force(OPEN, now)
    return circuit


class Meanwhile:
    """A lock; just before it is taken, another thread closes the circuit."""

    def __init__(self, circuit):
        self.circuit, self.lock = circuit, circuit._lock
        circuit._lock = self

    def __enter__(self):
        self.circuit._lock = self.lock
        self.circuit.force(CLOSED, 0.0)
        self.lock.acquire()

    def __exit__(self, *_):
        self.lock.release()


def test_closed_by_another_thread_between_the_look_and_the_lock():
    circuit = opened()
    Meanwhile(circuit)
    permit = circuit.admit(0.0)
    assert isinstance(permit, Permit)
    assert not permit.probe
    circuit = opened()
    Meanwhile(circuit)
    assert circuit.would_admit(0.0)
    circuit = opened()
    Meanwhile(circuit)
    assert circuit.retry_after(0.0) == 0.0


def test_a_probe_that_never_returns_loses_its_lease_and_its_say():
    circuit = opened()
    lost = circuit.admit(1.0)
    assert isinstance(circuit.admit(1.0 + PROBE_LEASE - 0.1), Rejected)
    second = circuit.admit(1.0 + PROBE_LEASE)
    assert second.probe
    assert circuit.settle(lost, GOOD, now=40.0) == ()
    assert circuit.settle(lost, BAD, now=40.0) == ()
    assert circuit.state == HALF_OPEN
    assert [change.state for change in circuit.settle(second, GOOD, now=40.0)] == [CLOSED]


def test_a_lease_ends_when_it_ends():
    circuit = opened()
    probe = circuit.admit(1.0)
    assert circuit.settle(probe, GOOD, now=1.0 + PROBE_LEASE) == ()
    assert circuit.state == HALF_OPEN


def test_a_success_while_another_thread_opens_the_circuit_counts_nowhere():
    circuit = Circuit(CircuitOptions(consecutive_failures=1))
    permit = circuit.admit_closed()
    circuit.settle(circuit.admit(0.0), BAD, now=0.0)
    assert not circuit.succeeded(permit, 0.0)
    circuit.force(CLOSED, 0.0)
    assert not circuit.succeeded(permit, 0.0)
    assert circuit.settle(permit, GOOD, now=0.0) == ()
    assert circuit.counts(0.0) == (0, 0)


def test_waits_double_up_to_their_maximum_and_start_again_after_closing():
    circuit = opened(open_for=1.0, max_open_for=5.0)
    waits, now = [circuit.retry_after(0.0)], 0.0
    for _ in range(4):
        now += circuit.retry_after(now)
        circuit.settle(circuit.admit(now), BAD, now=now)
        waits.append(circuit.retry_after(now))
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]
    now += 5.0
    circuit.settle(circuit.admit(now), GOOD, now=now)
    circuit.force(OPEN, now)
    assert circuit.retry_after(now) == 1.0


def test_later_waits_are_spread():
    first, second = (Circuit(CircuitOptions(), draw=lambda draw=draw: draw) for draw in (0.0, 0.9))
    for circuit in (first, second):
        circuit.force(OPEN, 0.0)
        assert circuit.retry_after(0.0) == 1.0
        circuit.settle(circuit.admit(1.0), BAD, now=1.0)
    assert (first.retry_after(1.0), second.retry_after(1.0)) == (2.0, 2.9)


def test_reasons_are_told():
    circuit = Circuit(CircuitOptions(consecutive_failures=2, probes=2))
    circuit.settle(circuit.admit(0.0), BAD, now=0.0)
    (change,) = circuit.settle(circuit.admit(0.0), BAD, now=0.0)
    assert (change.reason, change.open_for) == ("2 failures in a row", 1.0)
    probes = circuit.admit(1.0), circuit.admit(1.0)
    assert probes[0].transition.reason == "its wait is over"
    circuit.settle(probes[0], GOOD, now=1.0)
    (change,) = circuit.settle(probes[1], GOOD, now=1.0)
    assert change.reason == "2 probes succeeded"
    for _ in range(5):
        circuit.settle(circuit.admit(2.0), GOOD, now=2.0)
    circuit.options = CircuitOptions(consecutive_failures=100)
    changes = [circuit.settle(circuit.admit(3.0), BAD, now=3.0) for _ in range(5)]
    assert changes[-1][0].reason == "5 of 10 calls failed within 10 s"


def test_the_only_endpoint_of_a_service():
    circuit = Circuit(CircuitOptions(open_for=30.0, max_open_for=60.0), sole=True)
    for _ in range(9):
        assert circuit.settle(circuit.admit(0.0), BAD, now=0.0) == ()
    circuit = Circuit(CircuitOptions(open_for=30.0, max_open_for=60.0), sole=True)
    for _ in range(5):
        circuit.settle(circuit.admit(0.0), CONNECT_FAILED, now=0.0)
    assert circuit.retry_after(0.0) == SOLE_MAX_OPEN


def test_500s_count_in_the_ratio_only():
    circuit = Circuit(CircuitOptions())
    verdict = judge_status(500, {})
    for _ in range(9):
        assert circuit.settle(circuit.admit(0.0), verdict, now=0.0) == ()
    assert circuit.failures_in_a_row == 0
    assert [change.state for change in circuit.settle(circuit.admit(0.0), verdict, now=0.0)] == [OPEN]


def test_what_is_older_than_the_window_is_forgotten():
    circuit = Circuit(CircuitOptions(consecutive_failures=100))
    for _ in range(9):
        circuit.settle(circuit.admit(0.0), BAD, now=0.0)
    assert circuit.settle(circuit.admit(11.0), BAD, now=11.0) == ()
    assert circuit.counts(11.0) == (0, 1)


def test_successes_belong_to_their_own_part_of_the_window():
    circuit = Circuit(CircuitOptions())
    for now in (0.5, 5.5):
        circuit.settle(circuit.admit(now), GOOD, now=now)
    assert circuit.counts(11.0) == (1, 0)
    assert circuit.counts(16.0) == (0, 0)


def test_a_clock_that_another_thread_read_earlier_does_no_harm():
    circuit = Circuit(CircuitOptions())
    circuit.settle(circuit.admit(50.0), BAD, now=50.0)
    circuit.settle(circuit.admit(50.0), BAD, now=3.0)
    assert circuit.counts(2.0) == (0, 2)


@pytest.mark.parametrize("verdict", [GOOD, BAD, UNKNOWN])
def test_a_permit_is_good_for_one_verdict(verdict):
    circuit = Circuit(CircuitOptions(consecutive_failures=2))
    permit = circuit.admit(0.0)
    circuit.settle(permit, verdict, now=0.0)
    before = circuit.counts(0.0)
    circuit.settle(permit, BAD, now=0.0)
    assert circuit.counts(0.0) == before


def one_a_second(circuit, until, verdicts=(BAD,)):
    """Calls of one a second each; what is counted after the last of them."""
    for second in range(until):
        for verdict in verdicts:
            circuit.settle(circuit.admit(second + 0.5), verdict, now=second + 0.5)
        expected = min(second + 1, 10)
        assert circuit.counts(second + 0.5) == (expected * verdicts.count(GOOD), expected * verdicts.count(BAD))


@pytest.mark.parametrize("verdicts", [(BAD,), (GOOD,), (GOOD, BAD), (BAD, GOOD)])
@pytest.mark.parametrize("pause", range(1, 14))
def test_the_window_holds_ten_tenths_neither_more_nor_less(verdicts, pause):
    circuit = Circuit(CircuitOptions(window=10.0, minimum_calls=10**6, consecutive_failures=10**6))
    one_a_second(circuit, 23, verdicts)
    left = max(0, 10 - pause)
    assert sum(circuit.counts(22.5 + pause)) == left * len(verdicts)
    circuit.settle(circuit.admit(22.5 + pause), GOOD, now=22.5 + pause)
    assert sum(circuit.counts(22.5 + pause)) == left * len(verdicts) + 1


@pytest.mark.parametrize("make", [Circuit, DeepCircuit])
def test_it_refuses_for_as_long_as_it_says(make):
    circuit = make(CircuitOptions(open_for=4.0))
    assert circuit.refuses(100.0) == circuit.retry_after(100.0) == 0.0
    circuit.force("open", 100.0)
    assert circuit.refuses(101.0) == circuit.retry_after(101.0) == 3.0
    assert circuit.refuses(103.5) == circuit.retry_after(103.5) == 0.5
    assert not circuit.would_admit(103.5)
    assert circuit.refuses(104.0) == circuit.retry_after(110.0) == 0.0
    assert circuit.refuses(110.0) <= 0.0
    assert circuit.would_admit(104.0)
    assert isinstance(circuit.admit(104.0), Permit)
    assert circuit.refuses(104.0) == circuit.retry_after(104.0) == 4.0, "a probe is under way: a healthy round's time"
    assert circuit.refuses(133.5) == circuit.retry_after(133.5) == 0.5, "then its lease ends"
    assert circuit.refuses(134.0) == circuit.retry_after(134.0) == 0.0


def test_a_round_counts_the_probes_that_have_passed():
    circuit = Circuit(CircuitOptions(probes=3))
    circuit.force("half-open", 100.0)
    circuit.settle(circuit.admit(100.0), GOOD, now=100.0)
    assert [type(circuit.admit(100.0)) for _ in range(3)] == [ProbePermit, ProbePermit, Rejected]


def test_failures_before_a_success_are_no_part_of_the_run():
    circuit = Circuit(CircuitOptions(consecutive_failures=5, minimum_calls=100))
    for verdict in (BAD, BAD, BAD, GOOD, BAD, BAD, BAD, BAD):
        assert circuit.settle(circuit.admit(1.0), verdict, now=1.0) == ()
    (opened,) = circuit.settle(circuit.admit(1.0), BAD, now=1.0)
    assert opened.reason == "5 failures in a row"


def test_calls_let_in_before_a_run_ended_are_no_part_of_the_next():
    """Of two kinds of calls one hangs, and the other is answered: when their time is over, dozens fail in a row."""
    circuit = Circuit(CircuitOptions())
    hanging = [circuit.admit(0.0) for _ in range(40)]
    circuit.settle(hanging.pop(), BAD, now=2.0)
    circuit.settle(circuit.admit(2.0), GOOD, now=2.1)
    later = [circuit.admit(2.1) for _ in range(5)]
    for _ in range(70):  # so that the ratio says nothing
        circuit.settle(circuit.admit(2.1), GOOD, now=2.1)
    for permit in hanging:
        assert circuit.settle(permit, BAD, now=2.2) == ()
    assert circuit.failures_in_a_row == 0
    for permit in later[:4]:
        assert circuit.settle(permit, BAD, now=2.3) == ()
    (opened,) = circuit.settle(later[4], BAD, now=2.3)
    assert opened.reason == "5 failures in a row"


@pytest.mark.parametrize("ask", [lambda circuit: circuit.admit(2.0), Circuit.admit_closed])
def test_calls_let_in_after_a_run_has_ended_are_a_run_of_their_own(ask):
    circuit = Circuit(CircuitOptions(minimum_calls=100))
    for verdict in (BAD, GOOD):
        circuit.settle(ask(circuit), verdict, now=2.0)
    for _ in range(4):
        assert circuit.settle(ask(circuit), BAD, now=2.0) == ()
    assert circuit.settle(ask(circuit), BAD, now=2.0)


def test_what_another_thread_has_closed_counts_what_it_lets_in():
    circuit = Circuit(CircuitOptions(consecutive_failures=1, minimum_calls=100))
    circuit.settle(circuit.admit(0.0), BAD, now=0.0)
    assert circuit.state is OPEN
    Meanwhile(circuit)
    assert circuit.settle(circuit.admit(0.0), BAD, now=0.0)


def test_the_ratio_is_of_all_calls():
    circuit = Circuit(CircuitOptions(consecutive_failures=100, minimum_calls=4, failure_ratio=0.5))
    for verdict in (GOOD, GOOD, GOOD, BAD, BAD):
        assert circuit.settle(circuit.admit(1.0), verdict, now=1.0) == ()
    (opened,) = circuit.settle(circuit.admit(1.0), BAD, now=1.0)
    assert opened.reason == "3 of 6 calls failed within 10 s"


def test_an_invitation_is_for_a_circuit_that_is_open_and_waits():
    circuit = Circuit(CircuitOptions(open_for=4.0))
    assert circuit.invite(1.0) == ()
    circuit.force("open", 100.0)
    assert circuit.invite(104.0) == (), "it is over already"
    assert [change.state for change in circuit.invite(103.9)] == ["half-open"]
    assert circuit.invite(103.9) == ()


def test_a_success_is_counted_though_another_thread_makes_the_counters_meanwhile():
    circuit = Circuit(CircuitOptions())
    first, other = circuit.admit(0.0), circuit.admit(0.0)

    class Raced:
        """A permit whose settling is overtaken by the first verdict of all, at the first look at it."""

        probe = spent = overtaken = False

        @property
        def generation(self):
            if not self.overtaken:
                self.overtaken = True
                circuit.settle(other, GOOD, now=0.0)
            return first.generation

    raced = Raced()
    if not circuit.succeeded(raced, 0.0):  # who is told so has to ask for the lock
        circuit.settle(other, GOOD, now=0.0)
        raced.overtaken = True
        circuit.settle(raced, GOOD, now=0.0)
    assert circuit.counts(0.0) == (2, 0)


@pytest.mark.parametrize("made", [{"probes": 1}, {"probes": 2}])
def test_fewer_probes_than_have_passed_do_not_shut_it_for_ever(made):
    circuit = opened(probes=3)
    for _ in range(2):
        circuit.settle(circuit.admit(1.0), GOOD, now=1.0)
    circuit.options = CircuitOptions(**made)
    assert circuit.refuses(1.0) == circuit.retry_after(1.0) == 0.0
    probe = circuit.admit(1.0)
    assert circuit.admit(1.0) == Rejected(1.0)
    assert [change.state for change in circuit.settle(probe, GOOD, now=1.0)] == [CLOSED]


def test_what_is_let_in_while_another_thread_closes_it_counts():
    circuit = opened(consecutive_failures=1)
    Meanwhile(circuit)
    permit = circuit.admit(0.0)
    assert [change.reason for change in circuit.settle(permit, BAD, now=0.0)] == ["1 failures in a row"]


def test_the_place_of_a_lost_probe_is_free_from_the_instant_at_which_its_lease_ends():
    circuit = opened(open_for=4.0)
    circuit.admit(4.0)
    assert circuit.retry_after(4.0 + PROBE_LEASE) == 0.0
    assert circuit.admit(4.0 + PROBE_LEASE).probe
    assert circuit.retry_after(4.0 + PROBE_LEASE) == 4.0, "a healthy round's time, and nothing of the lost probe"


@pytest.mark.parametrize("window", [0.5, 10.0, 40.0])
@pytest.mark.parametrize("verdict", [GOOD, BAD])
def test_a_verdict_counts_for_nine_tenths_of_the_window_and_up_to_one_more(window, verdict):
    options = CircuitOptions(window=window, minimum_calls=10**6, consecutive_failures=10**6)
    tenth = window / 10
    for part in (0.0, 0.25, 0.75):  # the beginning of a tenth belongs to it
        circuit = Circuit(options)
        for number in (399, 400):
            circuit.settle(circuit.admit(0.0), verdict, now=(number + part) * tenth)
        assert sum(circuit.counts(409.75 * tenth)) == 1
        assert sum(circuit.counts(410.25 * tenth)) == 0


@pytest.mark.parametrize("window", [0.5, 10.0, 40.0])
def test_a_success_is_counted_without_the_lock_unless_it_is_the_first_of_its_tenth(window):
    circuit = Circuit(CircuitOptions(window=window))
    tenth = window / 10
    for number in (400, 401):
        assert not circuit.succeeded(circuit.admit(0.0), (number + 0.25) * tenth)
        circuit.settle(circuit.admit(0.0), GOOD, now=(number + 0.25) * tenth)
        assert circuit.succeeded(circuit.admit(0.0), (number + 0.75) * tenth)
    assert circuit.counts(401.75 * tenth) == (4, 0)


def test_an_invitation_says_why():
    for reason, told in (((), "a health check passed"), (("nowhere else to go",), "nowhere else to go")):
        assert [change.reason for change in opened().invite(0.5, *reason)] == [told]


def test_one_that_was_never_open_has_nothing_to_relent():
    endpoint = SimpleNamespace(circuit=Circuit(CircuitOptions()), fit=True)
    assert Outage().relent([endpoint], 100.0, 0.0) is None


def test_a_success_without_the_lock_is_counted_once():
    circuit = Circuit(CircuitOptions())
    circuit.settle(circuit.admit(0.0), GOOD, now=0.0)
    permit = circuit.admit(0.0)
    assert circuit.succeeded(permit, 0.0)
    assert permit.spent is True
    assert not circuit.succeeded(permit, 0.0)
    assert circuit.settle(permit, BAD, now=0.0) == ()
    assert circuit.counts(0.0) == (2, 0)


def test_what_was_counted_before_it_opened_is_forgotten_when_it_lets_probes_in():
    circuit = Circuit(CircuitOptions(consecutive_failures=3, window=100.0))
    for _ in range(3):
        circuit.settle(circuit.admit(0.0), BAD, now=0.0)
    assert circuit.counts(0.5) == (0, 3)
    circuit.settle(circuit.admit(2.0), GOOD, now=2.0)
    assert (circuit.state, circuit.counts(2.0)) == ("closed", (0, 0))


def test_the_only_endpoint_is_opened_anew_by_hand_for_no_longer_than_ever():
    circuit = Circuit(CircuitOptions(open_for=60.0), sole=True)
    circuit.force(OPEN, 0.0)
    circuit.force(OPEN, 4.0)
    assert circuit.retry_after(4.0) == SOLE_MAX_OPEN
    brief = Circuit(CircuitOptions(open_for=1.0), sole=True)
    brief.force(OPEN, 0.0)
    brief.force(OPEN, 0.5)
    assert brief.retry_after(0.5) == 1.0
