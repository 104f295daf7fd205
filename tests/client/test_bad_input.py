"""Whatever comes in from either side, the answer is a typed error that names what was wrong, or it is survived."""

import socket
import time
from datetime import timedelta
from typing import Any

import httpx
import pytest

import resilience
from resilience.lab import Server
from tests.http.raw import Raw, answering
from tests.http.support import CONTEXT, Face, static

Service = resilience.Service


@pytest.mark.parametrize("name", ["total_timeout", "attempt_timeout", "connect_timeout"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "1", True, timedelta(0), [1]])
def test_timeouts_out_of_range(name: str, value: Any) -> None:
    with pytest.raises(resilience.ConfigurationError) as caught:
        Service(**{name: value})
    assert caught.value.argument == name
    assert name in str(caught.value)
    assert "seconds above 0" in caught.value.expected


def test_durations_may_be_timedeltas() -> None:
    assert Service(total_timeout=timedelta(seconds=2)).total_timeout == 2.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_in_flight", 0),
        ("max_in_flight", -3),
        ("max_in_flight", 1.5),
        ("retry", 3),
        ("budget", 0.2),
        ("circuit", True),
        ("health", "/readyz"),
        ("hedge", 0.1),
        ("discovery", "10.0.0.1"),
        ("discovery", resilience.Static),
        ("balancer", "round-robin"),
        ("balancer", resilience.RoundRobin),
    ],
)
def test_fields_of_the_wrong_kind(name: str, value: Any) -> None:
    with pytest.raises(resilience.ConfigurationError) as caught:
        Service(**{name: value})
    assert caught.value.argument == name


def test_fields_that_do_not_exist() -> None:
    with pytest.raises(TypeError, match="timeout_total"):
        Service(timeout_total=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "key",
    ["", " ", "web internal", "http://web.internal", "web/x", "web?x", "web:0", "web:65536", "web:x", ":80", 80, None],
)
def test_names_of_services_that_are_none(key: Any) -> None:
    with pytest.raises(resilience.ConfigurationError) as caught:
        resilience.Client(services={key: Service()}, verify=CONTEXT)
    assert caught.value.argument == "services"


def test_a_password_in_a_name_is_not_repeated() -> None:
    with pytest.raises(resilience.ConfigurationError) as caught:
        resilience.Client(services={"user:hunter2@web.internal?token=s3cr3t": Service()}, verify=CONTEXT)
    assert "hunter2" not in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_one_service_twice() -> None:
    with pytest.raises(resilience.ConfigurationError):
        resilience.Client(services={"web.internal": Service(), "WEB.internal": Service()}, verify=CONTEXT)


@pytest.mark.parametrize(
    "arguments",
    [
        {"services": {"web": "10.0.0.1"}},
        {"services": ["web"]},
        {"services": "web"},
        {"defaults": {"retry": None}},
        {"listeners": 3},
        {"listeners": [3]},
        {"transport": 3},
        {"transport": httpx.HTTPTransport},
        {"transport": httpx.AsyncHTTPTransport()},
        {"transport": resilience.Transport(), "services": {"web": Service()}},
        {"transport": resilience.Transport(), "defaults": Service()},
        {"transport": resilience.Transport(), "listeners": [print]},
        {"http1": False},
    ],
    ids=",".join,
)
def test_arguments_that_contradict_each_other_or_are_none(arguments: dict[str, Any]) -> None:
    with pytest.raises(resilience.ConfigurationError) as caught:
        resilience.Client(verify=CONTEXT, **arguments)
    assert caught.value.argument in {"services", "defaults", "listeners", "transport", "http1", "services['web']"}


