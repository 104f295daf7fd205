"""One HTTP/1.1 connection of the lab's server, with faults; it hands over when a client speaks HTTP/2."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
from typing import TYPE_CHECKING, cast

from resilience.lab.faults import HEALTHY, Fault
from resilience.lab.routes import SSE_INTERVAL, Answer
from resilience.lab.wire import MAX_HEAD, MalformedError, Request, parse_head, response_head, take_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilience.lab.application import Application, Connection

__all__ = ["GARBAGE", "Http1", "pieces", "reset_connection"]

GARBAGE = b"\x00\xffGARBAGE\x07 this is no HTTP\r\n\r\n" * 4
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_RESET = struct.pack("ii", 1, 0)
_PIECES = 10
_WRITE_AT_ONCE = 1 << 16


class Http1(asyncio.Protocol):
    """Reads requests one after the other, answers each, keeps the connection alive."""

    __slots__ = (
        "_answering", "_app", "_buffer", "_closing", "_fault", "_idle_timer", "_paused", "_request", "_transport",
        "_upgrade",
    )  # fmt: skip

    def __init__(self, app: Application, upgrade: Callable[[], asyncio.Protocol] | None) -> None:
        """Serve ``app``; ``upgrade`` makes the protocol for clients that speak HTTP/2."""
        self._app = app
        self._upgrade = upgrade
        self._buffer = bytearray()
        self._request: Request | None = None
        self._fault: Fault = HEALTHY
        self._answering: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._paused: asyncio.Future[None] | None = None
        self._closing = False

    # -- what asyncio tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._app.opened(self)
        if self._app.fault.idle_close:  # 0 means after an answer, of which there was none yet
            self.fault_changed()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Drop what was being answered."""
        self._app.closed(self)
        self._closing = True
        for pending in (self._answering, self._idle_timer, self._paused):
            if pending is not None:
                pending.cancel()

    def data_received(self, data: bytes) -> None:
        """Read on, unless an answer is still being written: then later requests wait."""
        self._buffer += data
        if self._upgrade is not None:
            if len(self._buffer) < len(_PREFACE) and _PREFACE.startswith(self._buffer):
                return
            if self._buffer.startswith(_PREFACE):
                self._hand_over(self._upgrade())
                return
            self._upgrade = None
        if self._answering is None:
            self._advance()

    def pause_writing(self) -> None:
        """Note that the peer reads too slowly."""
        self._paused = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Let a waiting stream go on."""
        if self._paused is not None and not self._paused.done():
            self._paused.set_result(None)
        self._paused = None

    # -- what the application tells

    def fault_changed(self) -> None:
        """Start or stop the idle clock of a connection that is idle now."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        limit = self._app.fault.idle_close
        if limit is not None and self._answering is None and self._request is None:
            self._idle_timer = asyncio.get_running_loop().call_later(limit or 0.001, self._transport.close)

    def drain(self) -> None:
        """Close now when idle; otherwise the response says ``Connection: close``."""
        if self._answering is None and self._request is None and not self._buffer and not _unread(self._transport):
            self._close()

    def goaway(self, *, armed: bool) -> None:
        """Do nothing: HTTP/1.1 has no GOAWAY."""

    # -- reading

    def _hand_over(self, protocol: asyncio.Protocol) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._transport.set_protocol(protocol)
        self._app.replaced(self, cast("Connection", protocol))
        protocol.connection_made(self._transport)
        protocol.data_received(bytes(self._buffer))

    def _advance(self) -> None:
        try:
            while self._answering is None and not self._closing and self._read_one():
                pass
        except MalformedError as error:
            self._send(Answer(400, [], f"{error}\n".encode()), keep_alive=False)

    def _read_one(self) -> bool:
        request = self._request
        if request is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > MAX_HEAD:
                    self._send(Answer(431, []), keep_alive=False)
                return False
            request = self._request = parse_head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
            if self._idle_timer is not None:
                self._idle_timer.cancel()
                self._idle_timer = None
            self._fault = self._app.hit(request.method, request.target)
            if self._fault.reset == "before":
                self._reset()
                return False
            if "expect" in request.headers:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not take_body(request, self._buffer):
            return False
        self._request = None
        self._app.read(request)
        self._respond(request, self._fault)
        return True

    # -- answering

    def _respond(self, request: Request, fault: Fault) -> None:
        answer = self._app.answer(request, fault)
        if answer.wait > 0:
            later = asyncio.get_running_loop().call_later
            self._answering = later(answer.wait, self._respond_now, request, answer, fault)
        else:
            self._respond_now(request, answer, fault)

    def _respond_now(self, request: Request, answer: Answer, fault: Fault) -> None:
        waited = self._answering is not None
        self._answering = None
        if fault.reset == "after":
            self._reset()
        elif fault.garbage:
            self._transport.write(GARBAGE)
            self._close()
        elif (
            fault.truncate or fault.drip or fault.endless_headers or answer.events or len(answer.body) > _WRITE_AT_ONCE
        ):
            self._answering = asyncio.ensure_future(self._stream(request, answer, fault))
        else:
            self._send(answer, keep_alive=request.keep_alive, head_only=request.method == "HEAD")
            if waited:
                self._advance()

    def _send(self, answer: Answer, *, keep_alive: bool, head_only: bool = False) -> None:
        head = self._head(answer, keep_alive=keep_alive)
        self._transport.write(head if head_only else head + answer.body)
        self._finish(keep_alive=keep_alive)

    def _head(self, answer: Answer, *, keep_alive: bool) -> bytes:
        headers = answer.headers
        if answer.events:
            headers.append(("transfer-encoding", "chunked"))
        elif answer.status not in {204, 304}:
            headers.append(("content-length", str(len(answer.body))))
        if not keep_alive or self._app.draining:
            headers.append(("connection", "close"))
        return response_head(answer.status, headers)

    def _finish(self, *, keep_alive: bool) -> None:
        if not keep_alive or self._app.draining or self._app.fault.idle_close == 0:
            self._close()
        elif self._app.fault.idle_close is not None:
            self.fault_changed()

    async def _stream(self, request: Request, answer: Answer, fault: Fault) -> None:
        if fault.endless_headers:
            await self._write(b"HTTP/1.1 200 OK\r\n")
            while True:
                await self._write(b"x-endless: and another one\r\n" * 100)
        await self._write(self._head(answer, keep_alive=request.keep_alive))
        number = 0
        while answer.events and request.method != "HEAD":
            event = f'data: {{"server": "{self._app.name}", "n": {number}}}\n\n'.encode()
            await self._write(b"%x\r\n%b\r\n" % (len(event), event))
            await asyncio.sleep(SSE_INTERVAL)
            number += 1
        if request.method != "HEAD":
            body = answer.body[: len(answer.body) // 2] if fault.truncate else answer.body
            for piece in pieces(body, fault):
                await self._write(piece)
                await asyncio.sleep(fault.drip)
        self._answering = None
        self._finish(keep_alive=request.keep_alive and not fault.truncate)
        if not self._closing:
            self._advance()

    async def _write(self, data: bytes) -> None:
        if self._paused is not None:
            await self._paused
        self._transport.write(data)
        if self._transport.is_closing():
            raise asyncio.CancelledError

    # -- ending

    def _close(self) -> None:
        self._closing = True
        self._transport.close()

    def _reset(self) -> None:
        self._closing = True
        reset_connection(self._transport)


def pieces(body: bytes, fault: Fault) -> list[bytes]:
    """Cut a body as it is sent: in ten pieces when it drips, else in pieces of 64 KiB."""
    size = max(1, -(-len(body) // _PIECES)) if fault.drip else _WRITE_AT_ONCE
    return [body[i : i + size] for i in range(0, len(body), size)]


def reset_connection(transport: asyncio.Transport) -> None:
    """End a connection by RST instead of FIN."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


def _unread(transport: asyncio.Transport) -> bool:
    """Tell whether something has arrived that asyncio has not handed over yet: such a connection is not idle."""
    arrived = select.poll()
    arrived.register(transport.get_extra_info("socket"), select.POLLIN)
    return bool(arrived.poll(0))
