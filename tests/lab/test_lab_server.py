"""The server process: what it answers, how it dies, what of it survives."""

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from resilience.lab import LabError, Server
from resilience.lab.application import Application
from resilience.lab.counts import Counts, Tally
from resilience.lab.http1 import Http1


def test_targets(server: Server, client: httpx.Client) -> None:
    get = client.get(f"{server.url}/items?x=1", headers={"x-request-id": "7"})
    assert get.json() == {"server": "a", "path": "/items?x=1"}
    assert get.headers["x-server"] == "a"
    assert server.requests == [("GET", "/items?x=1", "7")]
    assert client.get(f"{server.url}/bytes/100000").content == bytes(100_000)
    assert client.post(f"{server.url}/echo", content=b"abc").content == b"abc"
    assert client.post(f"{server.url}/echo", content=iter([b"abc", b"def"])).content == b"abcdef"
    assert client.get(f"{server.url}/headers", headers={"X-Mine": "1"}).json()["x-mine"] == "1"
    assert client.get(f"{server.url}/status/418").status_code == 418
    assert client.get(f"{server.url}/status/204").content == b""
    assert client.get(f"{server.url}/slow/0.001").is_success
    assert client.get(f"{server.url}/readyz").is_success
    assert client.get(f"{server.url}/redirect?to=http://x/y").headers["location"] == "http://x/y"
    assert client.get(f"{server.url}/auth").status_code == 401
    assert client.get(f"{server.url}/auth", auth=("user", "wrong")).status_code == 401
    assert client.get(f"{server.url}/auth", headers={"authorization": "Basic !"}).status_code == 401
    assert client.get(f"{server.url}/auth", auth=("user", "secret")).is_success
    head = client.head(f"{server.url}/bytes/7")
    assert (head.content, head.headers["content-length"]) == (b"", "7")
    assert server.count == len(server.requests) == 15
    assert (server.accepted, server.connections) == (1, 1)


@pytest.mark.parametrize("target", ["/bytes/x", "/bytes/-1", "/slow/-1", "/status/99", "/status/"])
def test_targets_out_of_range(server: Server, client: httpx.Client, target: str) -> None:
    assert client.get(server.url + target).status_code == 400


def test_server_sent_events(server: Server, client: httpx.Client) -> None:
    with client.stream("GET", f"{server.url}/sse") as events:
        lines = events.iter_lines()
        assert [next(lines) for _ in range(4)][::2] == [f'data: {{"server": "a", "n": {n}}}' for n in (0, 1)]
    assert client.get(server.url).is_success


def test_pipelined_requests_are_answered_in_turn_and_garbage_is_refused(server: Server) -> None:
    with socket.create_connection((server.host, server.port)) as raw, raw.makefile("rb") as answers:
        raw.sendall(b"GET /slow/0.01 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nrubbish\r\n\r\n")
        received = answers.read()
    assert [received.find(part) >= 0 for part in (b'"/slow/0.01"', b'"/2"', b"HTTP/1.1 400")] == [True] * 3
    assert received.index(b'"/slow/0.01"') < received.index(b'"/2"') < received.index(b"HTTP/1.1 400")
    with socket.create_connection((server.host, server.port)) as raw, raw.makefile("rb") as answers:
        raw.sendall(b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000)
        assert answers.readline().startswith(b"HTTP/1.1 431")


def test_a_body_longer_than_every_buffer(server: Server, client: httpx.Client) -> None:
    with client.stream("GET", f"{server.url}/bytes/20000000") as answer:
        while server.count < 1:
            pass
        assert len(answer.read()) == 20_000_000


def test_expect_continue(server: Server) -> None:
    with socket.create_connection((server.host, server.port)) as raw, raw.makefile("rb") as answers:
        raw.sendall(b"POST /echo HTTP/1.1\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n")
        assert answers.readline() == b"HTTP/1.1 100 Continue\r\n"
        raw.sendall(b"abc")
        assert b"200" in answers.readlines(3)[1]


def test_killed(server: Server, client: httpx.Client) -> None:
    client.get(f"{server.url}/before")
    server.kill()
    assert not server.alive
    with pytest.raises(httpx.ConnectError):
        client.get(server.url)
    assert server.requests == [("GET", "/before", "")]
    assert (server.count, server.accepted, server.connections) == (1, 1, 0)
    for order in (server.fault, server.hang, server.resume, server.goaway):
        with pytest.raises(LabError, match=f"server a at {server.address} is not running"):
            order()
    server.kill()
    server.stop()


