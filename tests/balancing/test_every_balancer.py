"""What holds of every balancer, whatever it chooses by."""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from resilience.balancing.least_request import LeastRequest
from resilience.balancing.peak_ewma import PeakEwma
from resilience.balancing.random import Random
from resilience.balancing.rendezvous import Rendezvous
from resilience.balancing.round_robin import RoundRobin
from resilience.balancing.tiers import weight_of
from tests.balancing.support import Trying, endpoints, fit, picks

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilience.core.endpoint import Endpoint

MAKES: list[Callable[[], Any]] = [RoundRobin, LeastRequest, PeakEwma, Random, Rendezvous]
FEW, MANY = 3, 18  # all are looked at, or two of them


@pytest.fixture(params=MAKES, ids=lambda make: make.__name__)
def balancer(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture(params=["alike", "weighted"])
def weights(request: pytest.FixtureRequest) -> Callable[[int], list[float]]:
    return {"alike": lambda n: [1.0] * n, "weighted": lambda n: [1.0 + i % 3 for i in range(n)]}[request.param]


def test_without_endpoints_there_is_none(balancer: Any) -> None:
    assert balancer.pick(Trying(key="k"), fit) is None
    balancer.update(endpoints(1, 1))
    balancer.update([])
    assert balancer.pick(Trying(key="k"), fit) is None


def test_a_fresh_one_has_the_same_options_and_shares_nothing(balancer: Any) -> None:
    balancer.update(endpoints(1))
    other = balancer.fresh()
    assert type(other) is type(balancer)
    assert repr(other) == repr(balancer)
    assert other.pick(Trying(key="k"), fit) is None
    assert balancer.pick(Trying(key="k"), fit) is not None


@pytest.mark.parametrize("count", [FEW, MANY])
def test_the_same_random_numbers_give_the_same_choices(balancer: Any, count: int) -> None:
    numbers = [0.13, 0.71, 0.44, 0.98, 0.27]
    seen = []
    for _ in range(2):
        left = numbers * 40
        known = endpoints(*[1] * count)
        made = balancer.fresh(draw=left.pop)
        made.update(known)
        seen.append([known.index(endpoint) for endpoint in picks(made, 20)])
    assert seen[0] == seen[1]


@pytest.mark.parametrize("count", [FEW, MANY])
def test_a_copy_draws_from_where_the_first_one_does(balancer: Any, count: int) -> None:
    known = endpoints(*[1] * count)
    seen = []
    for copies in (0, 1, 2):
        made = balancer.fresh(draw=random.Random(4).random)
        for _ in range(copies):
            made = made.fresh()
        made.update(known)
        seen.append(picks(made, 20))
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("count", [1, 2, FEW, MANY, 40])
def test_the_only_usable_one_is_found(balancer: Any, count: int, weights: Callable[[int], list[float]]) -> None:
    known = endpoints(*weights(count))
    balancer.update(known)
    for endpoint in known[1:]:
        endpoint.mark(healthy=False)
    for key in "abcdefgh":
        assert balancer.pick(Trying(key=key), fit) is known[0]
        assert balancer.pick(Trying(known, key=key), fit) is known[0], "tried, for want of another"
    known[0].mark(healthy=False)
    assert balancer.pick(Trying(key="k"), fit) is None


@pytest.mark.parametrize("count", [FEW, MANY])
def test_the_only_untried_one_is_found(balancer: Any, count: int, weights: Callable[[int], list[float]]) -> None:
    known = endpoints(*weights(count))
    balancer.update(known)
    for key in "abcdefgh":
        assert balancer.pick(Trying(known[:-1], key=key), fit) is known[-1]


@pytest.mark.parametrize("count", [FEW, MANY])
def test_lower_tiers_first(balancer: Any, count: int, weights: Callable[[int], list[float]]) -> None:
    near, far = endpoints(*weights(count)), endpoints(*weights(count), tier=1)
    balancer.update([*far, *near])
    for key in "abcdefgh":
        assert balancer.pick(Trying(key=key), fit) in near
        assert balancer.pick(Trying(near, key=key), fit) in far
        assert balancer.pick(Trying([*near, *far], key=key), fit) in near
    for endpoint in near:
        endpoint.mark(draining=True)
    for key in "abcdefgh":
        assert balancer.pick(Trying(key=key), fit) in far


@pytest.mark.parametrize("count", [FEW, MANY])
def test_an_endpoint_that_has_left_is_not_picked(balancer: Any, count: int) -> None:
    known = endpoints(*[1] * count)
    balancer.update(known)
    picks(balancer, count)
    balancer.update(known[1:])
    assert known[0] not in {balancer.pick(Trying(key=str(key)), fit) for key in range(300)}


@pytest.mark.parametrize("count", [FEW, MANY])
def test_one_that_is_listed_twice_counts_once(count: int) -> None:
    robin = RoundRobin()
    known = endpoints(*[1] * count)
    robin.update([*known, known[0]])
    assert Counter(picks(robin, 10 * count)) == dict.fromkeys(known, 10)


@pytest.mark.parametrize("make", [Random, LeastRequest])
@pytest.mark.parametrize("count", [4, MANY])
def test_idle_endpoints_get_their_weights(make: Any, count: int) -> None:
    known = endpoints(*[3.0, 1.0] * (count // 2))
    balancer = make(draw=random.Random(5).random)
    balancer.update(known)
    seen = Counter(picks(balancer, 4000))
    heavy = sum(seen[endpoint] for endpoint in known[::2]) / sum(seen[endpoint] for endpoint in known[1::2])
    assert 2.7 < heavy < 3.3


@pytest.mark.parametrize("count", [FEW, MANY])
def test_many_threads_and_updates_at_once(balancer: Any, count: int, weights: Callable[[int], list[float]]) -> None:
    known = endpoints(*weights(count))
    balancer.update(known)
    bad: list[object] = []
    done = threading.Event()

    def work(number: int) -> None:
        try:
            for turn in range(400):
                call = Trying(known[:1] if turn % 3 else (), at=turn / 100, key=str(turn * number))
                picked: Endpoint | None = balancer.pick(call, fit)
                if picked is None or picked not in known:
                    bad.append(picked)
        except BaseException as error:
            bad.append(error)

    def change() -> None:
        turn = 0
        while not done.is_set():
            turn += 1
            balancer.update(known[: 2 + turn % (count - 1)])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    changing = threading.Thread(target=change)
    for thread in [changing, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    changing.join()
    assert not bad


@pytest.mark.parametrize("weight", [0.0, -1.0])
def test_a_weight_of_nothing_counts_as_next_to_nothing(weight: float) -> None:
    assert [0 < weight_of(endpoint) < 1e-3 for endpoint in endpoints(weight)] == [True]
    assert list(map(weight_of, endpoints(0.5))) == [0.5]
