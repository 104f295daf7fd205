"""Where several attempts wait and nothing comes back, others are preferred; nobody is refused for it."""

from hypothesis import given
from hypothesis import strategies as st

from resilience.core.endpoint import HUNG_AFTER, HUNG_FACTOR, SILENT, UNKNOWN_PATIENCE, Address, Endpoint


def endpoint(*, silent: int, usual: float | None, waiting: int = 1) -> Endpoint:
    made = Endpoint(Address("10.0.0.1", 80))
    made.silent, made.silent_since, made.usual = silent, 100.0, usual
    for _ in range(waiting):
        made.slots.take()
    return made


@given(st.integers(0, 20), st.none() | st.floats(0.0, 5.0), st.floats(0.0, 30.0), st.booleans())
def test_it_takes_several_waits_longer_than_usual(
    silent: int, usual: float | None, waited: float, waiting: bool
) -> None:
    made = endpoint(silent=silent, usual=usual, waiting=int(waiting))
    patience = UNKNOWN_PATIENCE if usual is None else max(HUNG_AFTER, HUNG_FACTOR * usual)
    now = 100.0 + waited
    assert made.hangs(now) == (waiting and silent >= SILENT and now - 100.0 > patience)
    assert made.ready(now)
