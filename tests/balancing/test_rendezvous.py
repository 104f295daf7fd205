"""Rendezvous: keys, where they come from, where they go, and how much one endpoint may carry."""

from __future__ import annotations

import math
from collections import Counter
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from resilience.balancing.rendezvous import Rendezvous
from resilience.core.errors import ConfigurationError
from tests.balancing.support import Trying, endpoints, fit


def homes(balancer: Rendezvous, keys: int = 500) -> dict[str, Any]:
    return {key: balancer.pick(Trying(key=key), fit) for key in map(str, range(keys))}


def of(known: Any, **options: Any) -> Rendezvous:
    made = Rendezvous(**options)
    made.update(known)
    return made


def test_every_client_comes_to_the_same_choice_in_any_order() -> None:
    known = endpoints(*[1] * 7)
    assert homes(of(known)) == homes(of(known[::-1]))
    assert {key: str(home.address) for key, home in homes(of(known), 4).items()} == {
        "0": "10.0.0.1:80",
        "1": "10.0.0.5:80",
        "2": "10.0.0.1:80",
        "3": "10.0.0.7:80",
    }, "whatever the version or the machine"


def test_keys_go_by_weight() -> None:
    a, b, c = known = endpoints(1, 1, 2)
    shares = Counter(homes(of(known), 4000).values())
    assert shares[c] == pytest.approx(2000, rel=0.1)
    assert shares[a] == pytest.approx(1000, rel=0.15)
    assert shares[b] == pytest.approx(1000, rel=0.15)


def test_only_the_keys_of_one_that_leaves_move_and_they_come_back() -> None:
    known = endpoints(*[1] * 6)
    balancer = of(known)
    before = homes(balancer)
    balancer.update(known[1:])
    moved = {key for key, home in homes(balancer).items() if home is not before[key]}
    assert moved == {key for key, home in before.items() if home is known[0]}
    balancer.update(known)
    assert homes(balancer) == before
    known[0].mark(healthy=False)
    assert {key for key, home in homes(balancer).items() if home is not before[key]} == moved


def test_a_crowded_home_sends_its_keys_to_their_next_one() -> None:
    known = endpoints(*[1] * 10)
    balancer = of(known)
    seen = []
    for _ in range(20):
        picked = balancer.pick(Trying(key="hot"), fit)
        assert picked is not None
        picked.slots.taken += 1
        seen.append(picked)
        assert picked.slots.taken <= math.ceil(1.25 * len(seen) / 10)
    for endpoint in known:
        endpoint.slots.taken = 0
    assert balancer.pick(Trying(key="hot"), fit) is seen[0]


def test_the_bound_counts_usable_endpoints_and_weights() -> None:
    a, b, c = known = endpoints(1, 1, 6)
    balancer = of(known, bounded_load=1.0)
    c.mark(draining=True)
    c.slots.taken = 100
    for _ in range(10):
        picked = balancer.pick(Trying(key="hot"), fit)
        assert picked is not None
        picked.slots.taken += 1
    assert {a.slots.taken, b.slots.taken} == {5}
    c.mark(draining=False)
    c.slots.taken = 0
    for _ in range(30):
        picked = balancer.pick(Trying(key="hot"), fit)
        assert picked is not None
        picked.slots.taken += 1
    assert c.slots.taken == 30


def test_without_a_bound_a_key_keeps_its_home() -> None:
    known = endpoints(*[1] * 5)
    balancer = of(known, bounded_load=math.inf)
    home = balancer.pick(Trying(key="hot"), fit)
    assert home is not None
    home.slots.taken = 1000
    assert balancer.pick(Trying(key="hot"), fit) is home


def test_crowded_rather_than_tried_and_either_rather_than_nothing() -> None:
    a, b = known = endpoints(1, 1)
    balancer = of(known, bounded_load=1.0)
    a.slots.taken = 10
    assert balancer.pick(Trying([b], key="k"), fit) is a
    assert balancer.pick(Trying([a, b], key="k"), fit) in known


def test_many_keys_are_forgotten_and_found_again() -> None:
    known = endpoints(*[1] * 3)
    balancer = of(known)
    before = homes(balancer, 20)
    homes(balancer, 6000)
    assert homes(balancer, 20) == before


