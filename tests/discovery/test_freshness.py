import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.discovery.dns import Dns
from resilience.discovery.freshness import ABSENCES, IDLE, PATIENCE, Change, Freshness
from resilience.runtimes.background_virtual import VirtualBackground
from resilience.runtimes.virtual import VirtualRuntime

FAILURES = ["servfail", "refused", "timeout", "malformed"]
ABSENCE = ["nxdomain", "empty"]
chance = st.floats(0, 1, exclude_max=True)


def fresh(now=0.0, ttl=10.0, **options):
    made = Freshness(**options)
    made.used(now)
    made.asked(now)
    assert made.answered(ttl, now=now, random=0.0) is Change.REPLACE
    return made


@pytest.mark.parametrize(
    ("ttl", "wait"), [(0.0, 5.0), (1.0, 5.0), (10.0, 10.0), (600.0, 30.0), (2.0**31, 30.0), (math.inf, math.inf)]
)
def test_an_answer_is_asked_for_again_when_its_ttl_ends_within_bounds(ttl, wait):
    assert fresh(ttl=ttl).wait(0.0) == wait


@given(st.floats(0, 1e6), chance)
def test_jitter_only_shortens_a_ttl(ttl, random):
    made = fresh()
    made.answered(ttl, now=0.0, random=random)
    lasts = min(max(ttl, 5.0), 30.0)
    assert lasts * 0.9 <= made.wait(0.0) <= lasts


def test_failures_keep_the_set_and_back_off():
    made, now, waits = fresh(), 10.0, []
    for _ in range(9):
        made.used(now)
        made.asked(now)
        assert made.failed("servfail", now=now, random=0.0) is Change.KEEP
        waits.append(made.wait(now))
        now = made.due
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    made.answered(10.0, now=now, random=0.0)
    assert made.failed("timeout", now=now, random=0.0) is Change.KEEP
    assert made.wait(now) == 1.0


def test_failures_empty_the_set_when_it_has_been_stale_too_long():
    made = fresh(ttl=10.0, stale_for=100.0)
    assert made.failed("servfail", now=110.0, random=0.0) is Change.KEEP
    assert made.age(110.0) == 110.0
    assert made.failed("servfail", now=110.1, random=0.0) is Change.EMPTY
    assert made.age(110.1) == math.inf
    assert made.failed("servfail", now=111.0, random=0.0) is Change.EMPTY


@pytest.mark.parametrize("kind", ABSENCE)
def test_absence_is_believed_after_three_answers(kind):
    made = fresh()
    changes = [made.failed(kind, now=10.0 + n, random=0.0) for n in range(ABSENCES + 2)]
    assert changes == [Change.KEEP] * ABSENCES + [Change.EMPTY] * 2


def test_a_failure_between_says_nothing_about_absence():
    made = fresh()
    changes = [made.failed(kind, now=10.0, random=0.0) for kind in ["empty", "timeout", "empty", "servfail", "empty"]]
    assert changes == [Change.KEEP] * 5
    assert made.failed("nxdomain", now=10.0, random=0.0) is Change.EMPTY


@pytest.mark.parametrize(("ttl", "wait"), [(None, 5.0), (0.0, 5.0), (7.0, 7.0), (900.0, 30.0)])
def test_an_absence_is_remembered_as_long_as_it_says_within_bounds(ttl, wait):
    made = fresh()
    made.failed("nxdomain", ttl=ttl, now=0.0, random=0.0)
    assert made.wait(0.0) == wait


def test_without_a_good_answer_there_is_nothing_to_keep():
    for kind in FAILURES + ABSENCE:
        assert Freshness().failed(kind, now=0.0, random=0.0) is Change.EMPTY


@given(st.lists(st.tuples(st.sampled_from([*FAILURES, *ABSENCE, "good"]), st.floats(0, 100), chance)))
def test_a_good_set_goes_only_by_three_absences_or_age(story):
    made, now, good_until, absences = Freshness(stale_for=300.0), 0.0, -math.inf, 0
    for kind, step, random in story:
        now += step
        made.asked(now)
        if kind == "good":
            assert made.answered(10.0, now=now, random=random) is Change.REPLACE
            good_until, absences = now + 10.0, 0
        else:
            absences += kind in ABSENCE
            stands = absences <= ABSENCES and now <= good_until + 300.0
            change = made.failed(kind, now=now, random=random)
            if stands:
                assert change is Change.KEEP
            else:
                good_until = -math.inf
                assert change is Change.EMPTY
        assert 0.9 <= made.due - now <= 66.0


