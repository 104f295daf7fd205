"""Peak EWMA: estimates, penalties, silence."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from resilience.balancing.peak_ewma import PeakEwma
from resilience.core.errors import ConfigurationError
from resilience.core.outcome import BAD, GOOD, UNKNOWN
from tests.balancing.support import Trying, endpoints, fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resilience.core.endpoint import Endpoint


def balancer(known: Sequence[Endpoint], **options: float) -> PeakEwma:
    made = PeakEwma(**options)
    made.update(known)
    return made


def choices(made: PeakEwma, at: float) -> set[Endpoint | None]:
    """Return what may be picked at an instant, without the picks being remembered."""
    made.update(list(made._estimates))
    seen = set()
    for _ in range(20):
        states = {e: (s.waiting, s.silent_since) for e, s in made._estimates.items()}
        seen.add(made.pick(Trying(at=at), fit))
        for endpoint, state in states.items():
            made._estimates[endpoint].waiting, made._estimates[endpoint].silent_since = state
    return seen


def test_the_quickest_is_chosen() -> None:
    a, b, c = known = endpoints(1, 1, 1)
    made = balancer(known)
    for endpoint, seconds in ((a, 0.02), (b, 0.01), (c, 0.05)):
        made.observe(endpoint, seconds, GOOD, 0.0)
    assert choices(made, 0.0) == {b}


def test_calls_in_flight_and_weights_count() -> None:
    a, b = known = endpoints(1, 1)
    made = balancer(known)
    made.observe(a, 0.02, GOOD, 0.0)
    made.observe(b, 0.01, GOOD, 0.0)
    b.slots.taken = 2
    assert choices(made, 0.0) == {a}
    b.weight = 2
    assert choices(made, 0.0) == {b}


def test_a_peak_counts_at_once_and_fades() -> None:
    a, b = known = endpoints(1, 1)
    made = balancer(known, decay=10.0)
    made.observe(b, 0.02, GOOD, 0.0)
    made.observe(a, 0.01, GOOD, 0.0)
    made.observe(a, 1.0, GOOD, 1.0)
    assert choices(made, 1.0) == {b}
    made.observe(b, 0.02, GOOD, 45.0)
    assert choices(made, 45.0) == {a}, "1 s · exp(−4.4) is below 20 ms"


def test_the_estimate_follows_the_published_formula() -> None:
    (a,) = known = endpoints(1)
    made = balancer(known, decay=10.0)
    made.observe(a, 0.1, GOOD, 0.0)
    made.observe(a, 0.02, GOOD, 5.0)
    kept = math.exp(-0.5)
    assert made._estimates[a].cost == pytest.approx(0.02 * (1 - kept) + 0.1 * kept)
    made.observe(a, 0.5, GOOD, 6.0)
    assert made._estimates[a].cost == 0.5


@pytest.mark.parametrize(
    ("verdict", "cost"),
    [
        (BAD, 5.0),
        (replace(BAD, retry_after=60.0), 60.0),
        (replace(BAD, retry_after=1.0), 5.0),
        (replace(BAD, retry_after=86400.0), 300.0),
        (replace(GOOD, retry=True, retry_after=20.0), 20.0),  # 429
        (replace(GOOD, retry=True), 5.0),  # 408, 425
        (GOOD, 0.001),
    ],
)
def test_a_quick_failure_attracts_nothing(verdict: object, cost: float) -> None:
    a, b = known = endpoints(1, 1)
    made = balancer(known)
    made.observe(a, 0.001, verdict, 0.0)  # type: ignore[arg-type]
    made.observe(b, 0.5, GOOD, 0.0)
    assert made._estimates[a].cost == cost
    assert choices(made, 0.0) == ({b} if cost > 0.5 else {a})


def test_a_failure_slower_than_the_penalty_costs_its_time() -> None:
    (a,) = known = endpoints(1)
    made = balancer(known)
    made.observe(a, 9.0, BAD, 0.0)
    assert made._estimates[a].cost == 9.0
    made.observe(a, 0.001, BAD, 1.0)
    assert made._estimates[a].at(1.0, 10.0) == pytest.approx(9.0 * math.exp(-0.1)), (
        "and a quick one does not bring it down"
    )


def test_what_was_cut_short_can_only_raise_the_estimate() -> None:
    (a,) = known = endpoints(1)
    made = balancer(known)
    made.observe(a, 0.001, UNKNOWN, 0.0)
    assert made._estimates[a].cost < 0, "that a call was cut after 1 ms says nothing"
    made.observe(a, 0.1, UNKNOWN, 0.0)
    made.observe(a, 0.05, UNKNOWN, 1.0)
    assert made._estimates[a].at(1.0, 10.0) == pytest.approx(0.1 * math.exp(-0.1))
    made.observe(a, 0.7, UNKNOWN, 1.0)
    assert made._estimates[a].at(1.0, 10.0) == 0.7


def test_one_without_history_gets_one_call_to_prove_itself() -> None:
    a, b = known = endpoints(1, 1)
    made = balancer(known)
    made.observe(a, 0.02, GOOD, 0.0)
    assert made.pick(Trying(), fit) is b
    b.slots.taken = 1
    assert choices(made, 0.001) == {a}
    made.observe(b, 0.01, GOOD, 0.01)
    b.slots.taken = 0
    assert choices(made, 0.01) == {b}


def test_a_crowd_at_the_start_is_spread() -> None:
    known = endpoints(1, 1, 1)
    made = balancer(known)
    for _ in range(300):
        picked = made.pick(Trying(), fit)
        assert picked is not None
        picked.slots.taken += 1
    assert {endpoint.slots.taken for endpoint in known} == {100}


def test_silence_keeps_calls_away_before_the_first_timeout() -> None:
    a, b = known = endpoints(1, 1)
    made = balancer(known)
    made.observe(a, 0.010, GOOD, 0.0)
    made.observe(b, 0.015, GOOD, 0.0)
    b.slots.taken = 2
    assert made.pick(Trying(at=0.0), fit) is a
    a.slots.taken = 1  # and hangs
    assert choices(made, 0.01) == {a}
    assert choices(made, 0.1) == {b}
    made.observe(a, 0.11, GOOD, 0.11)
    made.observe(b, 0.015, GOOD, 40.0)
    assert choices(made, 40.1) == {a}, "an answer ends it, whatever else is open"


def test_a_stream_that_stays_open_does_not_keep_calls_away_for_ever() -> None:
    a, b = known = endpoints(1, 1)
    made = balancer(known)
    made.observe(a, 0.001, GOOD, 0.0)
    made.observe(b, 0.010, GOOD, 0.0)
    assert made.pick(Trying(at=0.0), fit) is a
    a.slots.taken = 1  # for hours
    assert choices(made, 4.9) == {b}
    assert choices(made, 5.0) == {a}, "as long as the penalty is too long"
    assert choices(made, 5.1) == {a}
    (c,) = endpoints(1, first=3)
    made.update([a, b, c])
    c.slots.taken = 1
    made._estimates[c].waiting = True
    assert choices(made, 5.1) == {c}, "nor one that has never answered anything else"


def test_estimates_stay_with_their_endpoints() -> None:
    a, b, c = endpoints(1, 1, 1)
    made = balancer([a, b])
    made.observe(a, 0.02, GOOD, 0.0)
    made.observe(b, 0.01, GOOD, 0.0)
    made.update([a, c])
    made.observe(b, 0.01, GOOD, 0.0)
    made.observe(c, 0.03, GOOD, 0.0)
    assert choices(made, 0.0) == {a}


def test_options() -> None:
    made = PeakEwma(timedelta(seconds=2), 1, 0.5).fresh()
    assert repr(made) == "PeakEwma(decay=2, penalty=1, default_latency=0.5)"
    for argument in ("decay", "penalty", "default_latency"):
        for value in (0, -1, math.nan, "1"):
            with pytest.raises(ConfigurationError) as caught:
                PeakEwma(**{argument: value})
            assert caught.value.argument == argument


def test_silence_counts_from_the_first_call_that_waits() -> None:
    known = endpoints(1)
    made = balancer(known, penalty=5.0)
    (a,), (estimate,) = known, made._estimates.values()
    for at, taken, since in (
        (10.0, 0, 10.0),
        (12.0, 1, 10.0),
        (14.5, 2, 10.0),
        (15.0, 1, 15.0),  # longer than the penalty is no sign any more
        (16.0, 0, 16.0),  # nobody waits: what was handed out is over
        (17.0, 1, 16.0),
    ):
        a.slots.taken = taken
        assert made.pick(Trying(at=at), fit) is a
        assert (estimate.waiting, estimate.silent_since) == (True, since)
    made.observe(a, 0.01, GOOD, 17.0)
    assert estimate.waiting is False
    assert made.pick(Trying(at=17.5), fit) is a
    assert estimate.silent_since == 17.5


def test_an_estimate_gives_way_by_how_old_it_is() -> None:
    for later in (0.5, 10.0):
        known = endpoints(1)
        made = balancer(known, decay=10.0)
        (estimate,) = made._estimates.values()
        made.observe(known[0], 1.0, GOOD, 100.0)
        made.observe(known[0], 0.0, GOOD, 100.0 + later)
        assert estimate.cost == pytest.approx(math.exp(-later / 10.0))
        made.observe(known[0], 0.0, GOOD, 90.0)
        assert estimate.cost == pytest.approx(math.exp(-later / 10.0)), "one that comes late lowers nothing"


def test_what_is_cut_raises_an_estimate_of_nothing_too() -> None:
    known = endpoints(1)
    made = balancer(known)
    (estimate,) = made._estimates.values()
    made.observe(known[0], 0.01, UNKNOWN, 100.0)
    assert estimate.cost < 0, "shorter than what is assumed, it says nothing"
    made.observe(known[0], 0.0, GOOD, 100.0)
    assert estimate.cost == 0.0
    made.observe(known[0], 0.01, UNKNOWN, 100.0)
    assert estimate.cost == 0.01


def test_what_comes_late_raises_an_estimate_by_what_is_there() -> None:
    known = endpoints(1)
    made = balancer(known)
    (estimate,) = made._estimates.values()
    made.observe(known[0], 1.0, GOOD, 100.0)
    made.observe(known[0], 1.2, UNKNOWN, 90.0)
    assert (estimate.cost, estimate.stamp) == (1.2, 100.0)


def test_an_estimate_fades_from_the_first_moment_on() -> None:
    a, b = known = endpoints(1, 1)
    made = balancer(known, decay=10.0)
    made.observe(a, 1.0, GOOD, 0.0)
    made.observe(b, 0.97, GOOD, 0.5)
    assert choices(made, 0.5) == {a}, "1 s · exp(−0.05) is below 0.97 s"


def test_a_failure_without_retry_after_costs_the_penalty_however_short() -> None:
    known = endpoints(1)
    made = balancer(known, penalty=0.5)
    (estimate,) = made._estimates.values()
    made.observe(known[0], 0.001, BAD, 0.0)
    assert estimate.cost == 0.5


def test_calls_that_this_balancer_has_not_handed_out_are_no_silence() -> None:
    a, b = known = endpoints(1, 1)
    made = balancer(known)
    made.observe(b, 0.01, GOOD, 0.0)
    a.slots.taken = 1
    assert choices(made, 0.001) == {a}, "without history, it gets its one call"


def test_an_answer_in_no_time_is_an_answer() -> None:
    a, b = known = endpoints(1, 1)
    made = balancer(known)
    made.observe(a, 0.0, GOOD, 0.0)
    made.observe(b, 0.01, GOOD, 0.0)
    assert made.pick(Trying(at=0.0), fit) is a
    a.slots.taken = 1
    assert choices(made, 0.001) == {a}, "1 ms of silence, and not what is assumed of one without history"


def test_all_of_sixteen_are_looked_at_and_of_more_a_pair() -> None:
    for count, places in ((16, [15, 15]), (17, [1, 0])):
        known = endpoints(*[1] * count)
        made = PeakEwma(draw=lambda: 0.0)
        made.update(known)
        for number, endpoint in enumerate(known):
            made.observe(endpoint, 1.0 - 0.01 * number, GOOD, 0.0)
        for place in places:
            assert choices(made, 1.0) == {known[place]}
            known[1].slots.taken = 1


def test_what_is_said_of_the_defaults() -> None:
    assert repr(PeakEwma()) == "PeakEwma(decay=10, penalty=5, default_latency=0.03)"


def test_one_that_leaves_while_it_is_picked_is_picked_all_the_same() -> None:
    a, b, c = endpoints(1, 1, 1)
    made = balancer([a, b])

    def usable(endpoint: Endpoint) -> bool:
        made.update([c])
        return endpoint is not a

    assert made.pick(Trying([b], at=0.0), usable) is b, "at the price of one that nothing is known of"
    assert made.pick(Trying(at=0.0), fit) is c
