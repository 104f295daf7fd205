"""A tally loses no step between threads."""

from concurrent.futures import ThreadPoolExecutor

from resilience.core.tally import Tally


def test_every_step_counts():
    tally = Tally()
    assert tally.value == 0
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: [tally.step() for _ in range(1000)], range(8)))
    assert tally.value == 8000
    assert tally.value == 8000, "looking does not count"