def test_a_failed_dial_brings_the_next_refresh_forward_once_a_second():
    made = fresh(now=0.0)
    assert made.dial_failed(0.2)
    assert made.is_due(0.2)
    assert not made.dial_failed(0.3)
    made.asked(0.3)
    assert not made.dial_failed(0.4)  # it is on its way
    made.answered(10.0, now=0.5, random=0.0)
    assert made.dial_failed(0.6)
    assert made.wait(0.6) == pytest.approx(0.6)
    assert not made.is_due(1.1)
    assert not made.dial_failed(1.1)
    assert made.is_due(1.2)
    made.asked(1.2)
    made.answered(10.0, now=1.3, random=0.0)
    assert made.dial_failed(5.0)
    assert made.is_due(5.0)


def test_an_answer_that_was_asked_for_before_a_dial_failed_is_asked_for_again_once():
    made = fresh(now=0.0)
    made.asked(10.0)
    assert not made.dial_failed(10.1)  # one is on its way, but may have been asked too early
    made.answered(10.0, now=10.2, random=0.0)
    assert made.is_due(10.2)
    made.asked(10.2)
    assert not made.dial_failed(10.3)  # within the second: the one that is on its way has to do
    made.answered(10.0, now=10.4, random=0.0)
    assert made.wait(10.4) == pytest.approx(10.0)
    made.asked(20.4)
    made.dial_failed(20.5)
    made.failed("servfail", now=20.6, random=0.0)  # who fails is not hurried
    assert made.wait(20.6) == pytest.approx(1.0)
    made.asked(21.6)
    made.answered(10.0, now=21.7, random=0.0)
    assert made.wait(21.7) == pytest.approx(10.0)


def test_a_static_list_is_not_asked_for_again_by_failed_dials():
    assert not fresh(ttl=math.inf).dial_failed(5.0)


def test_failed_dials_do_not_use_up_the_answers_that_keep_the_set():
    made = fresh()
    made.asked(20.0)
    made.failed("nxdomain", ttl=30.0, now=20.0, random=0.0)
    assert made.dial_failed(20.1)
    assert made.wait(20.0) == 5.0


def test_a_busy_name_is_never_waited_for():
    made = fresh(ttl=10.0)
    for now in range(1, 100):
        assert made.used(float(now)) == 0.0


def test_an_idle_name_is_left_alone_and_the_next_calls_wait_a_moment():
    made = fresh(ttl=10.0)
    assert made.wait(70.5) == math.inf
    assert not made.is_due(70.5)
    assert made.used(100.0) == PATIENCE
    assert made.is_due(100.0)
    assert made.used(100.1) == pytest.approx(PATIENCE - 0.1)  # with the first
    assert made.used(100.3) == 0.0  # long enough
    made.asked(100.0)
    made.answered(10.0, now=100.35, random=0.0)
    assert made.used(100.4) == 0.0


def test_a_call_after_a_pause_does_not_wait_while_answers_are_valid():
    made = Freshness(max_ttl=500.0)
    made.used(0.0)
    made.answered(300.0, now=0.0, random=0.0)
    assert made.used(200.0) == 0.0
    assert made.wait(200.0) == 100.0


def outage(kind, *, dials):
    """Ten minutes of one failure under ten calls a second, with the job a directory runs; the lookups' instants."""
    runtime = VirtualRuntime(start=0.0)
    made = fresh(ttl=10.0)
    lookups, changes, waited = [], set(), 0.0

    async def refresh():
        now = runtime.now()
        if made.is_due(now):
            made.asked(now)
            lookups.append(now)
            changes.add(made.failed(kind, now=runtime.now(), random=runtime.random()))

    handle = VirtualBackground(runtime).acquire().every(lambda: made.wait(runtime.now()), refresh, name="refresh")
    for _ in range(6_000):
        waited += made.used(runtime.now())
        if dials and made.dial_failed(runtime.now()):
            handle.hurry()
        runtime.advance(0.1)
    assert waited == 0.0
    return lookups, changes


@pytest.mark.parametrize("kind", FAILURES)
def test_in_ten_minutes_of_outage_nothing_is_lost_and_a_query_in_thirty_seconds_is_enough(kind):
    lookups, changes = outage(kind, dials=False)
    assert changes == {Change.KEEP}
    assert len(lookups) <= 600 / 30


def test_failed_dials_in_an_outage_end_at_a_query_in_thirty_seconds_too():
    lookups, _ = outage("servfail", dials=True)
    late = [later - earlier for earlier, later in pairwise(lookups) if earlier > 100]
    assert min(late) >= 30.0


def test_an_idle_job_sleeps_until_a_call_hurries_it():
    runtime = VirtualRuntime(start=0.0)
    made, lookups = Freshness(), []

    async def refresh():
        if made.is_due(runtime.now()):
            lookups.append(runtime.now())
            made.asked(runtime.now())
            made.answered(30.0, now=runtime.now(), random=0.0)

    made.used(0.0)
    handle = VirtualBackground(runtime).acquire().every(lambda: made.wait(runtime.now()), refresh, name="refresh")
    runtime.advance(1_000.0)
    assert lookups == [0.0, 30.0, 60.0]
    assert made.used(1_000.0) == PATIENCE
    handle.hurry()
    runtime.advance(IDLE)
    assert lookups == [0.0, 30.0, 60.0, 1000.0, 1030.0, 1060.0]


