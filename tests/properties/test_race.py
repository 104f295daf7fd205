"""The race of a hedged call, whatever may happen: the winner is the first good answer, sends keep their times."""

import heapq
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.core.errors import OverloadedError
from resilience.core.outcome import Blame, Err, Ok, Sent, Verdict
from resilience.policies.race import Ending, Race, Send, Take, Wait, ending_of

ENDINGS = st.sampled_from(list(Ending))
TIMES = st.sampled_from([0.0, 0.25, 1.0, 1.5, 4.0])


@given(
    script=st.lists(st.tuples(TIMES, ENDINGS), min_size=5, max_size=5),
    after=st.sampled_from([0.25, 1.0, 2.0]),
    most=st.integers(1, 5),
    allowed=st.integers(0, 5),
    postponed=st.integers(0, 2) | st.just(math.inf),
)
def test_every_race_is_fair(script, after, most, allowed, postponed):
    race = Race(after=after, most=most)
    now = 100.0
    began = {}
    ended = {}
    under_way = []
    reasons = {}

    def begin():
        number = race.began(now)
        assert number == len(began)
        began[number] = now
        took, ending = script[number]
        heapq.heappush(under_way, (now + took, number, ending))

    begin()
    last = now
    for _ in range(100):
        step = race.next(now)
        if isinstance(step, Take):
            break
        if isinstance(step, Send):
            assert step.beside == bool(under_way)
            if postponed and step.beside:
                postponed -= 1
                race.postpone(now)
                last = now
                assert not isinstance(race.next(now), Send), "who is told that it is of no use waits"
            elif allowed:
                allowed -= 1
                reasons[len(began)] = (now - last, [ended[n] for n in ended])
                begin()
                last = now
            else:
                race.close()
            continue
        assert isinstance(step, Wait)
        assert step.until > now
        next_end = under_way[0][0]
        if next_end <= step.until:
            now, number, ending = heapq.heappop(under_way)
            race.ended(number, ending)
            ended[number] = ending
        else:
            now = step.until
    else:
        raise AssertionError("the race never ends")

    assert len(began) <= most
    accepted = [number for number, ending in ended.items() if ending is Ending.ACCEPTED]
    if accepted:
        assert step.number == accepted[0], "the first good answer wins"
    else:
        assert not under_way, "no failure wins while a send is under way"
        real = [number for number, ending in ended.items() if ending is not Ending.REJECTED]
        assert step.number == (real[-1] if real else list(ended)[-1])
    for since, before in reasons.values():
        assert since >= after or Ending.FAILED in before
        assert not {Ending.FINAL, Ending.REJECTED} & set(before), "no send follows what cannot be mended"


def test_a_wait_has_an_end_only_while_another_send_may_follow():
    race = Race(after=1.0, most=2)
    race.began(0.0)
    assert race.next(0.5) == Wait(1.0)
    assert race.next(1.0) == Send(beside=True)
    race.began(1.0)
    assert race.next(9.0) == Wait(math.inf)
    race.ended(1, Ending.FAILED)
    assert race.next(9.0) == Wait(math.inf)
    race.ended(0, Ending.FAILED)
    assert race.next(9.0) == Take(0)


def test_failures_are_followed_at_once():
    race = Race(after=10.0, most=3)
    race.began(0.0)
    race.ended(0, Ending.FAILED)
    assert race.next(0.1) == Send(beside=False)
    race.began(0.1)
    assert race.next(0.2) == Wait(10.1)


def test_a_failures_haste_ends_where_another_send_would_be_of_no_use():
    race = Race(after=1.0, most=3)
    race.began(0.0)
    race.began(1.0)
    race.ended(0, Ending.FAILED)
    assert race.next(1.5) == Send(beside=True)
    race.postpone(1.5)
    assert race.next(1.5) == Wait(2.5)
    assert race.next(2.5) == Send(beside=True)


def test_a_rejection_that_comes_last_does_not_hide_the_failure_before_it():
    race = Race(after=10.0, most=3)
    race.began(0.0)
    race.ended(0, Ending.FAILED)
    race.began(0.1)
    race.ended(1, Ending.REJECTED)
    assert race.next(0.2) == Take(0)


@pytest.mark.parametrize(
    ("outcome", "blame", "retry", "retry_after", "ending"),
    [
        (Ok("fine"), Blame.GOOD, False, None, Ending.ACCEPTED),
        (Ok("500"), Blame.BAD, False, None, Ending.FINAL),
        (Ok("503"), Blame.BAD, True, None, Ending.FAILED),
        (Ok("429"), Blame.GOOD, True, 5.0, Ending.FINAL),
        (Err(ValueError("404")), Blame.GOOD, False, None, Ending.FINAL),
        (Err(ValueError("500")), Blame.BAD, False, None, Ending.FINAL),
        (Err(ConnectionError()), Blame.BAD, True, None, Ending.FAILED),
        (Err(OverloadedError("full")), Blame.UNKNOWN, True, None, Ending.REJECTED),
    ],
)
def test_what_an_outcome_means_for_the_race(outcome, blame, retry, retry_after, ending):
    assert ending_of(outcome, Verdict(blame, retry, Sent.MAYBE, retry_after)) is ending
