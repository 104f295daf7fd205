"""HTTP/2 against real servers: many calls on one connection, farewells in the midst of them, one that is late."""

import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import anyio
import httpx
import pytest

import resilience
from resilience.lab import Authority, Fleet, Server
from tests.http.support import Face, static
from tests.real.faults import Act, under_load

NAME = "web.internal"
MANY = 500


class Spoken:
    """Servers of HTTP/2, and how a client has to be told of them: by TLS, or by prior knowledge."""

    def __init__(self, fleet: Fleet, scheme: str, arguments: dict[str, Any]) -> None:
        self.fleet = fleet
        self.arguments = arguments
        self.url = f"{scheme}://{NAME}:{fleet.port}"

    def face(self, mode: str, **options: Any) -> Face:
        services = {NAME: static(*self.fleet, max_in_flight=None, **options)}
        return Face(mode, services=services, **self.arguments)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["tls", "prior knowledge"])
def spoken(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Spoken]:
    """Two servers that speak it."""
    if request.param == "tls":
        context = ssl.create_default_context(cafile=str(authority.file))
        options: dict[str, Any] = {"ssl": authority.issue(NAME)}
        arguments: dict[str, Any] = {"http2": True, "verify": context}
    else:
        options, arguments = {}, {"http2": True, "http1": False}
    with Fleet(2, http2=True, **options) as fleet:
        yield Spoken(fleet, "https" if options else "http", arguments)


async def test_five_hundred_calls_share_one_connection_per_endpoint_and_one_of_them_is_late(
    mode: str, spoken: Spoken
) -> None:
    if mode == "threads":
        return
    ended: Counter[object] = Counter()
    async with spoken.face(mode, retry=None) as face:

        async def call(number: int) -> None:
            late = number == 250
            try:
                response = await face.get(
                    f"{spoken.url}/slow/{5 if late else 0.5}", timeout=httpx.Timeout(30, read=1.5 if late else 30)
                )
            except httpx.ReadTimeout:
                ended["late" if late else "hurt"] += 1
            else:
                assert response.http_version == "HTTP/2"
                ended[response.status_code] += 1

        async with anyio.create_task_group() as group:
            for number in range(MANY):
                group.start_soon(call, number)
        assert ended == {200: MANY - 1, "late": 1}
        response = await face.get(f"{spoken.url}/")
        assert response.status_code == 200
        assert face.in_flight() == 0
        assert [server.accepted for server in spoken.fleet] == [1, 1]


async def test_the_deadline_of_the_call_that_dials_ends_that_call_alone(mode: str, spoken: Spoken) -> None:
    if mode == "threads":
        return
    ended: Counter[object] = Counter()
    only = {NAME: static(spoken.fleet[0], retry=None)}
    async with Face(mode, services=only, **spoken.arguments) as face:

        async def call(**options: float) -> None:
            try:
                response = await face.post(f"{spoken.url}/slow/1", extensions={"resilience": options})
            except resilience.DeadlineExceededError:
                ended["late"] += 1
            else:
                ended[response.status_code] += 1

        async with anyio.create_task_group() as group:
            group.start_soon(lambda: call(total_timeout=0.5))
            await anyio.sleep(0.2)
            group.start_soon(call)
        assert ended == {"late": 1, 200: 1}


@pytest.mark.parametrize("armed", [False, True])
async def test_farewells_under_load_lose_nothing(mode: str, armed: bool, spoken: Spoken) -> None:
    acts: list[Act] = [
        (0.3 + 0.2 * number, lambda number=number: spoken.fleet[number % 2].goaway(armed=armed)) for number in range(10)
    ]
    async with spoken.face(mode) as face:
        report = await under_load(face, mode, f"{spoken.url}/slow/0.05", acts, seconds=2.5)
        assert face.in_flight() == 0
        circuits = {endpoint.circuit for endpoint in face.endpoints(f"{NAME}:{spoken.fleet.port}").values()}
    assert not report.failed, report.errors()
    assert circuits == {"closed"}
    ids = Counter(seen.id for server in spoken.fleet for seen in server.requests)
    assert max(ids.values()) == 1  # what a server had begun it has finished: nothing was sent twice


async def test_a_farewell_costs_no_attempt_whatever_the_method(mode: str, spoken: Spoken) -> None:
    async with spoken.face(mode, retry=None) as face:
        for _ in range(2):
            assert (await face.post(f"{spoken.url}/", content=b"order")).status_code == 200
        for server in spoken.fleet:
            server.goaway(armed=True)  # it says so when the next request comes, and leaves that one out
        for _ in range(4):
            assert (await face.post(f"{spoken.url}/", content=b"order")).status_code == 200
    assert sum(server.count for server in spoken.fleet) == 6


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_twenty_threads_lose_none_of_nine_hundred_calls(method: str, spoken: Spoken) -> None:
    ended: Counter[object] = Counter()
    lock = threading.Lock()
    face = spoken.face("threads")

    def work() -> None:
        for _ in range(45):
            try:
                response = face.client.request(method, f"{spoken.url}/")
                how: object = (response.status_code, response.http_version)
            except Exception as error:
                how = repr(error)
            with lock:
                ended[how] += 1

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for number in range(10):
        spoken.fleet[number % 2].goaway()
    for thread in threads:
        thread.join()
    face.client.close()
    assert ended == {(200, "HTTP/2"): 900}
    assert sum(server.count for server in spoken.fleet) == 900


async def test_a_server_that_allows_few_streams_is_waited_for_and_nobody_is_blamed(
    mode: str, authority: Authority
) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(Server("127.0.0.1", http2=True, max_streams=5))
        services = {NAME: static(server, max_in_flight=None, retry=None)}
        face = await stack_face(mode, services)
        ended: Counter[object] = Counter()

        async def call() -> None:
            try:
                response = await face.get(f"http://{NAME}:{server.port}/slow/0.2", timeout=httpx.Timeout(0.5, pool=5))
                ended[response.status_code] += 1
            except httpx.TimeoutException as error:
                ended[type(error)] += 1

        async with anyio.create_task_group() as group:
            for _ in range(40 if mode != "threads" else 1):
                group.start_soon(call)
        endpoint = face.endpoints(f"{NAME}:{server.port}")[server.address]
        assert (endpoint.circuit, endpoint.in_flight) == ("closed", 0)
        assert ended[200] >= 1
        assert httpx.ReadTimeout not in ended
        await face.close()


async def stack_face(mode: str, services: dict[str, resilience.Service]) -> Face:
    return Face(mode, services=services, http2=True, http1=False)


async def test_streams_refused_are_sent_again_whatever_their_method(mode: str, spoken: Spoken) -> None:
    for server in spoken.fleet:
        server.fault(refuse_streams=0.3)
    async with spoken.face(mode, budget=None, retry=resilience.Retry(6)) as face:
        for _ in range(30):
            response = await face.post(f"{spoken.url}/", content=b"order")
            assert response.status_code == 200
    assert sum(server.count for server in spoken.fleet) == 30


async def test_an_abandoned_stream_leaks_no_window(mode: str, spoken: Spoken) -> None:
    size = 200_000
    async with spoken.face(mode) as face:
        for _ in range(60):  # more than any window holds
            response = await face.open("GET", f"{spoken.url}/bytes/{size}")
            await face.shut(response)
        response = await face.get(f"{spoken.url}/bytes/{size}")
        assert len(response.content) == size
        assert face.in_flight() == 0