def test_restarted_on_the_same_port_with_counts_going_on(server: Server, client: httpx.Client) -> None:
    server.fault(status=503)
    assert client.get(server.url).status_code == 503
    address, pid = server.address, server.pid
    server.kill()
    server.restart()
    assert (server.address, server.pid != pid, server.connections) == (address, True, 0)
    with httpx.Client(trust_env=False) as fresh:
        assert fresh.get(server.url).status_code == 200
    assert (server.count, server.accepted) == (2, 2)
    server.reset_counts()
    assert (server.count, server.accepted, server.requests) == (0, 0, [])


def test_hung_and_resumed(server: Server, client: httpx.Client) -> None:
    client.get(server.url)
    server.hang()
    assert (server.alive, server.count, server.connections) == (True, 1, 1)
    with pytest.raises(httpx.ReadTimeout):
        client.get(server.url, timeout=0.1)
    with pytest.raises(httpx.ReadTimeout), httpx.Client(trust_env=False, timeout=0.1) as fresh:
        fresh.get(server.url)
    with pytest.raises(LabError, match="hung: resume it first"):
        server.goaway()
    server.fault(status=500)
    server.resume()
    assert client.get(server.url).status_code == 500


def test_a_hung_server_can_be_stopped_and_killed() -> None:
    for end in (Server.stop, Server.kill):
        server = Server().start()
        server.hang()
        end(server)
        assert not server.alive


def test_a_graceful_stop_finishes_what_was_begun(client: httpx.Client) -> None:
    with Server() as server:
        answers: list[httpx.Response] = []
        with httpx.Client(trust_env=False) as idle:
            idle.get(server.url)
            caller = threading.Thread(target=lambda: answers.append(client.get(f"{server.url}/slow/0.5")))
            caller.start()
            while server.count < 2:
                pass
            server.stop(grace=5)
            caller.join()
        assert answers[0].is_success
        assert answers[0].headers["connection"] == "close"
        with pytest.raises(httpx.ConnectError):
            client.get(server.url)


def test_what_has_arrived_before_a_graceful_stop_is_answered() -> None:
    """Though asyncio has not handed it over: a connection with a request in its buffers is not idle."""

    async def answered() -> bytes:
        counts = Counts()
        app = Application("a", Tally(counts.fileno()), service_time=0.0, max_streams=1)
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(lambda: Http1(app, None), "127.0.0.1", 0)
        place = listening.sockets[0].getsockname()
        async with listening:
            with socket.create_connection(place) as idle, socket.create_connection(place) as asking:
                while len(app.connections) < 2:
                    await asyncio.sleep(0)
                asking.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                app.draining = True
                for connection in list(app.connections):
                    connection.drain()
                assert await loop.run_in_executor(None, idle.recv, 1) == b"", "that one was idle"
                return await loop.run_in_executor(None, asking.recv, 1000)

    head = asyncio.run(answered())
    assert head.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in head.lower()


def test_a_graceful_stop_does_not_wait_for_ever(client: httpx.Client) -> None:
    with Server() as server, client.stream("GET", f"{server.url}/sse"):
        server.stop(grace=0.05)
        assert not server.alive


def test_starting_twice_is_starting_once(server: Server) -> None:
    pid = server.pid
    assert server.start().pid == pid
    assert str(pid) in repr(server)


def test_a_server_that_never_ran() -> None:
    server = Server()
    server.stop()
    server.kill()
    with pytest.raises(LabError, match="not running"):
        _ = server.pid
    assert (server.alive, server.count, server.connections) == (False, 0, 0)


def test_a_server_that_cannot_start_says_so(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    server = Server(ssl=(tmp_path / "missing.pem", tmp_path / "missing.pem"))
    with pytest.raises(LabError, match="ended without a reply"):
        server.start()
    server.stop()
    assert "FileNotFoundError" in capfd.readouterr().err


def test_a_taken_port_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resilience.lab.ports._PATIENCE", 0.0)
    with pytest.raises(OSError, match="in use"):
        Server(port=server.port).start()


@pytest.mark.parametrize("hung", [False, True])
def test_children_die_with_their_parent(*, hung: bool) -> None:
    program = (
        "import sys\nfrom resilience.lab import Server\nserver = Server().start()\n"
        + ("server.hang()\n" if hung else "")
        + "print(server.pid, flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.send_signal(signal.SIGKILL)
            assert select.select([child], [], [], 10)[0] == [child]
        finally:
            os.close(child)


def test_a_server_outlives_the_thread_that_started_it(client: httpx.Client) -> None:
    server = Server()
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    with server:
        assert client.get(server.url).is_success
