"""The sliding quantile against the true one."""

import math

from hypothesis import given
from hypothesis import strategies as st

from resilience.policies.latencies import Latencies, quantile


@given(
    samples=st.lists(st.floats(0.0, 100.0), min_size=1, max_size=300),
    q=st.sampled_from([0.5, 0.9, 0.95, 0.99]),
    ceiling=st.sampled_from([0.01, 1.0, 1000.0]),
)
def test_the_quantile_is_right_to_five_percent(samples, q, ceiling):
    latencies = Latencies()
    wanted = quantile(q, ceiling=ceiling)
    for sample in samples:
        latencies.observe(sample, 1000.0)
    delay = latencies.delay(wanted, 1000.0)
    if len(samples) < wanted.least:
        assert delay == ceiling
        return
    true = sorted(samples)[math.ceil(q * len(samples) - 1e-9) - 1]
    lowest = min(ceiling, max(0.001, true))
    assert lowest <= delay * (1 + 1e-9)
    assert delay <= min(ceiling, max(0.001, true * 1.0501, 1e-4)) * (1 + 1e-9)


@given(st.lists(st.tuples(st.floats(0.0, 40.0), st.sampled_from([0.01, 0.5])), max_size=60))
def test_what_is_old_is_forgotten(steps):
    latencies = Latencies()
    wanted = quantile(0.5, ceiling=60.0)
    now = 1000.0
    seen = []
    for passed, sample in steps:
        now += passed
        latencies.observe(sample, now)
        seen.append((now, sample))
    now += 3.0
    delay = latencies.delay(wanted, now)
    recent = [sample for when, sample in seen if when >= now - 20.0]
    remembered = [sample for when, sample in seen if when >= now - 30.0]
    if len(remembered) < 2:
        assert delay == 60.0
    elif len(recent) >= 2 and len(set(remembered)) == 1:
        assert remembered[0] <= delay * 1.0000001 <= remembered[0] * 1.06


def test_it_is_computed_anew_every_three_seconds():
    latencies = Latencies()
    wanted = quantile(0.5, ceiling=60.0)
    for _ in range(5):
        latencies.observe(0.1, 1000.0)
    known = latencies.delay(wanted, 1000.0)
    for _ in range(50):
        latencies.observe(10.0, 1001.0)
    assert latencies.delay(wanted, 1002.9) == known
    assert latencies.delay(wanted, 1003.0) > 9.0


def test_late_observations_count_as_now():
    latencies = Latencies()
    latencies.observe(0.1, 2000.0)
    latencies.observe(0.1, 1000.0)
    assert latencies.delay(quantile(0.5, ceiling=60.0), 2000.0) < 0.11


def test_the_longest_and_the_shortest_have_a_place():
    for sample in (0.0, 1e9):
        latencies = Latencies()
        for _ in range(2):
            latencies.observe(sample, 0.0)
        assert 0.001 <= latencies.delay(quantile(0.5, ceiling=10.0), 0.0) <= 10.0


def test_a_new_one_knows_nothing_and_each_of_three_slices_counts():
    wanted = quantile(0.5, ceiling=60.0)
    latencies = Latencies()
    assert latencies.delay(wanted, 0.0) == 60.0
    for start in range(0, 100, 10):
        latencies = Latencies()
        for late in (0.0, 10.0, 20.0):
            latencies.observe(0.5, start + late)
        assert latencies.delay(quantile(0.66, ceiling=60.0), start + 20.0) < 0.53, "three are enough for this one"
        latencies = Latencies()
        latencies.observe(0.5, start + 0.0)
        for late in (10.0, 30.0):
            latencies.observe(0.5, start + late)
        assert latencies.delay(quantile(0.66, ceiling=60.0), start + 30.0) == 60.0, "one of them is too old"


def test_the_shortest_have_a_bucket_of_their_own():
    latencies = Latencies()
    for sample in (0.0, 5e-5, 1e-4):
        latencies.observe(sample, 0.0)
    assert latencies._counts[0][:2] == [3, 0]


def test_nearly_eight_hours_are_told_from_a_little_less():
    latencies = Latencies()
    for _ in range(2):
        latencies.observe(28_000.0, 0.0)
    assert 28_000.0 <= latencies.delay(quantile(0.5, ceiling=1e6), 0.0) <= 28_000.0 * 1.05