@pytest.mark.parametrize(
    ("argument", "value", "named"),
    [
        ("listeners", 3, "listeners"),
        ("listeners", [3], "listeners"),
        ("limits", 3, "limits"),
        ("limits", httpx.Limits(max_connections=0), "limits.max_connections"),
        ("limits", httpx.Limits(max_keepalive_connections=-1), "limits.max_keepalive_connections"),
        ("limits", httpx.Limits(keepalive_expiry=float("nan")), "limits.keepalive_expiry"),
        ("limits", httpx.Limits(keepalive_expiry="5"), "limits.keepalive_expiry"),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("make", [resilience.Transport, resilience.AsyncTransport, resilience.Client])
def test_arguments_of_transports(make: Any, argument: str, value: Any, named: str) -> None:
    with pytest.raises(resilience.ConfigurationError) as caught:
        make(verify=CONTEXT, **{argument: value})
    assert caught.value.argument == named


def test_limits_that_are_none() -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0, keepalive_expiry=float("inf"))
    resilience.Transport(verify=CONTEXT, limits=limits).close()


def test_arguments_nobody_knows() -> None:
    with pytest.raises(TypeError, match="retries"):
        resilience.Client(retries=3)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (3, "resilience"),
        ({"total_timeuot": 1}, "total_timeuot"),
        ({"total_timeuot": 1, 2: 3}, "total_timeuot"),
        ({"total_timeout": 0}, "total_timeout"),
        ({"total_timeout": "1"}, "total_timeout"),
        ({"attempt_timeout": float("nan")}, "attempt_timeout"),
        ({"retry": 3}, "retry"),
        ({"idempotent": "yes"}, "idempotent"),
        ({"operation": 3}, "operation"),
        ({"key": 3}, "key"),
    ],
)
async def test_options_of_a_call(mode: str, server: Server, options: Any, named: str) -> None:
    async with Face(mode) as face:
        with pytest.raises(resilience.ConfigurationError) as caught:
            await face.get(server.url, extensions={"resilience": options})
        assert named in str(caught.value)
        response = await face.get(server.url)
        assert response.status_code == 200
        assert face.in_flight() == 0
    assert server.count == 1


async def test_options_that_say_nothing(mode: str, server: Server) -> None:
    async with Face(mode) as face:
        options: dict[str, Any] = {"total_timeout": timedelta(seconds=3), "operation": None, "key": None, "retry": None}
        assert (await face.get(server.url, extensions={"resilience": options})).status_code == 200
        assert (await face.get(server.url, extensions={"resilience": None})).status_code == 200
        assert (await face.get(server.url, extensions={"resilience": {}})).status_code == 200


@pytest.mark.parametrize("url", ["ftp://web.internal/", "web.internal/x", "/x", "http://", "mailto:a@b"])
async def test_urls_that_cannot_be_called(mode: str, url: str) -> None:
    async with Face(mode) as face:
        with pytest.raises((httpx.UnsupportedProtocol, httpx.InvalidURL)):
            await face.get(url)
        assert face.client.status().services == {}


@pytest.mark.parametrize("url", ["http://[::1", "http://127.0.0.1:99999/", "http://127.0.0.1:x/", "http://\x00/"])
async def test_urls_that_are_none(mode: str, url: str) -> None:
    async with Face(mode) as face:
        with pytest.raises(httpx.InvalidURL):
            await face.get(url)


NONSENSE = [
    b"",
    b"\x00" * 100,
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nbroken header\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcde",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
    b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
]


@pytest.mark.parametrize("reply", NONSENSE, ids=range(len(NONSENSE)))
async def test_bytes_that_are_no_http(mode: str, reply: bytes) -> None:
    with Raw(answering(reply)) as raw:
        async with Face(mode, services={"web.internal": Service(discovery=resilience.Static([raw.address]))}) as face:
            with pytest.raises(httpx.RemoteProtocolError) as caught:
                await face.get(f"http://web.internal:{raw.port}/")
            assert len(caught.value.attempts) == 3
            assert {attempt.blame for attempt in caught.value.attempts} == {"bad"}
            assert face.in_flight() == 0
            with pytest.raises(httpx.RemoteProtocolError) as caught:
                await face.post(f"http://web.internal:{raw.port}/")
            assert len(caught.value.attempts) == 1
            assert face.in_flight() == 0


