"""Each fault, as a bare client meets it over HTTP/1.1."""

import socket

import httpx
import pytest

from resilience.lab import Server


def test_status_and_retry_after(server: Server, client: httpx.Client) -> None:
    server.fault(status=503, retry_after=2)
    assert (client.get(server.url).status_code, client.get(server.url).headers["retry-after"]) == (503, "2")
    server.fault(status=429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT")
    assert client.get(server.url).headers["retry-after"].startswith("Wed")
    server.fault()
    assert client.get(server.url).status_code == 200


def test_a_ratio_is_exact(server: Server, client: httpx.Client) -> None:
    server.fault(status=503, ratio=0.3)
    assert sum(client.get(server.url).status_code == 503 for _ in range(20)) == 6


def test_limits(server: Server, client: httpx.Client) -> None:
    server.fault(status=503, methods=["POST"], path="/items")
    assert client.get(f"{server.url}/items").status_code == 200
    assert client.post(f"{server.url}/items/7").status_code == 503
    assert client.post(f"{server.url}/other").status_code == 200


def test_delay(server: Server, client: httpx.Client) -> None:
    server.fault(delay=30)
    with pytest.raises(httpx.ReadTimeout):
        client.get(server.url, timeout=0.05)
    assert server.count == 1


def test_service_time(client: httpx.Client) -> None:
    with Server(service_time=30) as server, pytest.raises(httpx.ReadTimeout):
        client.get(server.url, timeout=0.05)


@pytest.mark.parametrize(("reset", "counted"), [("before", 0), ("after", 1)])
def test_resets(server: Server, client: httpx.Client, reset: str, counted: int) -> None:
    server.fault(reset=reset)  # type: ignore[arg-type]
    with pytest.raises(httpx.ReadError, match="reset by peer"):
        client.get(server.url)
    assert server.count == counted


def test_truncated(server: Server, client: httpx.Client) -> None:
    server.fault(truncate=True)
    with client.stream("GET", f"{server.url}/bytes/200000") as answer:
        assert answer.headers["content-length"] == "200000"
        with pytest.raises(httpx.RemoteProtocolError, match="received 100000 bytes, expected 200000"):
            answer.read()


def test_dripping(server: Server, client: httpx.Client) -> None:
    server.fault(drip=0.001)
    with client.stream("GET", f"{server.url}/bytes/100") as answer:
        pieces = list(answer.iter_raw())
    assert len(pieces) > 1
    assert b"".join(pieces) == bytes(100)
    server.fault(drip=30)
    with pytest.raises(httpx.ReadTimeout):
        client.get(f"{server.url}/bytes/100", timeout=0.05)


def test_garbage(server: Server, client: httpx.Client) -> None:
    server.fault(garbage=True)
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(server.url)


def test_endless_headers(server: Server, client: httpx.Client) -> None:
    server.fault(endless_headers=True)
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(server.url)
    server.fault()
    assert client.get(server.url).is_success


def test_idle_connections_are_closed_at_once_unannounced(server: Server) -> None:
    server.fault(idle_close=0)
    with socket.create_connection((server.host, server.port)) as raw, raw.makefile("rb") as answers:
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
        received = answers.read()
    assert received.startswith(b"HTTP/1.1 200")
    assert b"close" not in received


def test_idle_connections_are_closed_after_a_while(server: Server) -> None:
    with socket.create_connection((server.host, server.port)) as raw, raw.makefile("rb") as answers:
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
        server.fault(idle_close=60)
        server.fault(idle_close=0.05)
        assert answers.read().endswith(b"}")
    with socket.create_connection((server.host, server.port)) as raw, raw.makefile("rb") as answers:
        assert answers.read() == b""


def test_a_busy_connection_is_not_idle(server: Server) -> None:
    with socket.create_connection((server.host, server.port)) as raw, raw.makefile("rb") as answers:
        raw.sendall(b"GET /slow/0.2 HTTP/1.1\r\n\r\n")
        while server.count < 1:
            pass
        server.fault(idle_close=0.02)
        assert answers.read().endswith(b"}")


def test_bad_faults_are_refused_before_they_are_sent(server: Server) -> None:
    with pytest.raises(ValueError, match="ratio=2"):
        server.fault(ratio=2)
