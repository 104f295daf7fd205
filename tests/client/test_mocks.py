"""respx and pytest-httpx see each attempt, and no name needs to exist."""

import httpx
import pytest
import respx
from pytest_httpx import HTTPXMock

import resilience
from tests.http.support import Face, attempts

URL = "https://nowhere.internal/items"
SWIFT = resilience.Service(retry=resilience.Retry(wait=0.001))


async def test_respx_answers_for_a_name_that_does_not_exist(mode: str) -> None:
    with respx.mock:
        route = respx.get(URL).mock(return_value=httpx.Response(200, json={"a": 1}))
        async with Face(mode) as face:
            response = await face.get(URL)
            assert face.in_flight() == 0
    assert (response.json(), route.call_count) == ({"a": 1}, 1)
    assert attempts(response) == [("nowhere.internal:443", 200, None)]


async def test_respx_sees_each_attempt(mode: str) -> None:
    with respx.mock:
        route = respx.get(URL).mock(side_effect=[httpx.Response(503), httpx.ReadTimeout, httpx.Response(200)])
        async with Face(mode, defaults=SWIFT) as face:
            response = await face.get(URL)
            assert face.in_flight() == 0
    assert (response.status_code, route.call_count) == (200, 3)
    assert [(status, error) for _, status, error in attempts(response)] == [
        (503, None),
        (None, "ReadTimeout"),
        (200, None),
    ]


async def test_respx_counts_a_post_that_timed_out_once_and_a_refused_one_again(mode: str) -> None:
    with respx.mock:
        route = respx.post(URL).mock(side_effect=httpx.ReadTimeout)
        async with Face(mode, defaults=SWIFT) as face:
            with pytest.raises(httpx.ReadTimeout):
                await face.post(URL, json={})
        assert route.call_count == 1
        refused = respx.post(f"{URL}/2").mock(side_effect=[httpx.ConnectError, httpx.Response(201)])
        async with Face(mode, defaults=SWIFT) as face:
            assert (await face.post(f"{URL}/2", json={})).status_code == 201
        assert refused.call_count == 2


async def test_respx_streams(mode: str) -> None:
    with respx.mock:
        respx.get(URL).mock(return_value=httpx.Response(200, content=b"abc"))
        async with Face(mode) as face:
            response = await face.open("GET", URL)
            assert await face.read(response) == b"abc"
            await face.shut(response)
            assert face.in_flight() == 0


async def test_pytest_httpx_sees_each_attempt(mode: str, httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(status_code=503)
    httpx_mock.add_exception(httpx.ReadTimeout("slow"))
    httpx_mock.add_response(json={"a": 1})
    async with Face(mode, defaults=SWIFT) as face:
        response = await face.get(URL)
        assert face.in_flight() == 0
    assert response.json() == {"a": 1}
    assert len(httpx_mock.get_requests()) == 3
    assert {str(request.url) for request in httpx_mock.get_requests()} == {URL}


async def test_pytest_httpx_proves_nothing_about_what_was_sent(mode: str, httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_exception(httpx.ConnectError("refused"))
    async with Face(mode, defaults=SWIFT) as face:
        with pytest.raises(httpx.ConnectError):
            await face.post(URL, content=b"order")
        assert face.in_flight() == 0
    assert len(httpx_mock.get_requests()) == 1


async def test_pytest_httpx_with_posts_and_streams_leaves_nothing_in_flight(mode: str, httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(content=b"abc", is_reusable=True)
    async with Face(mode) as face:
        assert (await face.post(URL, content=b"x")).content == b"abc"
        response = await face.open("POST", URL)
        assert await face.read(response) == b"abc"
        await face.shut(response)
        assert face.in_flight() == 0


async def test_each_replica_of_a_mocked_fleet_is_tried(mode: str) -> None:
    services = {"nowhere.internal": resilience.Service(discovery=resilience.Static(["10.9.9.1:443", "10.9.9.2:443"]))}
    with respx.mock:
        respx.get(URL).mock(side_effect=[httpx.Response(502), httpx.Response(200)])
        async with Face(mode, services=services) as face:
            response = await face.get(URL)
    assert {endpoint for endpoint, _, _ in attempts(response)} == {"10.9.9.1:443", "10.9.9.2:443"}