@pytest.mark.parametrize("fault", [{"garbage": True}, {"endless_headers": True}])
async def test_headers_without_end_and_garbage_from_a_server(mode: str, server: Server, fault: dict[str, bool]) -> None:
    server.fault(**fault)  # type: ignore[arg-type]
    async with Face(mode, services={"web.internal": static(server, circuit=None)}) as face:
        with pytest.raises(httpx.RemoteProtocolError):
            await face.get(f"http://web.internal:{server.port}/")
        assert face.in_flight() == 0
        server.fault()
        assert (await face.get(f"http://web.internal:{server.port}/")).status_code == 200


async def test_farewells_without_end(mode: str) -> None:
    farewell = bytes.fromhex("000008 07 00 00000000 7fffffff 00000000")

    def talk(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(bytes.fromhex("000000 04 00 00000000"))
        connection.recv(65536)
        for _ in range(3000):
            connection.sendall(farewell)
            time.sleep(0)

    with Raw(talk) as raw:
        once = Service(retry=None)
        async with Face(mode, http1=False, http2=True, defaults=once) as face:
            with pytest.raises(httpx.TransportError):
                await face.post(f"http://{raw.address}/")


async def test_one_healthy_replica_among_nonsense_is_found(mode: str, server: Server) -> None:
    with Raw(answering(b"\x00nonsense\r\n\r\n")) as raw:
        service = Service(discovery=resilience.Static([raw.address, server.address]))
        async with Face(mode, services={"web.internal": service}) as face:
            for _ in range(12):
                assert (await face.get("http://web.internal/")).status_code == 200
            assert face.endpoints("web.internal:80")[raw.address].circuit == "open"


@pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")  # trio's word on httpx's own generators
async def test_a_body_encoded_badly_is_httpxs_own_error(mode: str) -> None:
    reply = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc"
    with Raw(answering(reply)) as raw:
        async with Face(mode, services={"web.internal": Service(discovery=resilience.Static([raw.address]))}) as face:
            with pytest.raises(httpx.DecodingError):
                await face.get("http://web.internal/")
            assert face.in_flight() == 0


async def test_an_exception_of_the_callers_own_body_passes_and_blames_nobody(mode: str, server: Server) -> None:
    def broken() -> Any:
        yield b"a"
        raise ZeroDivisionError

    async def abroken() -> Any:
        yield b"a"
        raise ZeroDivisionError

    circuit = resilience.CircuitBreaker(minimum_calls=1, consecutive_failures=1)
    async with Face(mode, services={"web.internal": static(server, circuit=circuit)}) as face:
        with pytest.raises(ZeroDivisionError) as caught:
            await face.post(
                f"http://web.internal:{server.port}/echo", content=broken() if mode == "threads" else abroken()
            )
        assert face.in_flight() == 0
        assert face.endpoints(f"web.internal:{server.port}")[server.address].circuit == "closed"
    assert [attempt.blame for attempt in caught.value.attempts] == ["unknown"]  # type: ignore[attr-defined]


async def test_a_resolver_or_balancer_that_raises_or_finds_nobody(mode: str, server: Server) -> None:
    class Nobody:
        def update(self, endpoints: Any) -> None:
            return

        def pick(self, call: Any, usable: Any) -> None:
            return None

    class Raising(Nobody):
        def pick(self, call: Any, usable: Any) -> None:
            raise ZeroDivisionError

    for balancer, kind in ((Raising(), ZeroDivisionError), (Nobody(), httpx.TransportError)):
        service = static(server, balancer=balancer)
        async with Face(mode, services={"web.internal": service}, timeout=httpx.Timeout(1, pool=0.05)) as face:
            try:
                response = await face.get(f"http://web.internal:{server.port}/")
            except kind:
                pass
            else:
                assert response.status_code == 200  # a balancer that picks nobody is passed over
            assert face.in_flight() == 0
