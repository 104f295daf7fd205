"""A server's state, shared by its connections of both protocols: name, counts, the fault of the moment."""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING, Protocol

from resilience.lab import routes
from resilience.lab.faults import HEALTHY, Fault, Stride

if TYPE_CHECKING:
    from resilience.lab.counts import Tally
    from resilience.lab.wire import Request

__all__ = ["Application", "Connection"]


class Connection(Protocol):
    """What the application asks of a connection of either protocol."""

    def fault_changed(self) -> None:
        """Apply a new ``idle_close`` to a connection that is idle now."""
        ...

    def drain(self) -> None:
        """Close when idle, or after the response being sent."""
        ...

    def goaway(self, *, armed: bool) -> None:
        """Send GOAWAY (HTTP/2), now or when the next request arrives."""
        ...


class Application:
    """One server as its connections see it."""

    __slots__ = (
        "_refusals",
        "_stride",
        "_workers",
        "connections",
        "draining",
        "emptied",
        "fault",
        "max_streams",
        "name",
        "service_time",
        "tally",
    )

    def __init__(self, name: str, tally: Tally, *, service_time: float, max_streams: int, workers: int = 0) -> None:
        """Start healthy; ``workers``: requests answered at the same time, 0 for any number."""
        self._workers = [0.0] * workers
        """When each worker is free: a heap."""
        self.name = name
        self.tally = tally
        self.service_time = service_time
        self.max_streams = max_streams
        self.connections: set[Connection] = set()
        self.draining = False
        self.emptied = asyncio.Event()
        self.set_fault(HEALTHY)

    def set_fault(self, fault: Fault) -> None:
        """Misbehave so from now on."""
        self.fault = HEALTHY if fault == HEALTHY else fault
        self._stride = Stride(fault.ratio, self.name)
        self._refusals = Stride(fault.refuse_streams, self.name)
        for connection in list(self.connections):
            connection.fault_changed()

    def opened(self, connection: Connection) -> None:
        """Count a new connection."""
        self.connections.add(connection)
        self.emptied.clear()
        self.tally.opened()

    def closed(self, connection: Connection) -> None:
        """Forget a connection that ended."""
        if connection in self.connections:
            self.connections.discard(connection)
            # asyncio closes the socket after telling us; the count shall not run ahead of it
            asyncio.get_running_loop().call_soon(self.tally.closed)
            if not self.connections:
                self.emptied.set()

    def replaced(self, old: Connection, new: Connection) -> None:
        """Carry on with another protocol on the same connection."""
        self.connections.discard(old)
        self.connections.add(new)

    def hit(self, method: str, target: str) -> Fault:
        """Give the fault that hits this request: the one set, or health."""
        fault = self.fault
        if fault is HEALTHY or not fault.concerns(method, target) or not self._stride.hit():
            return HEALTHY
        return fault

    def refuses_stream(self) -> bool:
        """Say whether the next HTTP/2 stream is refused."""
        return self._refusals.hit()

    def read(self, request: Request) -> None:
        """Count a request read to its end."""
        self.tally.read(request.method, request.target, request.id)

    def answer(self, request: Request, fault: Fault) -> routes.Answer:
        """Answer a request under a fault, with every wait summed up."""
        answer = (
            routes.failure(self.name, fault) if fault.status != HEALTHY.status else routes.answer(self.name, request)
        )
        answer.wait += self.service_time + fault.delay
        if self._workers:
            answer.wait = self._line(answer.wait)
        answer.headers.append(("x-server", self.name))
        return answer

    def _line(self, work: float) -> float:
        """Give the first free worker so much work, and say in how many seconds that is done."""
        now = asyncio.get_running_loop().time()
        done = max(now, self._workers[0]) + work
        heapq.heapreplace(self._workers, done)
        return done - now
