"""Routes: who fits, who takes, who is mirrored."""

from __future__ import annotations

import io
from typing import Any, cast

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import resilience
from resilience import Route
from resilience.http.routes import Routes
from resilience.http.ways import places


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
        ({"host": "web."}, request(), True),
        ({"host": "web"}, request(url="http://web./"), True),
        ({"host": "web.:80"}, request(url="http://web./"), True),
        ({"host": "::1"}, request(url="http://[0:0:0:0:0:0:0:1]/"), True),
        ({"host": "[0:0::0:1]:9"}, request(url="http://[::1]:9/"), True),
        ({"host": "::2"}, request(url="http://[::1]/"), False),
        ({"host": "10.0.0.1"}, request(url="http://10.0.0.1/"), True),
        ({"method": "m-search"}, request("M-SEARCH"), True),
        ({"method": ["GET", "VERSION-CONTROL"]}, request("M-SEARCH"), False),
        # Nothing but "*" is magic, and what is decoded of a URL is of a pattern.
        ({"path": "/items[1]"}, request(url="http://web/items[1]"), True),
        ({"path": "/items[1]"}, request(url="http://web/items1"), False),
        ({"path": "/items[!1]*"}, request(url="http://web/items2"), False),
        ({"path": "/a%3Fb"}, request(url="http://web/a%3Fb"), True),
        ({"path": "/a%3Fb"}, request(url="http://web/axb"), False),
        ({"path": "/caf%C3%A9/*"}, request(url="http://web/caf%C3%A9/x"), True),
        ({"path": "/café/*"}, request(url="http://web/caf%c3%a9/x"), True),
        ({"path": "/a%20b"}, request(url="http://web/a b"), True),
        ({"path": "/a%2Ab"}, request(url="http://web/a*b"), True),
        ({"path": "/a%2Ab"}, request(url="http://web/axb"), False),
        ({"path": "/a%5B*%5D"}, request(url="http://web/a[7]"), True),
        ({"path": "/100%"}, request(url="http://web/100%25"), True),
        ({"path": "/a%2520b"}, request(url="http://web/a%2520b"), True),
        ({"path": "/v2/*"}, request(url="http://web/v2%2Fx"), True),
        ({"path": "*"}, request(url="http://web/a%0Ab"), True),
        ({"header": {"x-a": "b[1]"}}, request(x_a="b[1]"), True),
        ({"header": {"x-a": "b?"}}, request(x_a="bc"), False),
        ({"header": {"x-a": "50%25*"}}, request(x_a="50%25 off"), True),
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


@pytest.mark.parametrize("sticky", ["x-user", lambda _: None, lambda _: "", lambda asked: asked.headers.get("x-user")])
def test_who_has_no_value_is_divided_by_the_key_and_without_one_by_chance(sticky: Any) -> None:
    route, by_key = Route(to="canary", weight=0.5, sticky=sticky), Route(to="canary", weight=0.5)
    for key in map(str, range(30)):
        asked = keyed(key)
        asked.headers["x-user"] = ""
        assert {taken(route, asked, chance) for chance in (0.0, 0.999)} == {taken(by_key, keyed(key))}
    for empty in (keyed(None), keyed(""), request(x_user="")):
        assert [taken(route, empty, chance) for chance in (0.1, 0.9)] == [True, False]


def test_a_value_that_is_no_text_is_read_as_one() -> None:
    route = Route(to="canary", weight=0.5, sticky=lambda _: 0)  # type: ignore[arg-type, return-value]
    assert {taken(route, request(), chance) for chance in (0.0, 0.999)} == {taken(route, keyed("other"))}


FORM = {"url": "http://web/", "method": "POST"}


@pytest.mark.parametrize(
    ("body", "copied"),
    [
        ({}, True),
        ({"content": b"x"}, True),
        ({"json": {}}, True),
        ({"data": {"a": "b"}}, True),
        ({"files": {"f": b"x"}}, True),
        ({"files": {"f": "x"}}, True),
        ({"data": {"a": ["b", "c"]}, "files": [("f", ("name", b"x", "text/plain")), ("f", b"y")]}, True),
        ({"files": {"f": b"x", "g": io.BytesIO(b"x")}}, False),
        ({"content": io.BytesIO(b"x")}, False),
        ({"content": iter([b"x"])}, False),
        ({"content": [b"x"]}, False),
    ],
)
def test_what_two_can_send_at_once_is_copied_and_all_else_costs_no_budget(body: Any, copied: bool) -> None:
    budget = resilience.RetryBudget(0.0, min_per_second=1.0, ttl=1.0)
    routes = Routes([Route(to="shadow", mirror=True, budget=budget)])
    asked = httpx.Request(**FORM, **body)
    url, shadows = places(routes, asked, 0.0)
    assert url == asked.url
    assert [str(place) for place, _ in shadows] == ["http://shadow/"] * copied
    assert len(routes.mirrors(request(), 0.0)) == (not copied), "one a second"
    for _, copy in shadows:
        # Read in turns, piece by piece: what one has read the other has not.
        pairs = list(zip(cast("Any", asked.stream), cast("Any", copy.stream), strict=True))
        assert all(one == other for one, other in pairs)
        assert len(b"".join(one for one, _ in pairs)) == int(copy.headers["content-length"])


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


def test_an_update_draws_as_before() -> None:
    for draw, to in ((0.4, ("canary", None)), (0.6, None)):
        routes = Routes([], draw=lambda draw=draw: draw).renewed([Route(to="canary", weight=0.5)], 5.0)
        assert [routes.of(request()) for _ in range(20)] == [to] * 20


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
        ("method", {"method": "GE T"}),
        ("method", {"method": "GET\n"}),
        ("method", {"method": ["GET", "PÜT"]}),
        ("method", {"method": b"GET"}),
        ("path", {"path": "/s?q=*"}),
        ("path", {"path": "/s?"}),
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
    if argument in {"method", "path", "host"}:
        assert caught.value.value == given[argument], "what was given, as it was given"
    if argument in {"to", "host"}:
        assert caught.value.expected.startswith('a service: "host"')


def test_a_pattern_with_a_query_is_told_why() -> None:
    with pytest.raises(resilience.ConfigurationError, match="no query"):
        Route(to="canary", path="/s?q=*")


def test_many_stars_take_no_time() -> None:
    assert not taken(Route(to="canary", path="/" + "*a" * 12 + "b"), request(url="http://web/" + "a" * 2000))


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
