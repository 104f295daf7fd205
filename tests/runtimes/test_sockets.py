"""Sockets of threads and of asyncio: large bodies both ways at once, ends, limits, and handshakes that fail."""

import asyncio
import contextlib
import gc
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resilience.lab import Authority
from resilience.runtimes import socket_asyncio, socket_blocking
from resilience.runtimes.socket_asyncio import AsyncioSocket
from resilience.runtimes.socket_blocking import BlockingSocket, at_end

LARGE = 4 * 1024 * 1024
"""More than all buffers on the way hold."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(20.0)
        yield made


class Peer:
    """The other end, in a thread."""

    def __init__(self, listener: socket.socket, talk: Callable[[socket.socket], object]) -> None:
        self.said: object = None
        self._listener, self._talk = listener, talk
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(20.0)
        with connection:
            try:
                self.said = self._talk(connection)
            except OSError as error:
                self.said = error

    def end(self) -> object:
        self._thread.join(20.0)
        assert not self._thread.is_alive()
        return self.said


def drain(connection: socket.socket) -> int:
    size = 0
    while data := connection.recv(65536):
        size += len(data)
    return size


def both_ways(connection: socket.socket) -> int:
    sending = threading.Thread(target=connection.sendall, args=(bytes(LARGE),), daemon=True)
    sending.start()
    size = 0
    while size < LARGE:
        size += len(connection.recv(65536))
    sending.join(20.0)
    return size


def dialled(listener: socket.socket) -> BlockingSocket:
    return socket_blocking.dial([listener.getsockname()], 5.0)


# Threads.


def test_threads_send_and_receive_large_bodies_at_once(listener: socket.socket) -> None:
    peer = Peer(listener, both_ways)
    sock = dialled(listener)
    rest, size = memoryview(bytes(LARGE)), 0

    def read() -> None:
        nonlocal size
        while size < LARGE:
            size += len(sock.read(65536, 20.0))

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    while rest:
        rest = rest[sock.write(rest, 20.0) :]
    reading.join(20.0)
    assert (size, peer.end()) == (LARGE, LARGE)
    sock.close()


def test_threads_wait_no_longer_than_told(listener: socket.socket) -> None:
    peer = Peer(listener, drain)
    sock = dialled(listener)
    for limit in (0.0, 0.01):
        with pytest.raises(TimeoutError):
            sock.read(1, limit)
    sock.close()
    peer.end()


def test_threads_wait_no_longer_than_told_for_room(listener: socket.socket) -> None:
    sock = dialled(listener)
    connection, _ = listener.accept()
    with pytest.raises(TimeoutError):
        for _ in range(1000):
            sock.write(bytes(LARGE), 0.01)
    connection.close()
    sock.close()


def test_threads_see_what_waits_and_the_end(listener: socket.socket) -> None:
    sock = dialled(listener)
    connection, _ = listener.accept()
    assert not sock.readable()
    assert sock.read_waiting(10) is None
    connection.sendall(b"late")
    assert sock.read(2, 5.0) == b"la"
    assert sock.readable()
    assert not sock.ended()
    assert sock.read_waiting(10) == b"te"
    connection.shutdown(socket.SHUT_WR)
    assert sock.read(1, 5.0) == b""
    assert sock.ended()
    assert sock.read_waiting(10) == b""
    sock.write(b"a half-closed connection still takes this", 5.0)
    assert connection.recv(6) == b"a half"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()  # reset
    assert at_end(sock.raw)
    sock.shut_down()
    sock.close()
    sock.shut_down()
    assert sock.readable()


def test_two_threads_may_look_at_once(listener: socket.socket) -> None:
    sock = dialled(listener)

    class Busy:
        def poll(self, timeout: float) -> list[Any]:
            raise RuntimeError("concurrent poll() invocation")

    sock._poll = Busy()  # type: ignore[assignment]
    assert not sock.readable()
    sock.close()


def test_a_thread_is_woken_when_another_shuts_the_socket(listener: socket.socket) -> None:
    sock = dialled(listener)
    got: list[bytes] = []
    reading = threading.Thread(target=lambda: got.append(sock.read(1, 20.0)), daemon=True)
    reading.start()
    sock.shut_down()
    reading.join(20.0)
    assert got == [b""]
    sock.close()


def test_unix_sockets(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        sock = socket_blocking.dial_unix(
            str(tmp_path / "s"), 5.0, socket_options=[(socket.SOL_SOCKET, socket.SO_SNDBUF, 9999)]
        )
        assert sock.raw.family == socket.AF_UNIX
        sock.close()
        with pytest.raises(FileNotFoundError):
            socket_blocking.dial_unix(str(tmp_path / "none"), 5.0)


def babble(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 400 no TLS here\r\n\r\n")
    drain(connection)


@pytest.mark.parametrize("talk", [babble, drain])
def test_a_thread_whose_handshake_fails_or_takes_too_long_leaks_no_socket(
    listener: socket.socket, talk: Callable[[socket.socket], object]
) -> None:
    peer = Peer(listener, talk)
    sock = dialled(listener)
    with pytest.raises(OSError, match=r"."):
        sock.start_tls(ssl.create_default_context(), "web.internal", 0.2)
    assert sock.raw.fileno() == -1
    peer.end()


# Tasks.


async def connected(listener: socket.socket, **options: Any) -> AsyncioSocket:
    return await socket_asyncio.dial([listener.getsockname()], 5.0, **options)


async def test_tasks_send_and_receive_large_bodies_at_once(listener: socket.socket) -> None:
    peer = Peer(listener, both_ways)
    sock = await connected(listener, local_address="127.0.0.1")
    size = 0

    async def read() -> None:
        nonlocal size
        while size < LARGE:
            size += len(await sock.read(1000, 20.0))

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        for start in range(0, LARGE, 1 << 16):
            await sock.write(bytes(1 << 16), 20.0)
            del start
    assert size == LARGE
    await asyncio.to_thread(peer.end)
    await sock.close()
    assert peer.said == LARGE


async def test_tasks_slow_a_peer_down_that_nobody_reads(listener: socket.socket) -> None:
    sock = await connected(listener)
    connection, _ = listener.accept()
    connection.setblocking(False)
    sent = 0
    for _ in range(1000):
        await asyncio.sleep(0)
        try:
            sent += connection.send(bytes(1 << 16))
        except BlockingIOError:
            if sock._held:
                break
    assert sock._held
    assert sock._waiting < sent
    assert len(sock.read_waiting()) > 0
    assert not sock._held
    connection.close()
    await sock.close()


async def test_tasks_wait_no_longer_than_told(listener: socket.socket) -> None:
    sock = await connected(listener)
    connection, _ = listener.accept()
    for limit in (0.05, 0.01, 0.0):  # a shorter one replaces the timer, a longer one moves it
        with pytest.raises(TimeoutError):
            await sock.read(1, limit)
    reading = asyncio.ensure_future(sock.read(5, 5.0))
    await asyncio.sleep(0)
    connection.sendall(b"early")
    assert await reading == b"early"
    with pytest.raises(TimeoutError):
        for _ in range(1000):
            await sock.write(bytes(1 << 16), 0.05)
    connection.close()
    await sock.close()


async def test_tasks_hear_the_end_and_may_still_speak(listener: socket.socket) -> None:
    sock = await connected(listener)
    connection, _ = listener.accept()
    assert not sock.readable()
    assert not sock.ended()
    connection.sendall(b"last words")
    connection.shutdown(socket.SHUT_WR)
    assert await sock.read(4, 5.0) == b"last"
    assert sock.readable()
    assert await sock.read(100, None) == b" words"
    assert await sock.read(1, 5.0) == b""
    assert sock.ended()
    await sock.write(b"ours", 5.0)
    assert connection.recv(10) == b"ours"
    connection.close()
    await sock.close()
    assert sock.readable()
    with pytest.raises(OSError, match=r"^$|."):
        await sock.write(b"too late", 1.0)


async def test_tasks_hear_of_a_reset(listener: socket.socket) -> None:
    sock = await connected(listener)
    connection, _ = listener.accept()
    reading = asyncio.ensure_future(sock.read(1, 5.0))
    await asyncio.sleep(0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
    with pytest.raises(ConnectionResetError):
        await reading
    with pytest.raises(ConnectionResetError):
        await sock.write(b"x", 1.0)
    await sock.close()


async def test_a_cancelled_read_takes_nothing(listener: socket.socket) -> None:
    sock = await connected(listener)
    connection, _ = listener.accept()
    reading = asyncio.ensure_future(sock.read(1, 5.0))
    await asyncio.sleep(0)
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading
    connection.sendall(b"x")
    assert await sock.read(1, 5.0) == b"x"
    connection.close()
    await sock.close()


@pytest.mark.parametrize("how", ["nonsense", "silence", "cancelled"])
async def test_a_task_whose_handshake_fails_leaks_no_socket(listener: socket.socket, how: str) -> None:
    peer = Peer(listener, babble if how == "nonsense" else drain)
    sock = await connected(listener)
    shaking = asyncio.ensure_future(sock.start_tls(ssl.create_default_context(), "web.internal", 0.2))
    await asyncio.sleep(0)
    if how == "cancelled":
        await asyncio.sleep(0)
        shaking.cancel()
    with pytest.raises((OSError, TimeoutError, asyncio.CancelledError)):
        await shaking
    await asyncio.to_thread(peer.end)
    with pytest.raises(OSError, match=r"^$|."):
        await sock.write(b"x", 1.0)
    with pytest.raises(OSError, match=r"^$|."):
        await sock.start_tls(ssl.create_default_context(), "web.internal", 0.2)
    await sock.close()
    gc.collect()


async def test_what_comes_in_the_clear_is_not_taken_for_what_comes_over_tls(
    listener: socket.socket, tmp_path: Path
) -> None:
    authority = Authority.create(tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*authority.issue("web.internal"))

    def talk(connection: socket.socket) -> bytes:
        connection.sendall(b"injected")
        with serving.wrap_socket(connection, server_side=True) as secure:
            secure.sendall(b"real")
            return secure.recv(1)

    peer = Peer(listener, talk)
    sock = await connected(listener)
    while not sock._chunks:  # as long as dialling several addresses may take
        await asyncio.sleep(0)
    with pytest.raises(ConnectionAbortedError, match="before the handshake"):
        await sock.start_tls(authority.context(), "web.internal", 5.0)
    await sock.close()
    assert isinstance(await asyncio.to_thread(peer.end), OSError)


async def test_tls_carries_large_bodies(listener: socket.socket, tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*authority.issue("web.internal"))

    def talk(connection: socket.socket) -> int:
        with serving.wrap_socket(connection, server_side=True) as secure:
            size = 0
            while size < LARGE:
                size += len(secure.recv(65536))
            secure.sendall(b"y" * LARGE)
            return size

    peer = Peer(listener, talk)
    sock = await connected(listener)
    await sock.start_tls(authority.context(), "web.internal", 5.0)
    for _ in range(LARGE >> 16):
        await sock.write(b"x" * (1 << 16), 20.0)
    size = 0
    while data := await sock.read(1 << 16, 20.0):
        size += len(data)
    assert size == LARGE
    assert await asyncio.to_thread(peer.end) == LARGE
    await sock.close()


async def test_tasks_dial_unix_sockets_with_options(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        option = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock = await socket_asyncio.dial_unix(str(tmp_path / "s"), 5.0, socket_options=[option])
        assert sock.extra("socket").getsockopt(*option[:2])
        await sock.close()


async def test_tasks_race_several_addresses(listener: socket.socket) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = probe.getsockname()
    sock = await socket_asyncio.dial([nobody, listener.getsockname()], 5.0)
    assert sock.extra("peername") == listener.getsockname()
    await sock.close()
    with pytest.raises(OSError, match=r"."):
        await socket_asyncio.dial([nobody, nobody], 5.0)
