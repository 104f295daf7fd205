"""Chaos beneath a client: the client's policies deal with it."""

import contextlib

import anyio
import httpx
import pytest

import resilience
from resilience.core.errors import ConfigurationError
from resilience.http.chaos import AsyncChaosTransport, ChaosTransport, cut_body
from resilience.policies.chaos import Chaos
from resilience.testing import virtual
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


def struck(*chaos, beneath=None):
    with httpx.Client(transport=ChaosTransport(beneath or mock(), *chaos)) as client:
        return client.get(URL)


async def struck_async(*chaos, beneath=None):
    async with httpx.AsyncClient(transport=AsyncChaosTransport(beneath or mock(), *chaos)) as client:
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


class Held(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that holds its connection until it is closed."""

    held = 0

    def __init__(self):
        Held.held += 1

    def __iter__(self):
        yield b"hello"

    async def __aiter__(self):
        yield b"hello"

    def close(self):
        Held.held -= 1

    async def aclose(self):
        Held.held -= 1


def broken(_answer):
    raise KeyError


@pytest.mark.parametrize(
    ("strike", "raised"),
    [
        ({"fault": ConnectionError, "after": True}, ConnectionError),
        ({"corrupt": lambda _: httpx.Response(500, text="worse")}, None),
        ({"corrupt": broken}, KeyError),
        ({"corrupt": cut_body(2)}, httpx.RemoteProtocolError),
        ({"corrupt": lambda answer: answer}, None),
        ({"answer": lambda: httpx.Response(200)}, None),
    ],
)
async def test_what_is_lost_holds_no_connection(anyio_backend, strike, raised):
    Held.held = 0
    chaos = Chaos(1.0, **strike)
    expected = contextlib.nullcontext() if raised is None else pytest.raises(raised)
    with expected:
        struck(chaos, beneath=httpx.MockTransport(lambda _request: httpx.Response(200, stream=Held())))
    assert Held.held == 0
    expected = contextlib.nullcontext() if raised is None else pytest.raises(raised)
    with expected:
        await struck_async(chaos, beneath=httpx.MockTransport(lambda _request: httpx.Response(200, stream=Held())))
    assert Held.held == 0


def test_what_comes_too_late_is_a_read_timeout():
    late = [Chaos(1.0, latency=2.0), Chaos(1.0, latency=3.0)]
    runtime = BlockingOnFakeTime()
    with (
        on(runtime),
        pytest.raises(httpx.ReadTimeout, match="chaos") as caught,
        httpx.Client(transport=ChaosTransport(mock(), *late), timeout=4.5) as client,
    ):
        client.get(URL)
    assert (runtime.asked, caught.value.request.url) == ([2.0, 2.5], URL)
    runtime = BlockingOnFakeTime()
    with on(runtime), httpx.Client(transport=ChaosTransport(mock(), *late), timeout=None) as client:
        assert client.get(URL).text == "hello"
    assert runtime.asked == [2.0, 3.0]
    bare = ChaosTransport(mock(), Chaos(1.0, latency=0.0)).handle_request(httpx.Request("GET", URL))
    assert bare.status_code == 200


def test_a_client_is_not_kept_waiting_beyond_its_deadline():
    service = resilience.Service(total_timeout=1.0, retry=None)
    late = Chaos(1.0, latency=60.0)
    with virtual() as clock:
        with (
            resilience.Client(transport=ChaosTransport(mock(), late), defaults=service) as client,
            pytest.raises(resilience.DeadlineExceededError),
        ):
            client.get(URL)
        assert clock.elapsed == 1.0


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_tasks_wait_as_tasks_do(backend):
    async def ask():
        return await struck_async(Chaos(1.0, latency=2.0))

    async def both():
        texts = []

        async def one():
            texts.append((await ask()).text)

        async with anyio.create_task_group() as group:
            group.start_soon(one)
            group.start_soon(one)
        return texts

    with virtual() as clock:
        assert clock.run(both, backend=backend) == ["hello"] * 2
        assert clock.elapsed == 2.0


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
        (lambda: ChaosTransport(None, Chaos(1.0, latency=1.0)), "transport"),
        (lambda: ChaosTransport(httpx.AsyncHTTPTransport(), Chaos(1.0, latency=1.0)), "transport"),
        (lambda: AsyncChaosTransport(httpx.HTTPTransport(), Chaos(1.0, latency=1.0)), "transport"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert caught.value.argument == argument
