"""Routes, as a client takes them: real servers, mocks, every kind of client."""

import threading
from collections import Counter
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

import resilience
from resilience import Route
from resilience.core.propagation import Inbound, inbound
from resilience.lab import Authority, Fleet, Server
from tests.http.support import CONTEXT, Face, static

WEB = "http://web.internal/v2/items"


def of(fleet: Fleet) -> dict[str, resilience.Service]:
    """Three services, of one server each."""
    return {name: static(server) for name, server in zip(("web.internal", "canary", "shadow"), fleet, strict=True)}


async def until(done: Any) -> None:
    """Let others run until something has come about."""
    with anyio.fail_after(10):
        while not done():
            await anyio.lowlevel.checkpoint()


async def test_a_request_that_fits_goes_elsewhere_and_says_what_it_said(mode: str, fleet: Fleet) -> None:
    routes = [Route(to="canary", path="/v2/*", method="GET")]
    async with Face(mode, services=of(fleet), routes=routes) as face:
        there = await face.get(WEB)
        assert there.json()["server"] == "b"
        assert str(there.url) == WEB
        assert (await face.get("http://web.internal/v1")).json()["server"] == "a"
        assert (await face.post(WEB)).json()["server"] == "a"
        assert set(face.client.status().services) == {"canary:80", "web.internal:80"}


async def test_users_stay_where_they_are(mode: str, fleet: Fleet) -> None:
    routes = [Route(to="canary", weight=0.3, sticky="x-user")]
    seen: dict[str, set[str]] = {}
    for _ in range(2):  # another client, another process: the same ways
        async with Face(mode, services=of(fleet), routes=routes) as face:
            for number in range(40):
                user = f"user-{number}"
                answer = await face.get(WEB, headers={"x-user": user})
                seen.setdefault(user, set()).add(answer.json()["server"])
    assert all(len(servers) == 1 for servers in seen.values())
    assert 4 <= Counter(next(iter(servers)) for servers in seen.values())["b"] <= 20


async def test_copies_go_to_the_shadow_and_nobody_waits_for_it(mode: str, fleet: Fleet) -> None:
    fleet[2].fault(status=503)
    routes = [Route(to="shadow", mirror=True, budget=resilience.RetryBudget(1.0))]
    async with Face(mode, services=of(fleet), routes=routes) as face:
        for _ in range(5):
            answer = await face.post(WEB, content=b"x")
            assert (answer.status_code, answer.json()["server"]) == (200, "a")
        await until(lambda: fleet[2].count == 5)
        counts = face.client.status().services["shadow:80"].counts
        assert (counts["calls"], counts["attempts"]) == (5, 5), "never sent again"
        await until(lambda: face.in_flight() == 0)
    assert fleet[0].count == 5


async def test_a_shadow_that_gives_up_marks_no_answer_of_its_callers(mode: str) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(503, headers={"x-no-retry": "1"}) if request.url.host == "shadow" else httpx.Response(200)

    answering = Inbound()
    token = inbound.set(answering)
    routes = [Route(to="shadow", mirror=True)]
    async with Face(mode, transport=httpx.MockTransport(answer), routes=routes, verify=CONTEXT) as face:
        await face.get(WEB)
        await until(lambda: len(asked) == 2)
        await until(lambda: face.in_flight() == 0)
    inbound.reset(token)
    assert not answering.exhausted


async def test_a_body_that_can_be_sent_once_is_not_copied(mode: str, fleet: Fleet) -> None:
    async def parts() -> Any:
        yield b"x"

    routes = [Route(to="shadow", mirror=True)]
    async with Face(mode, services=of(fleet), routes=routes) as face:
        await face.post(WEB, content=(part for part in [b"x"]) if mode == "threads" else parts())
        assert "shadow:80" not in face.client.status().services


