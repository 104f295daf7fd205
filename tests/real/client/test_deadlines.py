"""Deadlines against real servers. What is asserted is what came back, never how long it took to a fraction."""

import httpx
import pytest

import resilience
from resilience.core.outcome import Sent
from resilience.lab import Fleet, Server
from tests.http.support import Face, attempts, static


def url(server: Server, path: str) -> str:
    return f"http://web.internal:{server.port}{path}"


async def test_the_deadline_covers_all_attempts(mode: str, fleet: Fleet) -> None:
    for server in fleet:
        server.hang()
    service = static(*fleet, total_timeout=0.5, attempt_timeout=0.2)
    async with Face(mode, services={"web.internal": service}) as face:
        with pytest.raises(resilience.DeadlineExceededError) as caught:
            await face.get(url(fleet[0], "/"))
        assert face.in_flight() == 0
    error = caught.value
    assert isinstance(error, httpx.TimeoutException)
    assert isinstance(error, TimeoutError)
    assert error.request.method == "GET"
    assert (error.service, error.sent) == (f"web.internal:{fleet.port}", Sent.MAYBE)
    assert len(error.attempts) == 3
    assert isinstance(error.causes[0], httpx.ReadTimeout)


async def test_a_dial_that_hangs_until_the_deadline_has_sent_nothing(mode: str) -> None:
    # TEST-NET-1 (RFC 5737) is nobody: where it is unreachable at once, that is an honest answer as well.
    async with Face(mode, defaults=resilience.Service(total_timeout=0.3, retry=None)) as face:
        with pytest.raises((resilience.DeadlineExceededError, httpx.ConnectError)) as caught:
            await face.post("http://192.0.2.1:81/", content=b"order")
    if isinstance(caught.value, resilience.DeadlineExceededError):
        assert caught.value.sent is Sent.NO
        assert isinstance(caught.value, httpx.ConnectTimeout)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_given_total_timeout_covers_a_body_that_is_not_streamed(mode: str, server: Server, method: str) -> None:
    server.fault(drip=0.3)
    async with Face(mode, services={"web.internal": static(server, total_timeout=0.6)}) as face:
        with pytest.raises(resilience.DeadlineExceededError) as caught:
            await face.request(method, url(server, "/bytes/100"))
        assert face.in_flight() == 0
    assert caught.value.sent is Sent.MAYBE
    assert server.count == 1


@pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")  # trio's word on httpx's own generators
async def test_a_streamed_body_may_take_longer_than_the_total_timeout(mode: str, server: Server) -> None:
    async with Face(mode, services={"web.internal": static(server, total_timeout=0.5, attempt_timeout=0.4)}) as face:
        response = await face.open("GET", url(server, "/sse"))
        events = 0
        if mode == "threads":
            for _ in response.iter_bytes():
                events += 1
                if events == 20:  # at 50 ms each
                    break
        else:
            async for _ in response.aiter_bytes():
                events += 1
                if events == 20:
                    break
        await face.shut(response)
        assert response.elapsed.total_seconds() > 0.5
        assert face.in_flight() == 0


async def test_the_surrounding_deadline_cuts_streams_too(mode: str, server: Server) -> None:
    async with Face(mode, services={"web.internal": static(server)}) as face:
        with resilience.deadline(0.4), pytest.raises(resilience.DeadlineExceededError):
            response = await face.open("GET", url(server, "/sse"))
            await face.read(response)
        await face.shut(response)
        assert face.in_flight() == 0


async def test_redirects_share_one_deadline(mode: str, fleet: Fleet) -> None:
    services = {
        "first.internal": static(fleet[0], total_timeout=0.5, retry=None),
        "second.internal": static(fleet[1], total_timeout=60, retry=None),
    }
    fleet[0].fault(delay=0.3)
    fleet[1].fault(delay=0.4)
    async with Face(mode, services=services, follow_redirects=True) as face:
        with pytest.raises(resilience.DeadlineExceededError) as caught:
            await face.get(f"http://first.internal:{fleet.port}/redirect?to=http://second.internal:{fleet.port}/")
    assert [attempt.endpoint for attempt in caught.value.attempts] == [fleet[0].address, fleet[1].address]


async def test_a_later_hop_may_shorten_the_deadline(mode: str, fleet: Fleet) -> None:
    services = {
        "first.internal": static(fleet[0], total_timeout=60, retry=None),
        "second.internal": static(fleet[1], total_timeout=0.3, retry=None),
    }
    fleet[1].fault(delay=1.0)
    async with Face(mode, services=services, follow_redirects=True) as face:
        with pytest.raises(resilience.DeadlineExceededError):
            await face.get(f"http://first.internal:{fleet.port}/redirect?to=http://second.internal:{fleet.port}/")


