"""The throttle's counts against a plain list of calls."""

from hypothesis import given
from hypothesis import strategies as st

from resilience.core.outcome import Blame
from resilience.policies.throttle import Acceptance

STEPS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.3, 1.0, 5.0, 20.0]), st.sampled_from(["ask", *Blame]), st.integers(0, 5)),
    max_size=80,
)


@given(STEPS)
def test_the_share_is_the_formulas(steps):
    acceptance = Acceptance(2.0, 12.0, 0.8)  # slices of one second
    now = 100.0
    asked = []  # [slice, state]: a call that was made and is remembered
    for passed, what, which in steps:
        now += passed
        latest = int(now)
        asked = [call for call in asked if call[0] > latest - 12]
        if what == "ask":
            number = acceptance.ask(now, 1.0 - 1e-9)
            assert number == latest, "with the highest draw nothing is refused"
            asked.append([latest, "open"])
        else:
            under_way = [call for call in asked if call[1] == "open"]
            if len(under_way) > which:
                call = under_way[which]
                acceptance.settle(call[0], what, now)
                call[1] = what
                asked = [call for call in asked if call[1] is not Blame.UNKNOWN]
        accepted = sum(
            call[1] is Blame.GOOD or (call[1] == "open" and call[0] in {latest, latest - 1}) for call in asked
        )
        expected = min(0.8, max(0.0, (len(asked) - 2.0 * accepted) / (len(asked) + 1)))
        assert acceptance.refusal(now) == expected


@given(st.integers(0, 50), st.integers(0, 50), st.floats(0.0, 1.0, exclude_max=True))
def test_a_call_is_refused_exactly_when_its_draw_is_below_the_share(good, bad, draw):
    acceptance = Acceptance(2.0, 12.0, 0.8)
    for blame in [Blame.GOOD] * good + [Blame.BAD] * bad:
        acceptance.settle(acceptance.ask(100.0, 1.0), blame, 100.0)
    share = acceptance.refusal(100.0)
    assert (acceptance.ask(100.0, draw) is None) == (draw < share)
