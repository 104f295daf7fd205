"""A loopback HTTP/1.1 server in a process of its own, as fast as Python allows, so that clients are what is measured.

Run as a script it is the server; imported, `running()` starts it and stops it. It is one asyncio protocol (uvloop when
installed) that looks for the end of a GET's headers and writes one prepared answer: no routing, no framework.

Paths: `/2` and `/10k` answer bodies of 2 and 10,000 bytes; `/barrier/N` answers when N such requests are waiting, which
opens exactly N connections; `/open` answers how many connections are open now.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
NAME = "bench.internal"
ENDPOINTS = 3
BODIES = {"2": b"ok", "10k": b"x" * 10_000}


def _answer(body: bytes) -> bytes:
    head = (
        "HTTP/1.1 200 OK\r\nserver: bench\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
        f"content-type: text/plain; charset=utf-8\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Protocol(asyncio.Protocol):
    """One connection; the class attributes are shared by all of them."""

    answers = {f"/{name}".encode(): _answer(body) for name, body in BODIES.items()}  # noqa: RUF012 - read only
    open: set[asyncio.Transport] = set()  # noqa: RUF012 - shared on purpose
    waiting: list[asyncio.Transport] = []  # noqa: RUF012 - shared on purpose

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self.buffer = b""
        self.open.add(self.transport)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.open.discard(self.transport)
        if self.transport in self.waiting:
            self.waiting.remove(self.transport)

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer + data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            path = buffer[4 : buffer.index(b" ", 4)]
            answer = self.answers.get(path)
            if answer is not None:
                self.transport.write(answer)
            else:
                self._special(path)
            buffer = buffer[end + 4 :]
        self.buffer = buffer

    def _special(self, path: bytes) -> None:
        if not path.startswith(b"/barrier/"):
            self.transport.write(_answer(b"%d" % len(self.open)))
            return
        self.waiting.append(self.transport)
        if len(self.waiting) >= int(path.rpartition(b"/")[2]):
            for transport in self.waiting:
                transport.write(self.answers[b"/2"])
            self.waiting.clear()


async def _serve(certificate: str) -> None:
    loop = asyncio.get_running_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    ports = []
    for tls in (None, context):
        for _ in range(ENDPOINTS):
            listener = await loop.create_server(_Protocol, HOST, 0, ssl=tls, backlog=1024)
            ports.append(listener.sockets[0].getsockname()[1])
    print(json.dumps(ports), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # until the parent closes the pipe, or dies


@dataclass(frozen=True, slots=True)
class Server:
    """Where the running server listens, and how to trust it."""

    plain: tuple[int, ...]
    secure: tuple[int, ...]
    trust: ssl.SSLContext

    def ports(self, *, tls: bool) -> tuple[int, ...]:
        """Ports of the plain or of the TLS listeners, one per endpoint; one process serves all."""
        return self.secure if tls else self.plain

    def url(self, path: str, *, tls: bool, host: str = HOST) -> str:
        """Address of `path` on the first listener of the kind; `host` may be the name with static endpoints."""
        return f"http{'s' if tls else ''}://{host}:{self.ports(tls=tls)[0]}/{path}"


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """Start the server process with a throw-away certificate; end it on leaving."""
    import trustme  # noqa: PLC0415 - the server process does without

    authority = trustme.CA()
    with tempfile.TemporaryDirectory() as folder:
        certificate = Path(folder, "server.pem")
        authority.issue_cert(HOST, "localhost", NAME).private_key_and_cert_chain_pem.write_to_path(str(certificate))
        trust = ssl.create_default_context()
        authority.configure_trust(trust)
        process = subprocess.Popen(  # noqa: S603 - our own file, our own interpreter
            [sys.executable, __file__, str(certificate)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            if process.stdin is None or process.stdout is None:
                raise RuntimeError
            try:
                ports = json.loads(process.stdout.readline())
                yield Server(tuple(ports[:ENDPOINTS]), tuple(ports[ENDPOINTS:]), trust)
            finally:
                process.stdin.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        try:
            import uvloop
        except ImportError:
            asyncio.run(_serve(sys.argv[1]))
        else:
            uvloop.run(_serve(sys.argv[1]))