@pytest.mark.parametrize(
    ("options", "headers", "key"),
    [
        ({"header": "X-User"}, {"x-user": "42"}, "42"),
        ({"header": "X-User"}, {}, None),
        ({"cookie": "session"}, {"cookie": 'a=1; session="abc=="; session=no'}, "abc=="),
        ({"cookie": "session"}, {"cookie": "a=1"}, None),
        ({"cookie": "session"}, {}, None),
        ({"key": lambda request: request.url.path}, {}, "/x"),
        ({"key": lambda request: 7}, {}, "7"),
        ({"key": lambda request: None}, {}, None),
        ({"key": lambda request: 0}, {}, "0"),
        ({"key": lambda request: ""}, {}, None),
        ({"header": "X-User"}, {"x-user": ""}, None),
        ({"cookie": "session"}, {"cookie": "session="}, None),
        ({"cookie": "session"}, {"cookie": 'session=""'}, None),
        ({}, {"x-user": "42"}, None),
    ],
)
def test_where_the_key_comes_from(options: dict[str, Any], headers: dict[str, str], key: str | None) -> None:
    known = endpoints(*[1] * 50)
    balancer = of(known, **options)
    request = httpx.Request("GET", "http://web/x", headers=headers)
    picked = [balancer.pick(Trying(request=request), fit) for _ in range(50)]
    if key is None:
        assert set(picked) == set(known), "in turn"
    else:
        assert set(picked) == {balancer.pick(Trying(key=key), fit)}
    assert balancer.pick(Trying(key="own", request=request), fit) is balancer.pick(Trying(key="own"), fit)
    assert balancer.key_of(Trying(request=request)) == balancer.key_of(Trying(key="", request=request)) == key
    assert balancer.key_of(Trying(key="own", request=request)) == "own"


def test_a_request_without_headers_has_no_key() -> None:
    known = endpoints(1, 1)
    balancer = of(known, header="X-User")
    assert {balancer.pick(Trying(request=((), {})), fit) for _ in range(2)} == set(known)


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"header": ""}, "header"),
        ({"cookie": 3}, "cookie"),
        ({"key": "user"}, "key"),
        ({"header": "a", "cookie": "b"}, "cookie"),
        ({"header": "a", "key": str}, "key"),
        ({"bounded_load": 0.9}, "bounded_load"),
        ({"bounded_load": math.nan}, "bounded_load"),
        ({"bounded_load": True}, "bounded_load"),
        ({"bounded_load": "2"}, "bounded_load"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], argument: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Rendezvous(**options)
    assert caught.value.argument == argument


def test_says_what_it_is() -> None:
    assert repr(Rendezvous(header="X-User")) == "Rendezvous(header='X-User', bounded_load=1.25)"


def test_all_that_becomes_unusable_under_ones_hands_ends_no_call() -> None:
    known = endpoints(1, 1)
    balancer = Rendezvous()
    balancer.update(known)
    for endpoint in known:
        endpoint.slots.taken = 3
    answers = iter([True])
    picked = balancer.pick(Trying(key="k"), lambda _: next(answers, False))
    assert picked in known


@pytest.mark.parametrize(
    "options",
    [{"header": "x-user"}, {"cookie": "user"}, {"key": str}, {"bounded_load": 2.0}, {"bounded_load": math.inf}],
)
def test_a_fresh_one_is_of_the_same_options(options: Any) -> None:
    def draw() -> float:
        return 0.5

    made = Rendezvous(**options, draw=draw)
    for again in (made.fresh(), made.fresh().fresh(draw=draw)):
        assert again is not made
        for name in ("header", "cookie", "key", "bounded_load", "_draw"):
            assert getattr(again, name) == getattr(made, name), name


def test_a_cookies_quotes_are_no_part_of_it_and_an_x_is() -> None:
    known = endpoints(*[1] * 7)
    by_cookie, by_key = of(known, cookie="user"), of(known)
    for value in ("XaX", "Xa", "b", "cX"):
        for header in (f'a=1; user="{value}"', f"user={value}; user=other"):
            asked = httpx.Request("GET", "http://web/", headers={"cookie": header})
            assert by_cookie.pick(Trying(request=asked), fit) is by_key.pick(Trying(key=value), fit)


def test_any_text_may_be_a_key() -> None:
    known = endpoints(*[1] * 7)
    assert homes(of(known), 1) == homes(of(known[::-1]), 1)
    for key in (" ", "ä", "\ud800", "\x00"):  # a lone surrogate: what undecodable bytes are read as
        assert of(known).pick(Trying(key=key), fit) is of(known[::-1]).pick(Trying(key=key), fit)


def test_a_cookie_is_found_in_headers_that_tell_cases_apart() -> None:
    known = endpoints(*[1] * 50)
    balancer = of(known, cookie="user")
    request = SimpleNamespace(headers={"cookie": "user=42"})
    picked = {balancer.pick(Trying(request=request), fit) for _ in range(50)}
    assert picked == {balancer.pick(Trying(key="42"), fit)}
