"""TargetLatency: never down while anything is in time, down to what is, once per round trip, and up again."""

import heapq
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilience.core.errors import ConfigurationError
from resilience.policies.laws import Sample
from resilience.policies.target_latency import TargetLatency

SAMPLES = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.01, 0.2, 3.0]),
        st.sampled_from([0.0, 0.01, 0.25, 0.26, 0.6, 4.0]),
        st.integers(1, 300),
        st.booleans(),
    ),
    max_size=200,
)
LAWS = [TargetLatency(0.25), TargetLatency(0.25, least=1, most=7), TargetLatency(1.0, least=8, most=8)]


@pytest.mark.parametrize("law", LAWS)
@given(samples=SAMPLES)
def test_it_stays_within_its_bounds_and_takes_bounded_steps(law, samples):
    limit = law.begin()
    assert limit.limit == law.most
    now, stepped = 100.0, -math.inf
    for passed, took, in_flight, dropped in samples:
        now += passed
        before = limit.limit
        after = limit.learn(Sample(now - took, took, in_flight, dropped), now)
        assert after == limit.limit
        assert law.least <= after <= law.most
        if after < before:
            late = dropped or took > law.target
            assert late, "an answer in time lowers nothing"
            assert now - took > stepped, "one step for all calls of one congestion"
            assert after >= max(law.least, min(before, in_flight) * 0.5)
            stepped = now
        elif dropped or took > law.target:
            assert after == before, "nothing late raises it"


@given(samples=SAMPLES, every=st.integers(1, 5))
def test_an_answer_in_time_among_five_keeps_it_up(samples, every):
    limit = TargetLatency(0.25).begin()
    now = 100.0
    for number, (passed, took, in_flight, dropped) in enumerate(samples):
        now += passed
        before = limit.limit
        sample = Sample(now - took, took, in_flight, dropped)
        if number % every == 0:
            sample = Sample(now - 0.2, 0.2, in_flight, dropped=False)
        assert limit.learn(sample, now) >= before


def late(limit, now, count, *, took=1.0, in_flight=100, over=1.0):
    """Let that many late ones end, spread over so many seconds."""
    for number in range(count):
        at = now + over * number / max(1, count - 1)
        limit.learn(Sample(at - took, took, in_flight, dropped=False), at)
    return limit.limit


def test_four_late_ones_are_no_evidence_and_five_at_once_neither():
    assert late(TargetLatency(0.25).begin(), 0.0, 4) == 200
    assert late(TargetLatency(0.25).begin(), 0.0, 50, over=0.1) == 200
    assert late(TargetLatency(0.25).begin(), 0.0, 5) == 50


def test_so_few_in_flight_make_no_line():
    assert late(TargetLatency(0.25, least=4).begin(), 0.0, 50, in_flight=4, over=9.0) == 200


@pytest.mark.parametrize(("quickest", "left"), [(0.2501, 90), (0.3, 100 / 1.2), (0.5, 50), (9.0, 50)])
def test_it_falls_by_the_share_by_which_the_quickest_was_late(quickest, left):
    limit = TargetLatency(0.25).begin()
    for at, took in enumerate([9.5, 9.1, quickest, 9.2, 9.3]):
        limit.learn(Sample(at, took, 100, dropped=False), float(at))
    assert limit.limit == pytest.approx(left)


def test_a_refusal_is_quick_and_late_all_the_same():
    limit = TargetLatency(0.25).begin()
    for at in range(5):
        limit.learn(Sample(at, 0.0, 100, dropped=True), float(at))
    assert limit.limit == 90


def test_it_grows_by_one_a_round_trip_where_it_is_used():
    limit = TargetLatency(0.25).begin()
    assert late(limit, 0.0, 5, in_flight=20) == 10
    for _ in range(10):
        limit.learn(Sample(2.0, 0.1, 10, dropped=False), 2.1)
    assert 10.9 < limit.limit <= 11
    unused = limit.limit
    limit.learn(Sample(2.0, 0.1, 5, dropped=False), 2.1)
    assert limit.limit == unused


def test_what_is_not_used_is_forgotten_after_twenty_targets():
    limit = TargetLatency(0.25, most=80).begin()
    assert late(limit, 0.0, 5, in_flight=40) == 20
    reached = [limit.learn(Sample(at, 0.1, 1, dropped=False), at + 0.1) for at in (5.8, 5.9, 10.8, 11.0, 16.1, 99.0)]
    assert reached == [20, 40, 40, 80, 80, 80]


