"""An attempt is judged once and gives its slot back once, whatever ends it, and from wherever."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from resilience.core.attempt import Attempt, AttemptRecord
from resilience.core.endpoint import Address, Endpoint
from resilience.core.outcome import BAD, GOOD


def begin(log, **kept):
    endpoint = Endpoint(Address("10.0.0.1", 80))

    def judge(attempt, verdict, now):
        log.append(("judged", verdict, now))

    return Attempt(2, endpoint, 10.0, None, judge, lambda attempt: log.append("released"), **kept)


def test_judged_then_settled():
    log = []
    attempt = begin(log)
    assert attempt.judge(GOOD, 11.0)
    assert not attempt.judge(BAD, 12.0)
    assert not attempt.settled
    attempt.settle(BAD, 13.0)
    attempt.settle(BAD, 14.0)
    assert attempt.settled
    assert log == [("judged", GOOD, 11.0), "released"]
    assert (attempt.verdict, attempt.ended) == (GOOD, 11.0)


def test_the_slot_comes_back_even_if_judging_fails():
    log = []

    def judge(*_):
        raise KeyError

    attempt = Attempt(1, Endpoint(Address("h", 1)), 0.0, None, judge, lambda attempt: log.append("released"))
    with pytest.raises(KeyError):
        attempt.settle(GOOD, 1.0)
    assert log == ["released"]


def test_many_threads_settle_it_once():
    for _ in range(50):
        log = []
        attempt, start = begin(log), threading.Barrier(8)

        def settle(number, attempt=attempt, start=start):
            start.wait(30)
            attempt.settle(GOOD, float(number))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(settle, range(8)))
        assert len(log) == 2


def test_abandoned_to_whoever_settles_it():
    left = []
    begin([], abandon=lambda attempt, verdict: left.append(verdict)).abandon(GOOD)
    begin([]).abandon(GOOD)  # nobody takes it
    assert left == [GOOD]


def test_its_record():
    attempt = begin([])
    assert str(attempt.record()) == "attempt 2 at 10.0.0.1:80: no answer"
    attempt.waited = 0.25
    attempt.error = ConnectionError()
    attempt.settle(BAD, 10.5)
    record = attempt.record()
    assert record == AttemptRecord(2, "10.0.0.1:80", 0.5, 0.25, "bad", error="ConnectionError")
    assert str(record) == "attempt 2 at 10.0.0.1:80: ConnectionError after 0.500 s, having waited 0.250 s"
    assert str(AttemptRecord(1, None, 1.0, 0.0, "good", status=503)) == "attempt 1: 503 after 1.000 s"


def test_a_new_one_has_waited_for_nothing_and_its_status_is_recorded():
    attempt = begin([])
    assert (attempt.waited, attempt.until, attempt.body_pending) == (0.0, math.inf, False)
    attempt.status = 503
    attempt.settle(BAD, 11.0)
    assert attempt.record() == AttemptRecord(2, "10.0.0.1:80", 1.0, 0.0, "bad", status=503)
