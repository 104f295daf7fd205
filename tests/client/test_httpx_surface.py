"""Everything of httpx works unchanged: hooks, authentication, redirects, cookies, streams, mounts."""

from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import httpx
import pytest

import resilience
from resilience.lab import Fleet, Server
from tests.http.support import Face, attempts, settled, static


def test_the_clients_are_httpx_clients() -> None:
    assert issubclass(resilience.Client, httpx.Client)
    assert issubclass(resilience.AsyncClient, httpx.AsyncClient)
    assert issubclass(resilience.Transport, httpx.BaseTransport)
    assert issubclass(resilience.AsyncTransport, httpx.AsyncBaseTransport)


async def test_an_origin_nobody_described_works_like_in_httpx(mode: str, server: Server) -> None:
    async with Face(mode, base_url=server.url, params={"a": "1"}, headers={"x-mine": "yes"}) as face:
        response = await face.get("/headers")
    assert response.status_code == 200
    assert response.json()["x-mine"] == "yes"
    assert response.url == f"{server.url}/headers?a=1"
    assert response.http_version == "HTTP/1.1"
    assert response.elapsed.total_seconds() > 0
    assert response.extensions["resilience"].attempts[0].endpoint == server.address


async def test_event_hooks_see_each_hop_once(mode: str, fleet: Fleet) -> None:
    seen: list[str] = []

    def blocking_request(request: httpx.Request) -> None:
        seen.append(f"> {request.url.path}")

    def blocking_response(response: httpx.Response) -> None:
        seen.append(f"< {response.status_code}")

    async def request(request: httpx.Request) -> None:
        blocking_request(request)

    async def answered(response: httpx.Response) -> None:
        blocking_response(response)

    hooks: dict[str, list[Any]] = {"request": [request], "response": [answered]}
    if mode == "threads":
        hooks = {"request": [blocking_request], "response": [blocking_response]}
    fleet[0].fault(status=503)
    fleet[1].fault(status=503)
    services = {"web.internal": static(*fleet)}
    async with Face(mode, services=services, event_hooks=hooks, follow_redirects=True) as face:
        await face.get(f"http://web.internal:{fleet.port}/redirect?to=/end")
    assert seen == ["> /redirect", "< 302", "> /end", "< 200"]


async def test_a_hook_that_raises_leaves_nothing_behind(mode: str, server: Server) -> None:
    def raising(response: httpx.Response) -> None:
        raise RuntimeError("no")

    async def raising_too(response: httpx.Response) -> None:
        raise RuntimeError("no")

    async with Face(mode, event_hooks={"response": [raising if mode == "threads" else raising_too]}) as face:
        for method in ("GET", "POST"):
            with pytest.raises(RuntimeError, match="no"):
                await face.request(method, server.url)
        assert face.in_flight() == 0


async def test_basic_authentication(mode: str, server: Server) -> None:
    async with Face(mode, auth=("user", "secret")) as face:
        assert (await face.get(f"{server.url}/auth")).status_code == 200
        assert (await face.get(f"{server.url}/auth", auth=("user", "wrong"))).status_code == 401


class TwoLegs(httpx.Auth):
    """Asks without, then with credentials."""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        response = yield request
        if response.status_code == 401:
            request.headers["Authorization"] = "Basic dXNlcjpzZWNyZXQ="
            yield request


async def test_all_legs_and_hops_are_one_call_with_one_record(mode: str, server: Server) -> None:
    told: list[Any] = []
    async with Face(mode, auth=TwoLegs(), follow_redirects=True, listeners=[told.append]) as face:
        response = await face.get(f"{server.url}/redirect?to=/auth")
    assert response.status_code == 200
    assert [status for _, status, _ in attempts(response)] == [302, 401, 302, 200]
    calls = [event for event in told if event.name == "call"]
    assert len(calls) == 1
    assert (calls[0].attempts, calls[0].outcome, calls[0].status) == (4, "ok", 200)
    assert len(response.history) >= 1


async def test_cookies_travel(mode: str, server: Server) -> None:
    async with Face(mode, cookies={"session": "42"}) as face:
        response = await face.get(f"{server.url}/headers")
    assert response.json()["cookie"] == "session=42"


async def test_a_cookie_set_by_an_answer_is_kept(mode: str) -> None:
    def app(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"set-cookie": "a=b"}, json={"cookie": request.headers.get("cookie")})

    async with Face(mode, transport=httpx.MockTransport(app)) as face:
        await face.get("http://web.test/")
        assert (await face.get("http://web.test/")).json() == {"cookie": "a=b"}


async def test_redirects_to_another_service(mode: str, fleet: Fleet) -> None:
    services = {"first.internal": static(fleet[0]), "second.internal": static(fleet[1])}
    async with Face(mode, services=services) as face:
        to = f"http://second.internal:{fleet.port}/there"
        response = await face.get(f"http://first.internal:{fleet.port}/redirect?to={to}", follow_redirects=True)
        assert response.json() == {"server": "b", "path": "/there"}
        assert [endpoint for endpoint, _, _ in attempts(response)] == [fleet[0].address, fleet[1].address]
        loop = f"http://first.internal:{fleet.port}/redirect?to=/redirect"
        response = await face.get(loop)
        assert response.status_code == 302
        assert response.next_request is not None


async def test_too_many_redirects_is_httpx_own_error(mode: str, server: Server) -> None:
    async with Face(mode, follow_redirects=True, max_redirects=2) as face:
        with pytest.raises(httpx.TooManyRedirects):
            await face.get(f"{server.url}/redirect?to=/redirect?to=/redirect?to=/redirect")
        assert face.in_flight() == 0


