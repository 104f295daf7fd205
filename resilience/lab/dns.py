"""An authoritative DNS server on loopback, UDP and TCP, whose records and faults change while it runs."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from typing import Self, cast

from resilience.lab.ports import common_port
from resilience.lab.responder import Responder

__all__ = ["DnsServer"]

_LENGTH = struct.Struct("!H")


class DnsServer(Responder):
    """Answers from its own records on ``address``, in a thread with its own event loop.

    All methods may be called from any thread and are in force when they return.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        negative_soa: bool = True,
        negative_ttl: int = 1,
        rotate: bool = False,
    ) -> None:
        """Describe a server; nothing runs yet.

        Args:
            host: a loopback address.
            port: 0 picks one free for UDP and TCP.
            negative_soa: NXDOMAIN and NODATA carry an SOA record, as most servers' do (dnsmasq's do not).
            negative_ttl: seconds for which that SOA lets resolvers remember the absence.
            rotate: start each answer with the next record.

        """
        super().__init__(negative_soa=negative_soa, negative_ttl=negative_ttl, rotate=rotate)
        self.host = host
        self.port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    # -- life

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def start(self) -> Self:
        """Listen and answer; no effect when running. After :meth:`stop`: on the same port, with the same records."""
        if self._thread is not None:
            return self
        self.port = self.port or common_port([self.host], udp=True)
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        udp = socket.socket(family, socket.SOCK_DGRAM)
        tcp = socket.socket(family, socket.SOCK_STREAM)
        try:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for each in (tcp, udp):
                each.bind((self.host, self.port))
        except OSError:
            tcp.close()
            udp.close()
            raise
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(udp, tcp, ready)), name=f"lab-dns-{self.port}", daemon=True
        )
        self._thread.start()
        ready.wait()
        return self

    def stop(self) -> None:
        """Close both sockets (queries are then refused by ICMP); no effect when stopped."""
        thread, self._thread = self._thread, None
        if thread is not None and self._loop is not None and self._stopped is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)
            thread.join()

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{self.host}:{self.port}"

    async def _serve(self, udp: socket.socket, tcp: socket.socket, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        transport, _ = await self._loop.create_datagram_endpoint(lambda: _Udp(self), sock=udp)
        streams = await asyncio.start_server(self._stream, sock=tcp)
        ready.set()
        await self._stopped.wait()
        transport.close()
        streams.close()

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (length,) = _LENGTH.unpack(await reader.readexactly(2))
                answer, delay = self.respond(await reader.readexactly(length), "tcp")
                await asyncio.sleep(delay)
                if answer is not None:
                    writer.write(_LENGTH.pack(len(answer)) + answer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer, delay = self._server.respond(data, "udp")
        if answer is None:
            return
        if delay:
            asyncio.get_running_loop().call_later(delay, self._transport.sendto, answer, addr)
        else:
            self._transport.sendto(answer, addr)
