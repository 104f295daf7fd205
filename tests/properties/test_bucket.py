"""The token bucket against its promise: in any span of L seconds at most ``burst + rate * L`` turns."""

from hypothesis import given
from hypothesis import strategies as st

from resilience.policies.rate_limit import Bucket, TooMany, Turn

STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.1, 0.25, 1.0, 7.0]),
        st.sampled_from([0.0, 0.0, 0.5, 3.0]),
        st.sampled_from([None, None, 0, 1]),
    ),
    max_size=60,
)


@given(steps=STEPS, rate=st.sampled_from([0.5, 1.0, 4.0, 10.0]), burst=st.integers(1, 5))
def test_turns_keep_the_rate_and_none_is_refused_without_need(steps, rate, burst):
    bucket = Bucket(rate, burst)
    now = 100.0
    turns = []
    for passed, longest, give_back in steps:
        now += passed
        answer = bucket.take(now, longest)
        if isinstance(answer, Turn):
            assert now <= answer.at <= now + longest
            turns.append(answer)
        else:
            assert answer.wait > longest
        if give_back is not None:
            waiting = [turn for turn in turns if turn.at > now]
            if len(waiting) > give_back:
                turns.remove(waiting[give_back])
                bucket.give_back(waiting[give_back], now)
    instants = sorted(turn.at for turn in turns)
    for first, begin in enumerate(instants):
        for last in range(first, len(instants)):
            span = instants[last] - begin
            assert last - first + 1 <= burst + rate * span + 1e-6


@given(st.sampled_from([0.5, 1.0, 3.0, 10.0]), st.integers(1, 5))
def test_who_keeps_the_rate_is_never_refused(rate, burst):
    bucket = Bucket(rate, burst)
    for number in range(50):
        assert not isinstance(bucket.take(100.0 + number / rate * (1 + 1e-9), 0.0), TooMany)


@given(st.sampled_from([0.5, 1.0, 3.0, 10.0]), st.integers(1, 5))
def test_a_pause_fills_the_bucket_to_the_burst(rate, burst):
    bucket = Bucket(rate, burst)
    while not isinstance(bucket.take(100.0, 0.0), TooMany):
        pass
    later = 100.0 + burst / rate + 1.0
    assert sum(isinstance(bucket.take(later, 0.0), Turn) for _ in range(20)) == burst


@given(
    st.sampled_from([0.5, 1.0, 3.0, 10.0]),
    st.integers(1, 5),
    st.integers(0, 40).flatmap(lambda many: st.permutations(range(many))),
)
def test_when_the_whole_line_has_given_up_a_pause_fills_the_bucket_all_the_same(rate, burst, order):
    bucket = Bucket(rate, burst)
    while not isinstance(bucket.take(100.0, 0.0), TooMany):
        pass
    line = [bucket.take(100.0, 1e9) for _ in order]
    for number in order:
        bucket.give_back(line[number], 100.0)
    later = 100.0 + burst / rate + 1e-6
    assert sum(isinstance(bucket.take(later, 0.0), Turn) for _ in range(20)) == burst
