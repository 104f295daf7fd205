"""The laws of a moving limit: always within bounds, never down for healthy traffic, down for congestion."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.core.errors import ConfigurationError
from resilience.policies.laws import Aimd, Gradient2, Sample

SAMPLES = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.01, 0.5, 3.0]),
        st.floats(0.0, 20.0),
        st.integers(1, 300),
        st.booleans(),
    ),
    max_size=200,
)


@pytest.mark.parametrize("law", [Aimd(), Gradient2(), Aimd(initial=5, least=1, most=6), Gradient2(least=1, window=0.1)])
@given(samples=SAMPLES)
def test_limits_stay_within_their_bounds(law, samples):
    limit = law.begin()
    assert limit.limit == law.initial
    now = 100.0
    for passed, took, in_flight, dropped in samples:
        now += passed
        assert limit.learn(Sample(now - took, took, in_flight, dropped), now) == limit.limit
        assert law.least <= limit.limit <= law.most


@given(samples=SAMPLES, latency=st.floats(0.001, 4.0))
@pytest.mark.parametrize("law", [Aimd(), Gradient2()])
def test_at_a_steady_latency_the_limit_never_falls(law, samples, latency):
    limit = law.begin()
    now = 100.0
    for passed, _, in_flight, _ in samples:
        now += passed
        before = limit.limit
        assert limit.learn(Sample(now - latency, latency, in_flight, dropped=False), now) >= before


@given(samples=SAMPLES)
def test_aimd_steps_back_once_for_one_congestion(samples):
    law = Aimd(initial=200, least=1)
    limit = law.begin()
    for _, took, in_flight, _ in samples:
        limit.learn(Sample(100.0, took, in_flight, dropped=True), 101.0)
    assert limit.limit == (200 * 0.9 if samples else 200)


def test_aimd_counts_slow_as_dropped_and_grows_only_under_load():
    limit = Aimd().begin()
    assert limit.learn(Sample(0.0, 1.0, 9, dropped=False), 1.0) == 20
    assert limit.learn(Sample(0.0, 1.0, 10, dropped=False), 1.0) == 21
    assert limit.learn(Sample(0.0, 5.0, 11, dropped=False), 5.0) == 22
    assert limit.learn(Sample(0.0, 5.1, 11, dropped=False), 5.1) == 20


def window(limit, now, latency, in_flight=200, count=10):
    """Let a window's worth of calls end; return the limit after it."""
    for number in range(count):
        limit.learn(Sample(now, latency, in_flight, dropped=False), now + 1.0 * (number == count - 1))
    return limit.limit


@pytest.mark.parametrize("unit", [0.001, 1.0, 60.0])
def test_gradient_follows_netflixs_numbers(unit):
    limit = Gradient2(initial=100).begin()
    assert window(limit, 0.0, 1.0 * unit) == pytest.approx(0.8 * 100 + 0.2 * (100 + 4))
    # Three times as slow: long is then the mean of 1 and 3; 1.5 * 2 / 3 = 1: still fine.
    assert window(limit, 10.0, 3.0 * unit) == pytest.approx(0.8 * 100.8 + 0.2 * 104.8)
    before = limit.limit
    # long = (1 + 3 + 8) / 3 = 4; 1.5 * 4 / 8 = 0.75.
    assert window(limit, 20.0, 8.0 * unit) == pytest.approx(0.8 * before + 0.2 * (0.75 * before + 4))
    before = limit.limit
    # Never by more than half: long = (1 + 3 + 8 + 400) / 4 = 103; 1.5 * 103 / 400 = 0.39.
    assert window(limit, 30.0, 400.0 * unit) == pytest.approx(0.8 * before + 0.2 * (0.5 * before + 4))


def test_a_latency_of_another_age_is_let_down():
    limit = Gradient2(initial=100).begin()
    window(limit, 0.0, 10.0)
    window(limit, 10.0, 1.0)
    assert limit._long == pytest.approx((10.0 - 4.5) * 0.95)


def test_too_few_calls_and_idle_windows_change_nothing():
    limit = Gradient2(initial=100).begin()
    assert window(limit, 0.0, 1.0, count=9) == 100
    limit = Gradient2(initial=100).begin()
    assert window(limit, 0.0, 1.0, in_flight=49) == 100
    assert limit.learn(Sample(0.0, 1.0, 200, dropped=True), 100.0) == 100
    assert window(limit, 100.0, 0.0) == pytest.approx(100.8), "no time at all is no reason to fear"


def test_what_began_at_the_step_back_is_of_the_same_congestion():
    limit = Aimd(initial=100).begin()
    assert limit.learn(Sample(0.0, 1.0, 10, dropped=True), 1.0) == 90
    assert limit.learn(Sample(1.0, 1.0, 10, dropped=True), 2.0) == 90
    assert limit.learn(Sample(1.5, 1.0, 10, dropped=True), 2.5) == 81


def test_a_window_is_as_long_as_it_says():
    limit = Gradient2(initial=100, window=2.0).begin()
    for _ in range(30):
        limit.learn(Sample(0.0, 1.0, 200, dropped=False), 5.0)
    assert limit.learn(Sample(0.0, 1.0, 200, dropped=False), 6.9) == 100
    assert limit.learn(Sample(0.0, 1.0, 200, dropped=False), 7.0) == pytest.approx(100.8)
    assert limit.learn(Sample(0.0, 1.0, 200, dropped=False), 7.0) == pytest.approx(100.8), "a new one has begun"


def test_half_of_the_limit_is_load_enough():
    for in_flight, moved in ((49, 100.0), (50, 100.8)):
        assert window(Gradient2(initial=100).begin(), 0.0, 1.0, in_flight) == pytest.approx(moved)
    assert window(Gradient2(initial=100).begin(), 0.0, 0.5) == pytest.approx(100.8)


def test_twice_the_latency_is_not_yet_of_another_age():
    limit = Gradient2(initial=100).begin()
    window(limit, 0.0, 3.0)
    window(limit, 10.0, 1.0)
    assert limit._long == 2.0


@pytest.mark.parametrize("law", [Aimd, Gradient2])
@pytest.mark.parametrize("initial", [4, 31])
def test_an_initial_limit_out_of_bounds_is_told_the_bounds(law, initial):
    assert law(initial=5, least=5, most=30).begin().limit == 5
    assert law(initial=30, least=5, most=30).begin().limit == 30
    with pytest.raises(ConfigurationError, match="from least=5 to most=30"):
        law(initial=initial, least=5, most=30)