def test_bounds_come_from_the_resolver_that_names_them():
    assert Freshness.of(Dns(min_ttl=1, max_ttl=2, stale_for=3)).max_ttl == 2
    assert Freshness.of(object()).max_ttl == Freshness().max_ttl


def test_a_new_one_knows_nothing_and_is_due():
    made = Freshness()
    assert (made.failing, made.failures, made.absences) == (None, 0, 0)
    assert made.age(100.0) == math.inf
    assert made.failed("servfail", now=100.0, random=0.0) is Change.EMPTY
    assert made.failed("empty", now=101.0, random=0.0) is Change.EMPTY


def test_addresses_are_as_old_as_their_answer():
    assert fresh(now=100.0).age(107.0) == 7.0


def test_its_bounds_are_what_the_resolver_names():
    made = Freshness.of(SimpleNamespace(min_ttl=1, max_ttl=2.0, stale_for=3.0))
    assert (made.min_ttl, made.max_ttl, made.stale_for) == (1.0, 2.0, 3.0)
    made = Freshness.of(SimpleNamespace(max_ttl=7.0))
    assert (made.min_ttl, made.max_ttl, made.stale_for) == (5.0, 7.0, 86_400.0)


def test_a_day_is_the_longest_that_addresses_stand():
    made = fresh(ttl=10.0)
    assert made.failed("servfail", now=86_410.0, random=0.0) is Change.KEEP
    assert made.failed("servfail", now=86_410.5, random=0.0) is Change.EMPTY


@pytest.mark.parametrize(("idle", "patience"), [(IDLE, 0.0), (IDLE + 0.5, PATIENCE)])
def test_only_after_a_long_pause_does_a_call_wait_for_what_is_due(idle, patience):
    made = fresh(now=100.0, ttl=10.0)
    assert made.used(100.0 + idle) == patience
    made = fresh(now=100.0)
    made.answered(30.0, now=100.0 + idle - 30.0, random=0.0)
    assert made.used(100.0 + idle) == patience, "due at this very instant"
    made.answered(30.0, now=100.0 + idle - 29.0, random=0.0)
    assert made.used(100.0 + 3 * idle - 0.1) == PATIENCE


def test_nobody_refreshes_what_is_due_and_not_used():
    made = fresh(now=100.0)
    made.answered(30.0, now=100.0 + IDLE - 30.0, random=0.0)
    assert made.wait(100.0 + IDLE) == 0.0
    assert made.is_due(100.0 + IDLE)
    made.answered(30.0, now=100.5 + IDLE - 30.0, random=0.0)
    assert made.wait(100.0 + IDLE) == 0.5, "not due before"
    assert made.wait(100.5 + IDLE) == math.inf
    assert not made.is_due(100.5 + IDLE)


def test_what_nobody_has_used_yet_is_not_refreshed_and_its_first_call_waits():
    made = Freshness()
    assert made.wait(0.0) == math.inf
    assert not made.is_due(0.0)
    assert made.used(0.0) == PATIENCE
    assert made.is_due(0.0)


def test_a_static_list_is_not_asked_for_again_by_a_dial_that_fails_meanwhile():
    made = Freshness()
    made.used(0.0)
    made.asked(0.0)
    made.dial_failed(0.1)
    made.answered(math.inf, now=0.2, random=0.0)
    assert made.wait(0.2) == math.inf


@pytest.mark.parametrize(("random", "wait"), [(0.0, 20.0), (0.5, 19.0), (0.9, 18.2)])
def test_jitter_only_shortens_for_how_long_an_absence_is_remembered(random, wait):
    made = fresh()
    made.failed("nxdomain", ttl=20.0, now=0.0, random=random)
    assert made.wait(0.0) == pytest.approx(wait)


def test_an_absence_that_does_not_say_for_how_long_is_remembered_for_the_least_time():
    made = fresh(min_ttl=0.25)
    made.failed("nxdomain", now=0.0, random=0.0)
    assert made.wait(0.0) == 0.25


@pytest.mark.parametrize("ttl", [None, 0.0])
@pytest.mark.parametrize(("bounds", "wait"), [({}, 1.0), ({"max_ttl": 0.5}, 0.5)])
def test_where_answers_live_no_time_at_all_an_absence_does_lest_three_of_them_be_used_up_at_once(ttl, bounds, wait):
    made = fresh(min_ttl=0.0, **bounds)
    made.failed("nxdomain", ttl=ttl, now=0.0, random=0.0)
    assert made.wait(0.0) == wait
