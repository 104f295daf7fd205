from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from resilience.core.endpoint import Address
from resilience.discovery.trials import MOST_TRIALS, Trial, Trials

FIRST, SECOND = Address("10.0.0.1", 53), Address("10.0.0.2", 53)
TROUBLES = ["truncated", "no-edns", "timeout", "unreachable", "servfail", "refused", "malformed"]


def course(servers, *troubles, remaining=10.0):
    """Play the troubles in order; return the trials they met."""
    trials = Trials(servers)
    made = []
    for trouble in troubles:
        made.append(trials.next(remaining))
        if made[-1] is None:
            break
        trials.note(trouble)
    else:
        made.append(trials.next(remaining))
    return made, trials.kind


def test_silence_leads_to_the_next_server_and_to_more_patience():
    made, kind = course([FIRST, SECOND], *["timeout"] * 6)
    assert made == [
        Trial(FIRST, 0.5),
        Trial(SECOND, 0.5),
        Trial(FIRST, 1.0),
        Trial(SECOND, 1.0),
        Trial(FIRST, 2.0),
        Trial(SECOND, 2.0),
        None,
    ]
    assert kind == "timeout"


def test_servers_that_cannot_say_are_asked_once():
    assert course([FIRST, SECOND], "servfail", "refused") == ([Trial(FIRST, 0.5), Trial(SECOND, 0.5), None], "servfail")
    made, kind = course([FIRST, SECOND], "servfail", "timeout", "timeout")
    assert made == [Trial(FIRST, 0.5), Trial(SECOND, 0.5), Trial(SECOND, 1.0), Trial(SECOND, 2.0)]
    assert kind == "servfail"


def test_a_server_that_is_not_there_is_asked_once():
    assert course([FIRST], "unreachable") == ([Trial(FIRST, 0.5), None], "timeout")


def test_truncated_means_the_same_server_over_tcp():
    made, kind = course([FIRST, SECOND], "truncated", "timeout", "timeout", "timeout")
    assert made[:3] == [Trial(FIRST, 0.5), Trial(FIRST, 0.5, tcp=True), Trial(SECOND, 0.5)]
    assert made[3] == Trial(FIRST, 1.0, tcp=True)
    assert kind == "timeout"
    assert course([FIRST], "truncated", "truncated") == (
        [Trial(FIRST, 0.5), Trial(FIRST, 0.5, tcp=True), None],
        "malformed",
    )


def test_a_server_too_old_for_edns_is_asked_without():
    made, _ = course([FIRST], "no-edns", "no-edns")
    assert made == [Trial(FIRST, 0.5), Trial(FIRST, 0.5, edns=False), None]


def test_little_time_is_shared_by_the_servers_still_to_ask():
    made, _ = course([FIRST, SECOND], remaining=0.6)
    assert made == [Trial(FIRST, 0.3)]
    assert course([FIRST], remaining=0.0)[0] == [None]
    assert course([FIRST], remaining=-1.0)[0] == [None]
    assert course([])[0] == [None]


@given(st.integers(1, 4), st.data())
def test_no_server_is_asked_more_than_three_times_over_one_transport(servers, data):
    trials = Trials([Address(f"10.0.0.{n}", 53) for n in range(servers)])
    asked = Counter()
    while (trial := trials.next(10.0)) is not None:
        asked[trial.server, trial.tcp] += 1
        assert 0 < trial.timeout <= 2.0
        trials.note(data.draw(st.sampled_from(TROUBLES)))
    assert max(asked.values()) <= MOST_TRIALS + 1  # and once without EDNS
    assert trials.kind in TROUBLES


def test_over_tcp_all_trials_begin_anew_and_patience_does_not():
    made, kind = course([FIRST], "timeout", "timeout", "truncated", "timeout", "timeout", "timeout")
    assert made == [
        Trial(FIRST, 0.5),
        Trial(FIRST, 1.0),
        Trial(FIRST, 2.0),
        Trial(FIRST, 2.0, tcp=True),
        Trial(FIRST, 2.0, tcp=True),
        Trial(FIRST, 2.0, tcp=True),
        None,
    ]
    assert kind == "timeout"


def test_a_millisecond_is_the_least_that_is_of_use():
    assert Trials([FIRST]).next(0.001) == Trial(FIRST, 0.001)
    assert Trials([FIRST]).next(0.000_999) is None
