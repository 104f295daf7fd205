"""Full jitter, alone and among tenacity's waits."""

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from resilience.policies.waits import Progress, as_wait, full_jitter


def state(attempt, draw):
    progress = Progress(None, (), {}, lambda: draw)
    progress.attempt_number = attempt
    return progress


@given(
    base=st.floats(1e-3, 1e3),
    factor=st.floats(1.0, 1e6),
    attempt=st.integers(1, 5000),
    draw=st.floats(0.0, 1.0, exclude_max=True),
)
def test_between_zero_and_an_exponential_bound(base, factor, attempt, draw):
    wait = full_jitter(base, base * factor)
    seconds = wait(state(attempt, draw))
    assert 0.0 <= seconds <= min(base * factor, base * 2.0 ** min(attempt - 1, 900))


def test_it_uses_all_of_its_range():
    wait = full_jitter(0.1, 10.0)
    assert wait(state(3, 0.0)) == 0.0
    assert wait(state(3, 0.5)) == 0.2


def test_tenacity_may_use_it_too():
    waits = []
    retrying = tenacity.Retrying(
        wait=full_jitter(0.1, 0.4), stop=tenacity.stop_after_attempt(6), sleep=waits.append, reraise=True
    )
    with pytest.raises(ZeroDivisionError):
        retrying(lambda: 1 / 0)
    assert len(waits) == 5
    assert all(0.0 <= seconds <= 0.4 for seconds in waits)


def test_it_is_a_tenacity_wait_among_others():
    wait = tenacity.wait_fixed(1) + full_jitter(0.1, 0.4)
    assert as_wait(wait) is wait
    assert wait(state(1, 0.5)) == 1.05
    assert full_jitter() == full_jitter(0.05, 1.0)
