"""Chaos beneath a client: the client's policies deal with it."""

import httpx
import pytest

import resilience
from resilience.core.errors import ConfigurationError
from resilience.http.chaos import AsyncChaosTransport, ChaosTransport, cut_body
from resilience.policies.chaos import Chaos
from tests.composition.fake_time import BlockingOnFakeTime, on

URL = "http://service.test/"


@pytest.fixture(autouse=True)
def allowed(monkeypatch):
    monkeypatch.setenv("RESILIENCE_CHAOS", "1")


def mock(closed=None):
    class Mock(httpx.MockTransport):
        def close(self):
            closed.append("closed")

        async def aclose(self):
            closed.append("closed")

    kind = httpx.MockTransport if closed is None else Mock
    return kind(lambda _request: httpx.Response(200, text="hello"))


def struck(*chaos):
    with httpx.Client(transport=ChaosTransport(mock(), *chaos)) as client:
        return client.get(URL)


async def struck_async(*chaos):
    async with httpx.AsyncClient(transport=AsyncChaosTransport(mock(), *chaos)) as client:
        return await client.get(URL)


async def test_requests_fail_as_on_a_real_network(anyio_backend):
    for strike in (Chaos(1.0, fault=lambda: httpx.ConnectError("refused")), Chaos(1.0, corrupt=cut_body())):
        with pytest.raises(httpx.TransportError) as caught:
            struck(strike)
        assert caught.value.request.url == URL
        with pytest.raises(httpx.TransportError):
            await struck_async(strike)


async def test_answers_may_be_wrong(anyio_backend):
    chaos = Chaos(1.0, answer=lambda: httpx.Response(503))
    assert struck(chaos).status_code == 503
    assert (await struck_async(chaos)).status_code == 503


@pytest.mark.parametrize("after", [0, 1, 3, 5, 9])
def test_bodies_end_before_their_end(after):
    got = []
    transport = ChaosTransport(mock(), Chaos(1.0, corrupt=cut_body(after)))
    with httpx.Client(transport=transport) as client, client.stream("GET", URL) as response:
        assert response.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="chaos"):
            got.extend(response.iter_raw())
    assert b"".join(got) == b"hello"[:after]


@pytest.mark.parametrize("after", [0, 1, 3, 5, 9])
async def test_async_bodies_too(anyio_backend, after):
    got = []
    transport = AsyncChaosTransport(mock(), Chaos(1.0, corrupt=cut_body(after)))
    async with httpx.AsyncClient(transport=transport) as client, client.stream("GET", URL) as response:
        with pytest.raises(httpx.RemoteProtocolError, match="chaos"):
            async for chunk in response.aiter_raw():
                got += [chunk]
    assert b"".join(got) == b"hello"[:after]


async def test_a_client_deals_with_it(anyio_backend):
    strikes = (
        Chaos(0.1, fault=lambda: httpx.ConnectError("refused"), seed=1),
        Chaos(0.1, answer=lambda: httpx.Response(503), seed=2),
        Chaos(0.1, corrupt=cut_body(2), seed=3),
    )
    service = resilience.Service(
        retry=resilience.Retry(10, wait=0.0), budget=resilience.RetryBudget(10.0), circuit=None
    )
    with resilience.Client(transport=ChaosTransport(mock(), *strikes), defaults=service) as client:
        responses = [client.get(URL) for _ in range(50)]
    assert {response.text for response in responses} == {"hello"}
    assert sum(len(response.extensions["resilience"].attempts) for response in responses) > 60
    async with resilience.AsyncClient(transport=AsyncChaosTransport(mock(), *strikes), defaults=service) as client:
        assert {(await client.get(URL)).text for _ in range(50)} == {"hello"}


async def test_a_body_of_any_kind_is_cut(anyio_backend):
    class Chunks:
        def __init__(self):
            self.left = [b"he", b"llo"]

        def __aiter__(self):
            return self

        async def __anext__(self):
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    class Stream(httpx.AsyncByteStream):
        def __aiter__(self):
            return Chunks()

    response = cut_body(3)(httpx.Response(200, stream=Stream()))
    with pytest.raises(httpx.RemoteProtocolError):
        await response.aread()
    await response.aclose()


def test_latency_is_waited_for():
    runtime = BlockingOnFakeTime()
    with on(runtime):
        assert struck(Chaos(1.0, latency=2.0)).text == "hello"
    assert runtime.asked == [2.0]


async def test_closing_closes_what_is_inside(anyio_backend):
    closed = []
    ChaosTransport(mock(closed), Chaos(1.0, latency=1.0)).close()
    await AsyncChaosTransport(mock(closed), Chaos(1.0, latency=1.0)).aclose()
    assert closed == ["closed"] * 2


def test_bad_arguments_are_named():
    for make, argument in (
        (lambda: ChaosTransport(mock()), "chaos"),
        (lambda: AsyncChaosTransport(mock(), "chaos"), "chaos"),
        (lambda: cut_body(-1), "after"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert caught.value.argument == argument
