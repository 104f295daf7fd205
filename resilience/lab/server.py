"""A real HTTP server in a process of its own, with faults switched while it runs: the parent's side."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from resilience.lab.child import Child, LabError
from resilience.lab.counts import Counts, Seen
from resilience.lab.faults import Fault
from resilience.lab.ports import listen

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Server"]


class Server:
    """An HTTP/1.1 (and HTTP/2) server process on loopback whose faults are switched from here.

    Targets: ``/bytes/N``, ``/echo``, ``/headers``, ``/sse`` (an event every 50 ms, without end), ``/slow/SECONDS``,
    ``/status/CODE``, ``/redirect?to=URL``, ``/auth`` (Basic, ``user:secret``); anything else answers
    ``{"server": name, "path": target}``. Every response carries ``x-server: name``.

    All methods are blocking, take about a millisecond, and may be called from any thread.
    """

    program: ClassVar[Path] = Path(__file__).with_name("serve.py")
    """What the process runs; subclasses may serve by another program that takes the same orders."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        name: str = "a",
        ssl: tuple[str | Path, str | Path] | None = None,
        service_time: float = 0.0,
        http2: bool = False,
        max_streams: int = 1000,
        workers: int = 0,
    ) -> None:
        """Describe a server; nothing runs yet.

        Args:
            host: a loopback address to listen on.
            port: 0 picks a free one below the system's ephemeral range, so that it stays free while the server is down.
            name: what the server calls itself in its answers; also seeds which requests a fault hits.
            ssl: files of a certificate chain and its key, for HTTPS.
            service_time: seconds every request takes, healthy or not.
            http2: also speak HTTP/2, by ALPN and with prior knowledge; needs the ``h2`` package.
            max_streams: concurrent streams announced on an HTTP/2 connection.
            workers: requests answered at the same time; more wait in line, and are worked on even when their caller
                has gone, as by a blocking server. 0: any number.

        """
        self.host = host
        self.port = port
        self.name = name
        self._config = {
            "name": name,
            "ssl": None if ssl is None else [str(file) for file in ssl],
            "service_time": service_time,
            "http2": http2,
            "max_streams": max_streams,
            "workers": workers,
        }
        self._counts = Counts()
        self._lock = threading.RLock()
        self._child: Child | None = None
        self._pending_fault: Fault | None = None

    def __repr__(self) -> str:
        """Show name, address and pid."""
        return f"<Server {self.name} {self.address} pid={self._child.pid if self._child else None}>"

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    # -- life

    def start(self) -> Self:
        """Start the process and wait until it answers; no effect when it runs."""
        with self._lock:
            if not self.alive:
                self.begin()
                self.ready()
        return self

    def begin(self) -> None:
        """Start the process without waiting for it: :meth:`ready` must follow."""
        with self._lock, listen(self.host, self.port) as listener:
            self.port = listener.getsockname()[1]
            what = f"server {self.name} at {self.address}"
            descriptors = {"listener": listener.fileno(), "counts": self._counts.fileno()}
            self._pending_fault = None
            if self._child is not None:
                self._child.end()
            self._child = Child(what, self.program, self._config, descriptors)

    def ready(self) -> None:
        """Wait until a process that was begun answers."""
        self._running().reply()

    def stop(self, grace: float = 0.0) -> None:
        """Stop the process; no effect when none runs.

        With ``grace`` seconds, first close the listener and idle connections, finish what is being
        answered (``Connection: close``) and wait for it that long.
        """
        with self._lock:
            if self._child is None:
                return
            if grace and self._child.alive and not self._child.hung:
                self._child.order({"drain": grace}, within=grace)
            self._child.end()

    def kill(self) -> None:
        """Kill the process (SIGKILL) and wait for it: when this returns, connecting is refused."""
        with self._lock:
            if self._child is not None:
                self._child.kill()

    def restart(self, grace: float = 0.0) -> None:
        """Stop if running, and start again on the same port: healthy, the counts go on."""
        with self._lock:
            self.stop(grace)
            self.start()

    def hang(self) -> None:
        """Stop the process's clock (SIGSTOP): connections are accepted by the kernel, nothing answers."""
        with self._lock:
            self._running().hang()

    def resume(self) -> None:
        """Let a hung process go on (SIGCONT)."""
        with self._lock:
            child = self._running()
            child.resume()
            if self._pending_fault is not None:
                fault, self._pending_fault = self._pending_fault, None
                child.order({"fault": fault.as_dict()})

    # -- faults

    def fault(
        self,
        *,
        delay: float = 0.0,
        status: int = 200,
        ratio: float = 1.0,
        retry_after: float | str | None = None,
        reset: Literal["before", "after"] | None = None,
        truncate: bool = False,
        drip: float = 0.0,
        idle_close: float | None = None,
        garbage: bool = False,
        endless_headers: bool = False,
        refuse_streams: float = 0.0,
        methods: Sequence[str] = (),
        path: str = "",
    ) -> None:
        """Replace the fault of the moment: see :class:`Fault` for the fields; without arguments: healthy.

        In force when this returns; on a hung server, when it resumes.
        """
        fault = Fault(
            delay=delay,
            status=status,
            ratio=ratio,
            retry_after=retry_after,
            reset=reset,
            truncate=truncate,
            drip=drip,
            idle_close=idle_close,
            garbage=garbage,
            endless_headers=endless_headers,
            refuse_streams=refuse_streams,
            methods=tuple(methods),
            path=path,
        )
        with self._lock:
            child = self._running()
            if child.hung:
                self._pending_fault = fault
            else:
                child.order({"fault": fault.as_dict()})

    def goaway(self, *, armed: bool = False) -> None:
        """Send GOAWAY on every HTTP/2 connection open now; streams begun before finish, later ones are refused.

        ``armed``: send it when the next request arrives, which is then left out, uncounted and unanswered.
        """
        with self._lock:
            self._running().order({"goaway": armed})

    # -- facts

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The origin, without a slash at its end."""
        return f"{'https' if self._config['ssl'] else 'http'}://{self.address}"

    @property
    def pid(self) -> int:
        """The process's id; the last one's when none runs."""
        if self._child is None:
            raise LabError(self._not_running())
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether the process exists (a hung one does)."""
        return self._child is not None and self._child.alive

    @property
    def requests(self) -> list[Seen]:
        """The requests read to their end, oldest first: (method, target, ``x-request-id``)."""
        with self._lock:
            return self._counts.requests()

    @property
    def count(self) -> int:
        """How many requests were read to their end."""
        return self._counts.read

    @property
    def accepted(self) -> int:
        """How many connections were accepted."""
        return self._counts.accepted

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._counts.open if self.alive else 0

    def reset_counts(self) -> None:
        """Count requests and accepted connections from zero again."""
        with self._lock:
            self._counts.reset()

    def _running(self) -> Child:
        if self._child is None or not self._child.alive:
            raise LabError(self._not_running())
        return self._child

    def _not_running(self) -> str:
        return f"server {self.name} at {self.address} is not running"