async def test_streams_hold_their_slot_until_they_are_closed(mode: str, server: Server) -> None:
    async with Face(mode) as face:
        response = await face.open("GET", f"{server.url}/bytes/100000")
        assert face.in_flight() == 1
        assert len(await face.read(response)) == 100_000
        assert face.in_flight() == 0
        response = await face.open("GET", f"{server.url}/bytes/100000")
        await face.shut(response)
        assert face.in_flight() == 0
        assert face.endpoints(server.address)[server.address].circuit == "closed"


async def test_a_large_body_is_not_buffered_twice_nor_lost(mode: str, server: Server) -> None:
    async with Face(mode) as face:
        response = await face.get(f"{server.url}/bytes/3000000")
        assert len(response.content) == 3_000_000
        assert face.in_flight() == 0


async def test_stream_context_manager(server: Server) -> None:
    async with resilience.AsyncClient() as client, client.stream("GET", f"{server.url}/bytes/9") as response:
        assert [chunk async for chunk in response.aiter_bytes(4)] == [b"\0" * 4, b"\0" * 4, b"\0"]
    with resilience.Client() as client, client.stream("GET", f"{server.url}/bytes/9") as response:
        assert list(response.iter_bytes(4)) == [b"\0" * 4, b"\0" * 4, b"\0"]


async def test_uploads_by_generator(mode: str, server: Server) -> None:
    def blocking() -> Iterator[bytes]:
        yield from (b"one", b"two")

    async def awaited() -> AsyncIterator[bytes]:
        for chunk in (b"one", b"two"):
            yield chunk

    async with Face(mode) as face:
        response = await face.post(f"{server.url}/echo", content=blocking() if mode == "threads" else awaited())
    assert response.content == b"onetwo"


class Untouched(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A transport of the user's own."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(503)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.handle_request(request)


async def test_a_transport_the_user_mounts_is_used_as_it_is(mode: str, server: Server) -> None:
    mounted = Untouched()
    told: list[Any] = []
    async with Face(mode, mounts={"all://raw.test": mounted}, listeners=[told.append]) as face:
        response = await face.get("http://raw.test/")
        assert (response.status_code, len(mounted.requests)) == (503, 1)
        assert told == []
        assert "resilience_call" not in mounted.requests[0].extensions
        assert (await face.get(server.url)).status_code == 200
        assert list(face.client.status().services) == [server.address]


async def test_our_transport_may_be_mounted(mode: str, fleet: Fleet) -> None:
    fleet[0].fault(status=503)
    kind = resilience.Transport if mode == "threads" else resilience.AsyncTransport
    ours = kind(services={"web.internal": static(*fleet)})
    for plain in (True, False):
        face = Face(mode, plain=plain, mounts={"all://web.internal": ours})
        for _ in range(3):
            response = await face.get(f"http://web.internal:{fleet.port}/")
            assert response.status_code == 200
            assert response.extensions["resilience"].attempts[-1].status == 200
        if not plain:
            assert f"web.internal:{fleet.port}" in face.client.status().services
            await face.close()


async def test_a_transport_alone_works_per_hop_and_commits_at_headers(mode: str, fleet: Fleet) -> None:
    fleet[0].fault(truncate=True)
    told: list[Any] = []
    kind = resilience.Transport if mode == "threads" else resilience.AsyncTransport
    ours = kind(services={"web.internal": static(fleet[0])}, listeners=[told.append])
    async with Face(mode, plain=True, transport=ours, follow_redirects=True) as face:
        with pytest.raises(httpx.RemoteProtocolError):
            await face.get(f"http://web.internal:{fleet.port}/bytes/1000")
        fleet[0].fault()
        await face.get(f"http://web.internal:{fleet.port}/redirect?to=/end")
    calls = [event for event in told if event.name == "call"]
    assert [(event.attempts, event.status) for event in calls] == [(1, 200), (1, 302), (1, 200)]


async def test_a_client_works_again_after_an_error_and_not_after_its_end(mode: str, server: Server) -> None:
    face = Face(mode)
    with pytest.raises(httpx.UnsupportedProtocol):
        await face.get("ftp://web.test/")
    assert (await face.get(server.url)).status_code == 200
    await face.close()
    with pytest.raises(RuntimeError):
        await face.get(server.url)


async def test_module_level_requests_can_be_sent(mode: str, server: Server) -> None:
    request = httpx.Request("GET", server.url)  # built without a client: no timeout in its extensions
    async with Face(mode) as face:
        response = await settled(face.client.send(request))
    assert response.status_code == 200
    assert response.request is request
    assert set(request.extensions) <= {"timeout"}  # which httpx itself puts there


async def test_the_callers_request_is_not_changed(mode: str, server: Server) -> None:
    traced: list[str] = []

    def trace(name: str, info: dict[str, Any]) -> None:
        traced.append(name)

    async def atrace(name: str, info: dict[str, Any]) -> None:
        traced.append(name)

    async with Face(mode) as face:
        request = face.client.build_request(
            "PUT", f"{server.url}/echo", json={"a": 1}, extensions={"trace": trace if mode == "threads" else atrace}
        )
        before = (dict(request.extensions), list(request.headers.raw))
        response = await settled(face.client.send(request))
        again = await settled(face.client.send(request))
    assert (dict(request.extensions), list(request.headers.raw)) == before
    assert response.json() == again.json() == {"a": 1}
    assert "http11.send_request_headers.started" in traced
