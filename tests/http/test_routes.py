"""Routes: who fits, who takes, who is mirrored."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import resilience
from resilience import Route
from resilience.http.routes import Routes


def request(method: str = "GET", url: str = "http://web/v2/items", **headers: str) -> httpx.Request:
    return httpx.Request(method, url, headers={name.replace("_", "-"): value for name, value in headers.items()})


def keyed(key: str | None) -> httpx.Request:
    found = request()
    found.extensions = {"resilience": {"key": key}}
    return found


def taken(route: Route, asked: httpx.Request, chance: float = 0.0) -> bool:
    return Routes([route], draw=lambda: chance).of(asked) is not None


@pytest.mark.parametrize(
    ("conditions", "asked", "fits"),
    [
        ({}, request(), True),
        ({"method": "get"}, request(), True),
        ({"method": ["PUT", "post"]}, request("POST"), True),
        ({"method": "POST"}, request(), False),
        ({"path": "/v2/*"}, request(), True),
        ({"path": "/v2/*"}, request(url="http://web/v2/a/b?c=/v1/"), True),
        ({"path": "/v2/*"}, request(url="http://web/v1/v2/"), False),
        ({"path": "/v2"}, request(), False),
        ({"path": "*/items"}, request(), True),
        ({"header": "x-canary"}, request(X_Canary="1"), True),
        ({"header": "X-Canary"}, request(), False),
        ({"header": {"x-canary": "y*", "accept": "*/*"}}, request(x_canary="yes", accept="*/*"), True),
        ({"header": {"x-canary": "y*"}}, request(x_canary="no"), False),
        ({"host": "web"}, request(), True),
        ({"host": "WEB:80"}, request(), True),
        ({"host": "web:443"}, request(url="https://web/"), True),
        ({"host": "web:8080"}, request(), False),
        ({"host": "other"}, request(), False),
        ({"host": "::1"}, request(url="http://[::1]:9/"), True),
        ({"host": "Bücher.internal:81"}, request(url="http://bücher.internal:81/"), True),
        ({"method": "GET", "path": "/v2/*", "header": "x"}, request(), False),
    ],
)
def test_everything_that_is_given_has_to_fit(conditions: Any, asked: httpx.Request, fits: bool) -> None:
    assert taken(Route(to="canary", **conditions), asked) is fits


def test_the_first_that_takes_the_request_counts() -> None:
    routes = Routes([Route(to="a", path="/v1/*"), Route(to="b:81", method="GET"), Route(to="c")])
    assert routes.of(request()) == ("b", 81)
    assert routes.of(request("PUT")) == ("c", None)
    assert routes.of(request(url="http://web/v1/")) == ("a", None)
    assert Routes([]).listed == ()
    assert Routes([]).of(request()) is None


def test_by_chance_without_anything_else() -> None:
    route = Route(to="canary", weight=0.2)
    assert [taken(route, request(), chance) for chance in (0.0, 0.19, 0.2, 0.9)] == [True, True, False, False]
    assert taken(route, keyed(None), 0.1)


users = st.text(min_size=1, max_size=8)


@given(users, st.floats(0.01, 1), st.floats(0.01, 1))
def test_the_same_value_always_goes_the_same_way_and_stays_when_the_weight_grows(
    user: str, one: float, two: float
) -> None:
    lower, higher = sorted([one, two])
    for make in (lambda weight: Route(to="c", weight=weight, sticky=lambda _: user), lambda w: Route(to="c", weight=w)):
        before = {taken(make(lower), keyed(user), chance) for chance in (0.0, 0.999)}
        assert len(before) == 1
        assert before == {False} or taken(make(higher), keyed(user))


@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_shares_are_those_of_the_weights(weight: float) -> None:
    route = Route(to="canary", weight=weight, sticky="x-user")
    share = sum(taken(route, request(x_user=f"user-{n}")) for n in range(4000)) / 4000
    assert share == pytest.approx(weight, abs=0.03)


def test_two_splits_are_independent() -> None:
    one, two = (Route(to=to, weight=0.5, sticky="x-user") for to in ("a", "b"))
    alike = sum(taken(one, request(x_user=str(n))) == taken(two, request(x_user=str(n))) for n in range(2000))
    assert 900 < alike < 1100


def test_who_has_not_the_header_is_divided_by_the_key() -> None:
    route = Route(to="canary", weight=0.5, sticky="x-user")
    ways = {key: taken(route, keyed(key), 0.0) for key in map(str, range(30))}
    assert set(ways.values()) == {True, False}


def test_mirrors_do_not_take_and_are_paid_for() -> None:
    budget = resilience.RetryBudget(0.5, min_per_second=0.0, ttl=1.0)
    routes = Routes([Route(to="shadow", mirror=True, path="/v2/*", budget=budget)])
    assert routes.of(request()) is None
    sent = [len(routes.mirrors(request(), 0.0)) for _ in range(100)]
    assert sum(sent) == 50
    assert routes.mirrors(request(url="http://web/v1"), 0.0) == []


def test_an_update_is_no_new_budget_for_the_copies_to_a_service() -> None:
    def shadow(to: str, ttl: float = 10.0) -> Route:
        return Route(to=to, mirror=True, budget=resilience.RetryBudget(0.0, min_per_second=1.0, ttl=ttl))

    def copies(of: Routes) -> int:
        return sum(len(of.mirrors(request(), 5.0)) for _ in range(50))

    routes = Routes([shadow("one")])
    assert copies(routes) == 10
    again = routes.renewed([Route(to="canary", path="/v2/*"), shadow("one"), shadow("two", ttl=4.0)], 5.0)
    assert again.of(request()) == ("canary", None)
    assert copies(again) == 4, "those to the new one"
    assert copies(again.renewed([shadow("one", ttl=12.0), shadow("two", ttl=5.0)], 5.0)) == 2 + 1
    assert copies(routes.renewed([], 5.0).renewed([shadow("one")], 5.0)) == 10, "it was gone in between"


def test_mirrors_have_a_weight_too() -> None:
    budget = resilience.RetryBudget(1.0)
    numbers = iter([0.05, 0.5])
    routes = Routes([Route(to="shadow:81", mirror=True, weight=0.1, budget=budget)], draw=lambda: next(numbers))
    assert routes.mirrors(request(), 0.0) == [("shadow", 81)]
    assert routes.mirrors(request(), 0.0) == []


@pytest.mark.parametrize(
    ("argument", "given"),
    [
        ("to", {"to": ""}),
        ("to", {"to": "http://canary"}),
        ("to", {"to": 3}),
        ("to", {"to": "bü cher"}),
        ("to", {"to": "bücher:0"}),
        ("host", {"host": "a/b"}),
        ("host", {"host": "bü/cher"}),
        ("method", {"method": ""}),
        ("method", {"method": []}),
        ("method", {"method": 3}),
        ("method", {"method": ["GET", 1]}),
        ("path", {"path": "v2/*"}),
        ("path", {"path": 2}),
        ("header", {"header": ""}),
        ("header", {"header": {}}),
        ("header", {"header": {"x": 1}}),
        ("header", {"header": 7}),
        ("weight", {"weight": 0}),
        ("weight", {"weight": 1.1}),
        ("sticky", {"sticky": ""}),
        ("sticky", {"sticky": 5}),
        ("budget", {"budget": 0.1}),
    ],
)
def test_bad_arguments(argument: str, given: dict[str, Any]) -> None:
    with pytest.raises(resilience.ConfigurationError) as caught:
        Route(**{"to": "canary", **given})
    assert caught.value.argument == argument
    if argument in {"to", "host"}:
        assert caught.value.expected.startswith('a service: "host"')


@pytest.mark.parametrize("given", [3, [3], ["canary"]])
def test_routes_are_routes(given: Any) -> None:
    with pytest.raises(resilience.ConfigurationError) as caught:
        resilience.Client(routes=given)
    assert caught.value.argument == "routes"


def test_a_function_of_the_request_divides_them_and_no_routes_are_none() -> None:
    route = Route(to="canary", weight=0.5, sticky=lambda asked: asked.headers["x-user"])
    by_header = Route(to="canary", weight=0.5, sticky="x-user")
    for user in map(str, range(20)):
        assert taken(route, request(x_user=user)) is taken(by_header, request(x_user=user))
    assert not Routes([]).listed
    assert Routes([route])


def test_the_whole_share_takes_whatever_is_drawn() -> None:
    assert taken(Route(to="canary"), request(), 0.999)
    assert not taken(Route(to="canary", weight=0.9), request(), 0.9)