class Replica:
    """A server with two workers that answers first come, first served, and works on what its callers have left."""

    def __init__(self):
        self.free = [0.0, 0.0]

    def take(self, now, work):
        done = max(now, self.free[0]) + work
        heapq.heapreplace(self.free, done)
        return done


@settings(max_examples=20)
@given(target=st.sampled_from([0.15, 0.25, 0.4]), load=st.floats(1.2, 4.0))
def test_half_of_its_capacity_gone_a_server_goes_on_to_answer_in_time(target, load):
    limit, replica = TargetLatency(target).begin(), Replica()
    ends: list[tuple[float, float, int]] = []
    answered = []
    work, now = 0.06, 0.0  # 33 a second; the load is a multiple of that
    while now < 20.0:
        now += work / 2 / load
        while ends and ends[0][0] <= now:
            end, began, in_flight = heapq.heappop(ends)
            limit.learn(Sample(began, end - began, in_flight, dropped=False), end)
            answered.append((end, end - began))
        if len(ends) < math.floor(limit.limit):
            heapq.heappush(ends, (replica.take(now, work), now, len(ends) + 1))
    settled = [took for end, took in answered if end >= 8.0]
    assert len(settled) >= 0.97 * 12.0 / work * 2, "the server is never idle"
    assert max(settled) <= 1.5 * target + 2 * work


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: TargetLatency(0), "target"),
        (lambda: TargetLatency(math.nan), "target"),
        (lambda: TargetLatency("0.3"), "target"),
        (lambda: TargetLatency(0.3, least=0), "least"),
        (lambda: TargetLatency(0.3, least=2.5), "least"),
        (lambda: TargetLatency(0.3, least=9, most=8), "most"),
        (lambda: TargetLatency(0.3, most=True), "most"),
    ],
)
def test_bad_arguments_are_named(make, argument):
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.argument == argument


def learn(limit, at, *, took=1.0, in_flight=100):
    """Let one call end; return the limit after it."""
    return limit.learn(Sample(at - took, took, in_flight, dropped=False), at)


@pytest.mark.parametrize(("over", "left"), [(0.1249, 200), (0.125, 50), (0.2, 50)])
def test_half_a_target_is_long_enough(over, left):
    assert late(TargetLatency(0.25).begin(), 1024.0, 5, over=over) == left


@pytest.mark.parametrize(("took", "left"), [(0.25, 200), (0.2501, 90)])
def test_the_target_itself_is_still_well(took, left):
    assert late(TargetLatency(0.25).begin(), 0.0, 5, took=took) == pytest.approx(left, rel=1e-3)


def test_one_in_time_and_one_step_down_begin_the_count_anew():
    limit = TargetLatency(0.25).begin()
    late(limit, 0.0, 4)
    learn(limit, 1.5, took=0.1, in_flight=1)
    assert late(limit, 2.0, 4) == 200
    assert learn(limit, 3.5) == 50
    assert late(limit, 10.0, 4) == 50
    assert learn(limit, 11.5, in_flight=50) == 25


def test_what_began_at_the_step_down_is_of_the_same_congestion():
    limit = TargetLatency(0.25).begin()
    assert late(limit, 0.0, 5) == 50
    for at in (2.0, 2.5, 3.0, 3.5):
        limit.learn(Sample(1.0, at - 1.0, 50, dropped=False), at)
    assert limit.learn(Sample(1.0, 3.0, 50, dropped=False), 4.0) == 50
    for at in (2.0, 2.5, 3.0, 3.5):
        limit.learn(Sample(1.001, at - 1.001, 50, dropped=False), at)
    assert limit.learn(Sample(1.001, 2.999, 50, dropped=False), 4.0) == 25


@pytest.mark.parametrize(("in_flight", "grown"), [(4, 10.0), (5, 10.1), (6, 10.1)])
def test_half_of_the_limit_is_use_enough(in_flight, grown):
    limit = TargetLatency(0.25).begin()
    assert late(limit, 0.0, 5, in_flight=20) == 10
    assert learn(limit, 2.1, took=0.1, in_flight=in_flight) == pytest.approx(grown)
