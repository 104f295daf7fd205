import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.health.check import HealthCheck
from resilience.health.state import IDLE, HealthState
from resilience.runtimes.background_virtual import VirtualBackground
from resilience.runtimes.virtual import VirtualRuntime

chance = st.floats(0, 1, exclude_max=True)


def state(now=0.0, **options):
    return HealthState(HealthCheck("/readyz", **options), now=now)


def settle(made, good, now=0.0):
    return made.passed(now=now, random=0.5) if good else made.failed(now=now, random=0.5)


def test_an_endpoint_is_healthy_until_it_has_failed_often_enough():
    made = state(fall=2, rise=1)
    assert [settle(made, good) for good in (False, True, False, False, False)] == [None, None, None, False, None]
    assert not made.healthy
    assert settle(made, True) is True
    assert made.healthy


@given(st.lists(st.booleans()), st.integers(1, 4), st.integers(1, 4))
def test_only_a_full_row_changes_health(probes, rise, fall):
    made, healthy, row = state(rise=rise, fall=fall), True, 0
    for good in probes:
        row = 0 if good is healthy else row + 1
        if row == (rise if good else fall):
            healthy, row, expected = good, 0, good
        else:
            expected = None
        assert settle(made, good) is expected
        assert made.healthy is healthy


@given(st.booleans(), chance, st.floats(0.01, 1000))
def test_the_interval_is_kept_but_for_a_tenth(good, random, interval):
    made = state(interval=interval)
    (made.passed if good else made.failed)(now=0.0, random=random)
    assert interval * 0.9 <= made.wait(0.0) <= interval * 1.1


def test_the_first_probe_is_at_once():
    assert state(now=7.0).is_due(7.0)


def test_an_idle_endpoint_is_probed_once_a_minute_and_at_once_when_used_again():
    made = state()
    made.began(IDLE + 1)
    settle(made, True, now=IDLE + 1)
    assert made.wait(IDLE + 1) == IDLE
    assert not made.is_due(90.0)
    assert made.used(90.0)
    assert made.is_due(90.0)
    made.began(90.0)
    settle(made, True, now=90.0)
    assert made.wait(90.0) == 5.0
    assert not made.used(91.0)


@pytest.mark.parametrize("interval", [60.0, 600.0])
def test_a_long_interval_is_not_shortened_by_being_idle(interval):
    made = state(interval=interval)
    settle(made, True, now=1000.0)
    assert made.wait(1000.0) == interval


def test_a_failed_dial_asks_for_a_probe_at_once_but_not_more_than_one_a_second():
    made = state()
    made.began(0.0)
    settle(made, True)
    assert made.dial_failed(0.2)
    assert made.wait(0.2) == pytest.approx(0.8)
    assert not made.dial_failed(0.3)
    made.began(1.0)
    settle(made, False, now=1.0)
    assert made.dial_failed(3.0)
    assert made.is_due(3.0)


def test_as_a_job_a_dead_endpoint_is_out_in_two_probes_and_back_in_one():
    runtime, made, changes = VirtualRuntime(start=0.0), state(), []
    alive = True

    async def probe():
        now = runtime.now()
        if made.is_due(now):
            made.began(now)
            change = settle(made, alive, now=now)
            if change is not None:
                changes.append((now, change))

    handle = VirtualBackground(runtime).acquire().every(lambda: made.wait(runtime.now()), probe, name="probe")
    runtime.advance(12.0)
    alive = False
    if made.dial_failed(12.0):
        handle.hurry()
    runtime.advance(8.0)
    alive = True
    runtime.advance(10.0)
    assert changes == [(17.0, False), (22.0, True)]
