"""``Retry-After`` is a minimum, never undercut, and never outlives the deadline. On virtual time: nobody waits here."""

from email.utils import formatdate

import httpx
import pytest

import resilience
from resilience.balancing.room import Room
from resilience.core.call import RoutedCall
from resilience.core.endpoint import Address, Endpoint
from resilience.core.slots import Line
from resilience.http.classify import classify
from resilience.policies.retry import Retry
from resilience.runtimes.entry import link
from resilience.runtimes.virtual import VirtualRuntime


class Replica:
    """Answers from a script; the last line is repeated. Remembers when it was asked."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)
        self.asked: list[float] = []


def answer(status: int, retry_after: float | str | None = None, **headers: str) -> httpx.Response:
    extra = {} if retry_after is None else {"retry-after": str(retry_after)}
    return httpx.Response(status, headers={**extra, **headers})


def play(*replicas: Replica, deadline: float = 1000.0, **options: object) -> tuple[httpx.Response, RoutedCall]:
    """Make one call through the room and the retry policy, to replicas that answer at once."""
    runtime = VirtualRuntime(start=0.0)
    line = Line()
    endpoints = [Endpoint(Address(f"10.0.0.{n}", 80), line=line) for n in range(1, len(replicas) + 1)]
    by_endpoint = dict(zip(endpoints, replicas, strict=True))

    async def exchange(call: RoutedCall) -> httpx.Response:
        replica = by_endpoint[call.attempts[-1].endpoint]
        replica.asked.append(runtime.now())
        return replica.answers.pop(0) if len(replica.answers) > 1 else replica.answers[0]

    room = Room("web:80", resilience.RoundRobin(), line, lambda _event: None, lambda _level: False)
    room.update(endpoints)
    policy = Retry(wait=0.05, budget=False, **options)
    chain = link(policy, link(room, exchange))
    call = RoutedCall(runtime, httpx.Request("GET", "http://web/"), 0.0, deadline, "web:80", True, classify)
    call.elsewhere = room.elsewhere
    return runtime.run(lambda: chain(call)), call


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("wish", [2, "2", " 2 "])
def test_the_same_endpoint_is_left_alone_for_as_long_as_it_asked(status: int, wish: object) -> None:
    replica = Replica(answer(status, wish), answer(200))
    response, _ = play(replica)
    assert response.status_code == 200
    assert replica.asked == [0.0, 2.0]


def test_a_date_counts_from_the_answers_own_clock() -> None:
    there = 1_000_000_000  # a server whose clock is decades behind
    replica = Replica(answer(503, formatdate(there + 3, usegmt=True), date=formatdate(there, usegmt=True)), answer(200))
    play(replica)
    assert replica.asked == [0.0, 3.0]


def test_the_back_off_is_kept_where_it_is_longer() -> None:
    replica = Replica(answer(503, 0.01), answer(503, 0), answer(200))
    play(replica)
    assert replica.asked == [0.0, 0.05, 0.1]


def test_a_503_binds_its_endpoint_and_nobody_else() -> None:
    first, second = Replica(answer(503, 10)), Replica(answer(503, 10))
    other = Replica(answer(200))
    response, call = play(first, second, other)
    assert response.status_code == 200
    assert call.runtime.now() == 0.0


def test_a_429_binds_the_service() -> None:
    replicas = [Replica(answer(429, 4), answer(200)) for _ in range(3)]
    play(*replicas)
    asked = sorted(instant for replica in replicas for instant in replica.asked)
    assert asked[0] == 0.0
    assert asked[1] >= 4.0


def test_when_endpoints_repeat_the_one_that_asked_is_not_undercut() -> None:
    patient, other = Replica(answer(503, 20)), Replica(answer(503))
    play(patient, other, max_attempts=6)
    assert len(patient.asked) == 1
    assert len(other.asked) == 5


def test_when_all_asked_the_shortest_wish_is_waited_for() -> None:
    slow, quick = Replica(answer(503, 20), answer(200)), Replica(answer(503, 2), answer(200))
    response, call = play(slow, quick)
    assert response.status_code == 200
    assert (len(slow.asked), len(quick.asked)) == (1, 2)
    assert call.runtime.now() == 2.0


def test_it_never_outlives_the_deadline() -> None:
    replica = Replica(answer(503, 5), answer(200))
    response, call = play(replica, deadline=4.0)
    assert response.status_code == 503
    assert (call.runtime.now(), call.why) == (0.0, "deadline")


def test_a_wish_beyond_the_limit_ends_the_call_now() -> None:
    replica = Replica(answer(503, 31), answer(200))
    response, call = play(replica)
    assert response.status_code == 503
    assert (call.runtime.now(), call.why) == (0.0, "retry-after")


@pytest.mark.parametrize("nonsense", ["", "soon", "-1", "nan", "inf", "1e3", "99999999999999999999"])
def test_what_is_no_retry_after_is_ignored(nonsense: str) -> None:
    replica = Replica(answer(503, nonsense), answer(200))
    response, call = play(replica)
    assert response.status_code == 200
    assert call.runtime.now() == 0.05
