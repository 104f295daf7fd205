"""Behind a proxy the policies hold, and the proxy resolves: names nobody else knows are fine."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import resilience
from resilience.lab import Authority, Server
from tests.http.raw import Raw, head_of
from tests.http.support import Face, attempts


class Proxy:
    """Forwards plain requests and CONNECT tunnels to one port, whatever name is asked for."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[str] = []
        self.refusals = 0

    def __call__(self, connection: socket.socket) -> None:
        while head := head_of(connection):
            line = head.split(b"\r\n", 1)[0].decode()
            self.asked.append(line)
            if self.refusals:
                self.refusals -= 1
                connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", self.port)) as onward:
                if line.startswith("CONNECT"):
                    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    _pump(connection, onward)
                    return
                onward.sendall(head.replace(b"http://", b"/http/", 1))
                onward.shutdown(socket.SHUT_WR)
                while data := onward.recv(65536):
                    connection.sendall(data)
            # And on: to close what was said to be kept would race with the client's next request.


def _pump(one: socket.socket, other: socket.socket) -> None:
    def copy() -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            return

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    while data := other.recv(65536):
        one.sendall(data)
    one.shutdown(socket.SHUT_WR)
    thread.join()


@pytest.fixture
def proxy(server: Server) -> Iterator[tuple[Proxy, str]]:
    behind = Proxy(server.port)
    with Raw(behind) as raw:
        yield behind, f"http://{raw.address}"


async def test_a_request_goes_through_the_proxy_and_the_policies(
    mode: str, server: Server, proxy: tuple[Proxy, str]
) -> None:
    behind, url = proxy
    service = resilience.Service(retry=resilience.Retry(wait=0.001))
    async with Face(mode, proxy=url, services={"web.internal": service}) as face:
        assert (await face.get("http://web.internal/x")).status_code == 200
        server.fault(status=503)
        response = await face.get("http://web.internal/x")
        assert response.status_code == 503
        assert attempts(response) == [("web.internal:80", 503, None)] * 3
        assert face.in_flight() == 0
        assert face.client.status().services["web.internal:80"].counts["attempts"] == 4
    assert behind.asked[0].startswith("GET http://web.internal/x ")


@pytest.mark.parametrize(
    ("limits", "opened"),
    [
        (None, 1),
        (httpx.Limits(max_connections=1), 1),
        (httpx.Limits(max_keepalive_connections=0), 3),
        (httpx.Limits(keepalive_expiry=1e-9), 3),
    ],
)
async def test_limits_hold_for_what_is_kept_idle(
    mode: str, server: Server, limits: httpx.Limits | None, opened: int
) -> None:
    with Raw(Proxy(server.port)) as raw:
        given = {} if limits is None else {"limits": limits}
        async with Face(mode, proxy=f"http://{raw.address}", **given) as face:
            for _ in range(3):
                assert (await face.get("http://web.internal/x")).status_code == 200
        assert raw.accepted == opened


async def test_balancing_steps_aside(mode: str, proxy: tuple[Proxy, str]) -> None:
    _, url = proxy
    service = resilience.Service(discovery=resilience.Static(["10.0.0.1:80", "10.0.0.2:80"]))
    async with Face(mode, proxy=url, services={"web.internal": service}) as face:
        response = await face.get("http://web.internal/x")
    assert attempts(response) == [("web.internal:80", 200, None)]


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
async def test_the_environment_is_obeyed(
    mode: str, proxy: tuple[Proxy, str], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    behind, url = proxy
    for name in ("HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv(variable, url)
    async with Face(mode) as face:
        assert (await face.get("http://web.internal/x")).status_code == 200
    async with Face(mode, trust_env=False, timeout=0.5, defaults=resilience.Service(retry=None)) as face:
        with pytest.raises(httpx.TransportError):
            await face.get("http://web.invalid/x")
    assert len(behind.asked) == 1


async def test_a_tunnel_verifies_the_name_behind_the_proxy(mode: str, tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    context = authority.context()
    with Server(ssl=authority.issue("good.test")) as server, Raw(Proxy(server.port)) as raw:
        async with Face(mode, proxy=f"http://{raw.address}", verify=context) as face:
            assert (await face.get("https://good.test/x")).status_code == 200
            with pytest.raises(httpx.ConnectError):
                await face.get("https://evil.test/x")
            assert face.in_flight() == 0


async def test_a_proxy_that_refuses_is_nobodys_fault(mode: str, server: Server, tmp_path: Path) -> None:
    behind = Proxy(server.port)
    behind.refusals = 10
    with Raw(behind) as raw:
        circuit = resilience.CircuitBreaker(minimum_calls=1)
        async with Face(mode, proxy=f"http://{raw.address}", defaults=resilience.Service(circuit=circuit)) as face:
            with pytest.raises(httpx.ProxyError):
                await face.get("https://good.test/x")
            assert face.endpoints("good.test:443")["good.test:443"].circuit == "closed"
    assert len(behind.asked) == 1
