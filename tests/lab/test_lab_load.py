"""Open-loop load: sent on schedule, timed from the schedule."""

import math
import threading

import anyio
import pytest

from resilience.lab import Report, Sample, run_load, run_load_blocking


@pytest.mark.anyio
async def test_calls_leave_on_schedule_whatever_becomes_of_the_others() -> None:
    last = anyio.Event()

    async def call(number: int) -> str:
        if number == 19:
            last.set()
        await last.wait()  # a closed loop would never get to the last call
        return "ab"[number % 2]

    with anyio.fail_after(10):
        report = await run_load(call, rate=1000, seconds=0.02)
    assert [sample.scheduled for sample in report.samples] == [number / 1000 for number in range(20)]
    assert report.success_ratio == 1
    assert report.shares() == {"a": 0.5, "b": 0.5}


@pytest.mark.anyio
async def test_failures_are_results() -> None:
    seen: list[Sample] = []

    async def call(number: int) -> object:
        if number % 2:
            message = "no"
            raise ValueError(message)
        return number

    report = await run_load(call, rate=1000, seconds=0.01, on_sample=seen.append)
    assert (report.success_ratio, report.errors(), report.shares()) == (0.5, {"ValueError: no": 5}, {})
    assert sorted(seen) == list(report.samples)


@pytest.mark.anyio
async def test_what_does_not_end_is_cancelled_and_failed() -> None:
    async def call(_: int) -> None:
        await anyio.sleep_forever()

    with anyio.fail_after(10):
        report = await run_load(call, rate=1000, seconds=0.005, drain=0.01)
    assert (report.success_ratio, report.errors()) == (0, {"unanswered": 5})


@pytest.mark.anyio
async def test_a_cancelled_run_ends() -> None:
    async def call(_: int) -> None:
        await anyio.sleep_forever()

    with anyio.move_on_after(0.02) as scope:
        await run_load(call, rate=1000, seconds=60)
    assert scope.cancelled_caught


def test_blocking_calls_leave_on_schedule_too() -> None:
    last = threading.Event()
    seen: list[Sample] = []

    def call(number: int) -> str:
        if number == 9:
            last.set()
            message = "no"
            raise ValueError(message)
        assert last.wait(10)
        return "a"

    report = run_load_blocking(call, rate=1000, seconds=0.01, on_sample=seen.append)
    assert (report.success_ratio, report.shares(), report.errors()) == (0.9, {"a": 1.0}, {"ValueError: no": 1})
    assert sorted(seen) == list(report.samples)


def test_too_few_threads_show_as_lag() -> None:
    order: list[int] = []
    report = run_load_blocking(order.append, rate=1000, seconds=0.01, workers=1)
    assert order == list(range(10))
    assert run_load_blocking(order.append, rate=1000, seconds=0.002).success_ratio == 1
    assert all(sample.latency >= sample.lag for sample in report.samples)


@pytest.mark.parametrize(("rate", "seconds", "named"), [(0, 1, "rate=0"), (1, math.inf, "seconds=inf")])
def test_bad_loads_are_refused(rate: float, seconds: float, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        run_load_blocking(id, rate=rate, seconds=seconds)


REPORT = Report(
    10, 1, tuple(Sample(n / 10, n / 100, n / 1000, n != 3, "E" if n == 3 else None, "ab"[n > 6]) for n in range(10))
)


def test_a_report() -> None:
    assert REPORT.success_ratio == 0.9
    assert [sample.scheduled for sample in REPORT.failed] == [0.3]
    assert [REPORT.quantile(q) for q in (0, 0.5, 0.99, 1)] == [0, 0.04, 0.09, 0.09]
    assert REPORT.quantile(0.5, since=0.2, until=0.5) == 0.03
    assert REPORT.lag_p99 == 0.009
    assert REPORT.shares() == {"a": 0.7, "b": 0.3}
    assert REPORT.shares(since=0.7) == {"b": 1.0}
    assert REPORT.between(0.4).success_ratio == 1
    with pytest.raises(ValueError, match="q=2"):
        REPORT.quantile(2)


def test_a_report_of_nothing() -> None:
    empty = REPORT.between(2)
    assert (empty.success_ratio, empty.shares()) == (1, {})
    assert math.isnan(empty.quantile(0.5))
    assert math.isnan(empty.lag_p99)