async def test_the_first_hops_total_covers_the_last_hops_body(mode: str, fleet: Fleet) -> None:
    services = {"first.internal": static(fleet[0], total_timeout=0.6), "second.internal": static(fleet[1])}
    fleet[1].fault(drip=0.3)
    async with Face(mode, services=services, follow_redirects=True) as face:
        with pytest.raises(resilience.DeadlineExceededError):
            await face.get(
                f"http://first.internal:{fleet.port}/redirect?to=http://second.internal:{fleet.port}/bytes/100"
            )


async def test_a_call_may_bring_its_own_limits(mode: str, server: Server) -> None:
    async with Face(mode, services={"web.internal": static(server, retry=None)}) as face:
        with pytest.raises(resilience.DeadlineExceededError):
            await face.get(url(server, "/slow/2"), extensions={"resilience": {"total_timeout": 0.2}})
        with pytest.raises(httpx.ReadTimeout) as caught:
            await face.get(url(server, "/slow/2"), extensions={"resilience": {"attempt_timeout": 0.2}})
        assert not isinstance(caught.value, resilience.ResilienceError)


async def test_httpx_own_limits_keep_their_meaning(mode: str, server: Server) -> None:
    async with Face(mode, services={"web.internal": static(server, retry=None)}, timeout=0.2) as face:
        with pytest.raises(httpx.ReadTimeout) as caught:
            await face.get(url(server, "/slow/2"))
        assert not isinstance(caught.value, resilience.ResilienceError)
        response = await face.get(url(server, "/slow/0.4"), timeout=5.0)
        assert response.status_code == 200


async def test_timeout_none_lifts_the_limits_of_phases_but_not_a_total_that_was_given(
    mode: str, server: Server
) -> None:
    services = {"web.internal": static(server, total_timeout=0.3, retry=None)}
    async with Face(mode, services=services, timeout=None) as face:
        with pytest.raises(resilience.DeadlineExceededError):
            await face.get(url(server, "/slow/5"))
        response = await face.get(f"{server.url}/slow/0.3")
        assert response.status_code == 200


async def test_a_hung_endpoint_is_blamed(mode: str, fleet: Fleet) -> None:
    fleet[0].hang()
    service = static(*fleet, attempt_timeout=0.1)
    async with Face(mode, services={"web.internal": service}) as face:
        for _ in range(16):
            response = await face.get(url(fleet[0], "/"))
            assert response.status_code == 200
        endpoints = face.endpoints(f"web.internal:{fleet.port}")
    circuits = [endpoints[server.address].circuit for server in fleet]
    assert circuits == ["open", "closed", "closed"]


async def test_an_endpoint_that_hangs_until_the_deadline_is_blamed(mode: str, server: Server) -> None:
    circuit = resilience.CircuitBreaker(minimum_calls=3, open_for=60.0)
    service = static(server, total_timeout=0.2, circuit=circuit)
    async with Face(mode, services={"web.internal": service}) as face:
        await face.get(url(server, "/"))
        server.hang()
        for _ in range(2):
            with pytest.raises(resilience.DeadlineExceededError):
                await face.get(url(server, "/"))
        assert face.endpoints(f"web.internal:{server.port}")[server.address].circuit == "open"


async def test_a_deadline_too_short_for_anybody_blames_nobody(mode: str, server: Server) -> None:
    circuit = resilience.CircuitBreaker(minimum_calls=2, open_for=60.0)
    async with Face(mode, services={"web.internal": static(server, circuit=circuit)}) as face:
        for _ in range(5):
            await face.get(url(server, "/slow/0.2"))
        for _ in range(5):
            with pytest.raises(resilience.DeadlineExceededError):
                await face.get(url(server, "/slow/0.2"), extensions={"resilience": {"total_timeout": 0.03}})
        assert face.endpoints(f"web.internal:{server.port}")[server.address].circuit == "closed"


async def test_waits_that_cannot_end_before_the_deadline_are_not_begun(mode: str, server: Server) -> None:
    server.fault(status=503, retry_after=3)
    async with Face(mode, services={"web.internal": static(server, total_timeout=2.0)}) as face:
        response = await face.get(url(server, "/"))
    assert response.status_code == 503
    assert response.extensions["resilience"].stopped == "deadline"
    assert len(attempts(response)) == 1
