"""One HTTP/2 connection of the lab's server: streams, faults, GOAWAY and refused streams. Needs ``h2``."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from resilience.lab.http1 import GARBAGE, pieces, reset_connection
from resilience.lab.routes import SSE_INTERVAL, Answer
from resilience.lab.wire import Request

if TYPE_CHECKING:
    from resilience.lab.application import Application
    from resilience.lab.faults import Fault

__all__ = ["Http2"]

_WINDOW = 1 << 20
_LINGER = 0.5
"""Seconds for which a connection stays open after the farewell and the last answer, unless the client closes it: what
it has sent meanwhile would be met by a reset, and a reset takes answers along that the client has not read yet."""


class Http2(asyncio.Protocol):
    """Answers each stream in a task of its own."""

    def __init__(self, app: Application) -> None:
        """Serve ``app``."""
        self._app = app
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1"))
        self._requests: dict[int, tuple[Request, Fault]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._room = asyncio.Event()
        self._idle_timer: asyncio.TimerHandle | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._last_stream = 0
        self._gone = False
        self._armed = False

    # -- what asyncio tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Announce how much may be sent at once."""
        self._transport = cast("asyncio.Transport", transport)
        ours = {SettingCodes.MAX_CONCURRENT_STREAMS: self._app.max_streams, SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW}
        self._h2.local_settings = Settings(client=False, initial_values=ours)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_WINDOW)
        self._flush()
        self.fault_changed()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Drop what was being answered."""
        self._app.closed(self)
        for task in self._tasks.values():
            task.cancel()
        for timer in (self._idle_timer, self._linger):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Feed the state machine and act on what it found."""
        try:
            events = self._h2.receive_data(data)
        except ProtocolError:
            self._flush()
            self._transport.close()
            return
        for event in events:
            self._handle(event)
            if self._transport.is_closing():
                return
        self._flush()

    # -- what the application tells

    def fault_changed(self) -> None:
        """Start or stop the idle clock."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        limit = self._app.fault.idle_close
        if limit is not None and not self._tasks and not self._requests:
            self._idle_timer = asyncio.get_running_loop().call_later(limit or 0.001, self._transport.close)

    def drain(self) -> None:
        """Send GOAWAY, and close some time after the last stream."""
        self.goaway(armed=False)

    def goaway(self, *, armed: bool) -> None:
        """Send GOAWAY now, or when the next request arrives: that one is then left out."""
        if armed:
            self._armed = True
        elif not self._gone:
            self._gone = True
            # Written past h2, which would not let the streams begun before be answered after it.
            self._transport.write(GoAwayFrame(last_stream_id=self._last_stream).serialize())
            self._close_when_done()

    # -- reading

    def _handle(self, event: Event) -> None:
        match event:
            case RequestReceived():
                self._begin(event)
            case DataReceived():
                if event.stream_id in self._requests:
                    self._requests[event.stream_id][0].body += event.data
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case StreamEnded():
                if event.stream_id in self._requests:
                    request, fault = self._requests.pop(event.stream_id)
                    self._app.read(request)
                    task = asyncio.ensure_future(self._respond(event.stream_id, request, fault))
                    self._tasks[event.stream_id] = task
            case StreamReset():
                self._requests.pop(event.stream_id, None)
                if event.stream_id in self._tasks:
                    self._tasks.pop(event.stream_id).cancel()
                self._close_when_done()
            case WindowUpdated():
                self._room.set()
            case ConnectionTerminated():
                self._transport.close()
            case _:
                pass

    def _begin(self, event: RequestReceived) -> None:
        headers = dict(cast("list[tuple[str, str]]", event.headers))
        request = Request(headers.get(":method", ""), headers.get(":path", ""), headers)
        stream = event.stream_id
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        if self._armed:
            self._armed = False
            self.goaway(armed=False)
            return
        if self._gone or self._app.refuses_stream():
            with suppress(ProtocolError):  # the client has ended it in the same breath
                self._h2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
            return
        fault = self._app.hit(request.method, request.target)
        if fault.reset == "before":
            reset_connection(self._transport)
            return
        self._last_stream = stream
        self._requests[stream] = (request, fault)

    # -- answering

    async def _respond(self, stream: int, request: Request, fault: Fault) -> None:
        try:
            answer = self._app.answer(request, fault)
            if answer.wait > 0:
                await asyncio.sleep(answer.wait)
            if fault.reset == "after":
                reset_connection(self._transport)
            elif fault.garbage:
                self._transport.write(GARBAGE)
                self._transport.close()
            else:
                await self._send(stream, request, answer, fault)
        except ProtocolError:  # the client has ended the stream or the connection meanwhile
            pass
        finally:
            self._tasks.pop(stream, None)
            if not self._transport.is_closing():
                self._flush()
                self._close_when_done()
                if self._app.fault.idle_close is not None:
                    self.fault_changed()

    async def _send(self, stream: int, request: Request, answer: Answer, fault: Fault) -> None:
        body = b"" if request.method == "HEAD" else answer.body
        headers = [(":status", str(answer.status)), *answer.headers]
        if not answer.events and answer.status not in {204, 304}:
            headers.append(("content-length", str(len(answer.body))))
        self._h2.send_headers(stream, headers, end_stream=not body and not answer.events)
        number = 0
        while answer.events:
            await self._write(stream, f'data: {{"server": "{self._app.name}", "n": {number}}}\n\n'.encode())
            await asyncio.sleep(SSE_INTERVAL)
            number += 1
        if not body:
            return
        for piece in pieces(body[: len(body) // 2] if fault.truncate else body, fault):
            await self._write(stream, piece)
            if fault.drip:
                await asyncio.sleep(fault.drip)
        if fault.truncate:
            self._h2.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)
        else:
            self._h2.end_stream(stream)

    async def _write(self, stream: int, data: bytes) -> None:
        while data:
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if room <= 0:
                self._flush()
                self._room.clear()
                await self._room.wait()
                continue
            self._h2.send_data(stream, data[:room])
            data = data[room:]
        self._flush()

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._transport.write(data)

    def _close_when_done(self) -> None:
        if self._gone and self._linger is None and not self._tasks and not self._requests:
            self._flush()
            self._linger = asyncio.get_running_loop().call_later(_LINGER, self._transport.close)
