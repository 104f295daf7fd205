"""What a row says of a cell: losses, calls in time, sends, duplicates, recovery, the noise rule."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from benchmarks.scoreboard.row import Evidence, Seen, quantile, row
from benchmarks.scoreboard.scenarios import SCENARIOS, Scenario
from benchmarks.scoreboard.schedule import Due, schedule

PLAN = Scenario(name="test", title="a test", seconds=4.0, starts=1.0, ends=3.0, objective=0.1)
EVERY = [Due(n / 10, "unsafe" if n % 10 == 5 else "safe") for n in range(40)]


def evidence(**changes: object) -> Evidence:
    healthy = Evidence(
        due=EVERY,
        latencies=[0.01] * len(EVERY),
        errors={},
        requests=[Seen("GET", "/items", str(n)) for n in range(len(EVERY))],
        above=[],
        connections=3,
        lags=[0.001] * len(EVERY),
        cpu=0.04,
        waited=0.0,
        proxy_cpu=0.0,
    )
    return replace(healthy, **changes)  # type: ignore[arg-type]


def test_all_is_well() -> None:
    found = row(PLAN, evidence())
    assert (found["success"], found["within"], found["lost"], found["recovered"]) == (1.0, 1.0, 0, 0.0)
    assert (found["sends"], found["sends_during"], found["duplicated"]) == (1.0, 1.0, 0)
    assert (found["p50"], found["p99"], found["cpu"]) == (10.0, 10.0, 1.0)


def test_posts_are_counted_apart() -> None:
    found = row(PLAN, evidence(errors={"5": "ReadError"}))
    assert (found["success"], found["posts"], found["posts_lost"]) == (1.0, 4, 1)


def test_a_late_answer_is_an_answer_but_not_in_time() -> None:
    latencies = [0.01] * len(EVERY)
    latencies[12] = 0.2
    found = row(PLAN, evidence(latencies=latencies))
    assert found["success"] == 1.0
    assert found["within"] == pytest.approx(35 / 36, abs=1e-5)


def test_what_never_ended_is_lost_and_its_latency_is_not_a_number() -> None:
    latencies = [None if n >= 30 else 0.01 for n in range(len(EVERY))]
    found = row(PLAN, evidence(latencies=latencies, errors={str(n): "unanswered" for n in range(30, 40)}))
    assert found["lost"] == 9
    assert found["p99"] is None
    assert found["recovered"] is None


def test_requests_without_an_id_are_nobodys_call() -> None:
    requests = [*evidence().requests, Seen("GET", "/health", ""), Seen("GET", "/warm-up", "")]
    assert row(PLAN, evidence(requests=requests))["sends"] == 1.0


def test_sends_during_the_fault_are_of_the_calls_due_in_it() -> None:
    again = [Seen("GET", "/items", str(n)) for n in range(10, 30)]
    found = row(PLAN, evidence(requests=[*evidence().requests, *again]))
    assert found["sends_during"] == 2.0
    assert found["sends"] == 1.5


def test_of_several_tiers_the_busiest_counts() -> None:
    above = [[str(n) for n in range(40)] * 3, [str(n) for n in range(40)]]
    found = row(PLAN, evidence(above=above))
    assert (found["sends"], found["sends_during"]) == (3.0, 3.0)


def test_a_post_read_twice_by_any_tier_is_duplicated() -> None:
    requests = [*evidence().requests, Seen("POST", "/orders", "5")]
    assert row(PLAN, evidence(requests=requests))["duplicated"] == 1
    assert row(PLAN, evidence(above=[["15", "15"]]))["duplicated"] == 1
    assert row(PLAN, evidence(requests=[*evidence().requests, Seen("GET", "/items", "4")]))["duplicated"] == 0


def test_recovery_is_the_end_of_the_last_bad_window_counted_from_the_fault() -> None:
    errors = {"11": "ReadError", "12": "ReadError"}
    assert row(PLAN, evidence(errors=errors))["recovered"] == 0.5
    assert row(replace(PLAN, recovers_from="ends"), evidence(errors={"36": "ReadError"}))["recovered"] is None
    assert row(replace(PLAN, recovers_from="ends"), evidence(errors={"31": "ReadError"}))["recovered"] == 0.5


def test_trouble_before_the_fault_is_no_trouble_of_the_fault() -> None:
    assert row(PLAN, evidence(errors={"2": "ReadError"}))["recovered"] == 0.0


def test_the_noise_rule() -> None:
    assert row(PLAN, evidence())["kept"]
    assert not row(PLAN, evidence(lags=[0.006] * len(EVERY)))["kept"]
    one_in_two_hundred = [0.5] + [0.0] * 199
    assert row(PLAN, evidence(lags=one_in_two_hundred))["kept"]


def test_a_quantile_is_a_value_that_occurred() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([1.0, 2.0], 0.99) == 2.0
    assert math.isnan(quantile([], 0.5))


def test_a_schedule_is_the_same_for_all_and_its_calls_come_in_order() -> None:
    plan = SCENARIOS["hundred-hung"]
    due = schedule(plan, "1/2")
    assert due == schedule(plan, "1/2")
    assert due != schedule(plan, "1/3")
    assert due == sorted(due)
    assert {it.kind for it in due} == {"safe", "unsafe", "hanging"}
    assert all(plan.starts <= it.at < plan.ends for it in due if it.kind == "hanging")
    assert len([it for it in due if it.kind != "hanging"]) == pytest.approx(plan.rate * plan.seconds, rel=0.15)