async def test_a_form_of_bytes_is_copied_whole(mode: str, fleet: Fleet) -> None:
    bodies: dict[str, bytes] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        bodies[request.url.host] = request.content
        return httpx.Response(200)

    form: Any = {"data": {"a": "b"}, "files": {"f": b"z" * 9000}}
    routes = [Route(to="shadow", mirror=True, budget=resilience.RetryBudget(1.0))]
    async with Face(mode, transport=httpx.MockTransport(answer), routes=routes, verify=CONTEXT) as face:
        await face.post(WEB, **form)
        await until(lambda: len(bodies) == 2)
    assert bodies["shadow"] == bodies["web.internal"]
    assert b"z" * 9000 in bodies["shadow"]
    async with Face(mode, services=of(fleet), routes=routes) as face:  # over the network too
        assert (await face.post(WEB, **form)).json()["server"] == "a"
        await until(lambda: fleet[2].count == 1)
        await until(lambda: face.in_flight() == 0)


async def test_a_shadow_that_is_down_hurts_nobody(mode: str, fleet: Fleet) -> None:
    fleet[2].stop()
    routes = [Route(to="shadow", mirror=True)]
    async with Face(mode, services=of(fleet), routes=routes) as face:
        assert (await face.get(WEB)).status_code == 200
        await until(lambda: (found := face.client.status().services.get("shadow:80")) and found.counts["attempts"])


async def test_routes_change_while_calls_go_on(mode: str, fleet: Fleet) -> None:
    async with Face(mode, services=of(fleet)) as face:
        assert (await face.get(WEB)).json()["server"] == "a"
        face.client.update(routes=[Route(to="canary")])
        assert (await face.get(WEB)).json()["server"] == "b"
        with pytest.raises(resilience.ConfigurationError, match="routes"):
            face.client.update(routes=["web"])
        face.client.update(services=of(fleet))
        assert (await face.get(WEB)).json()["server"] == "b", "left out: as it was"
        face.client.update(routes=[])
        assert (await face.get(WEB)).json()["server"] == "a"


async def test_the_certificate_asked_for_is_that_of_the_name_that_was_called(mode: str, tmp_path: Any) -> None:
    authority = Authority.create(tmp_path)
    right = Server(name="right", ssl=authority.issue("web.internal"))
    wrong = Server(name="wrong", ssl=authority.issue("canary"))
    with right, wrong:
        services = {"right": static(right, retry=None), "wrong": static(wrong, retry=None)}
        routes = [Route(to="right", path="/right"), Route(to="wrong", path="/wrong")]
        async with Face(mode, services=services, routes=routes, verify=authority.context()) as face:
            assert (await face.get("https://web.internal/right")).json()["server"] == "right"
            with pytest.raises(httpx.ConnectError, match="certificate"):
                await face.get("https://web.internal/wrong")


async def test_two_names_that_lead_to_one_service_share_no_connection(mode: str, fleet: Fleet) -> None:
    async with Face(mode, services=of(fleet), routes=[Route(to="canary")]) as face:
        for name in ("one", "two", "one", "two"):
            await face.get(f"http://{name}/")
        assert fleet[1].accepted == 2


@pytest.mark.parametrize("mirror", [False, True])
async def test_around_another_transport_the_request_is_addressed_to_the_service(mode: str, mirror: bool) -> None:
    asked: list[tuple[str, str]] = []
    there = threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((str(request.url), request.headers["host"]))
        if request.url.host == "canary":
            there.set()
        return httpx.Response(200)

    routes = [Route(to="canary:81", mirror=mirror)]
    async with Face(mode, transport=httpx.MockTransport(answer), routes=routes, verify=CONTEXT) as face:
        await face.get(WEB)
        await until(there.is_set)
    assert ("http://canary:81/v2/items", "web.internal") in asked
    assert ((WEB, "web.internal") in asked) is mirror


def test_a_transport_of_ours_has_its_own() -> None:
    with pytest.raises(resilience.ConfigurationError, match="routes="):
        resilience.Client(transport=resilience.Transport(), routes=[Route(to="canary")])
