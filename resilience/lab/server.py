"""A real HTTP server in a process of its own, with faults switched while it runs: the parent's side."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from resilience.lab.counts import Counts, Seen
from resilience.lab.faults import Fault
from resilience.lab.ports import listen

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LabError", "Server"]

_PROGRAM = Path(__file__).with_name("serve.py")
_PATIENCE = 10.0


class LabError(RuntimeError):
    """A server of the lab did not start or did not obey."""


class Server:
    """An HTTP/1.1 (and HTTP/2) server process on loopback whose faults are switched from here.

    Targets: ``/bytes/N``, ``/echo``, ``/headers``, ``/sse`` (an event every 50 ms, without end), ``/slow/SECONDS``,
    ``/status/CODE``, ``/redirect?to=URL``, ``/auth`` (Basic, ``user:secret``); anything else answers
    ``{"server": name, "path": target}``. Every response carries ``x-server: name``.

    All methods are blocking, take about a millisecond, and may be called from any thread.
    """

    def __init__(  # noqa: PLR0913 - keywords
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        name: str = "a",
        ssl: tuple[str | Path, str | Path] | None = None,
        service_time: float = 0.0,
        http2: bool = False,
        max_streams: int = 1000,
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

        """
        self.host = host
        self.port = port
        self.name = name
        self._ssl = None if ssl is None else [str(file) for file in ssl]
        self._options = {"service_time": service_time, "http2": http2, "max_streams": max_streams}
        self._counts = Counts()
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._hung = False
        self._pending_fault: Fault | None = None

    def __repr__(self) -> str:
        """Show name, address and pid."""
        return f"<Server {self.name} {self.address} pid={self._process.pid if self._process else None}>"

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
        ours, theirs = socket.socketpair()
        with listen(self.host, self.port) as listener, theirs:
            self.port = listener.getsockname()[1]
            inherited = (listener.fileno(), theirs.fileno(), self._counts.fileno())
            config = {
                "name": self.name,
                "ssl": self._ssl,
                "parent": os.getpid(),
                **dict(zip(("listener", "control", "counts"), inherited, strict=True)),
                **self._options,
            }
            command = [sys.executable, "-P", str(_PROGRAM), json.dumps(config)]
            self._process = subprocess.Popen(command, pass_fds=inherited, stdin=subprocess.DEVNULL)  # noqa: S603
        ours.settimeout(_PATIENCE)
        self._control = ours
        self._hung = False

    def ready(self) -> None:
        """Wait until a process that was begun answers."""
        self._await_reply()

    def stop(self, grace: float = 0.0) -> None:
        """Stop the process; no effect when none runs.

        With ``grace`` seconds, first close the listener and idle connections, finish what is being
        answered (``Connection: close``) and wait for it that long.
        """
        with self._lock:
            if self._process is None:
                return
            if grace and self.alive and not self._hung:
                self._command(drain=grace)
            self._close_control()
            try:
                self._process.wait(0.0 if self._hung else _PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """Kill the process (SIGKILL) and wait for it: when this returns, connecting is refused."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.wait()
            self._close_control()

    def restart(self, grace: float = 0.0) -> None:
        """Stop if running, and start again on the same port: healthy, the counts go on."""
        with self._lock:
            self.stop(grace)
            self.start()

    def hang(self) -> None:
        """Stop the process's clock (SIGSTOP): connections are accepted by the kernel, nothing answers."""
        with self._lock:
            pid = self._running().pid
            os.kill(pid, signal.SIGSTOP)
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            self._hung = True

    def resume(self) -> None:
        """Let a hung process go on (SIGCONT)."""
        with self._lock:
            os.kill(self._running().pid, signal.SIGCONT)
            self._hung = False
            if self._pending_fault is not None:
                fault, self._pending_fault = self._pending_fault, None
                self._command(fault=fault.as_dict())

    # -- faults

    def fault(  # noqa: PLR0913 - keywords
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
            if self._hung:
                self._pending_fault = fault
            else:
                self._command(fault=fault.as_dict())

    def goaway(self, *, armed: bool = False) -> None:
        """Send GOAWAY on every HTTP/2 connection open now; streams begun before finish, later ones are refused.

        ``armed``: send it when the next request arrives, which is then left out, uncounted and unanswered.
        """
        with self._lock:
            self._command(goaway=armed)

    # -- facts

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The origin, without a slash at its end."""
        return f"{'http' if self._ssl is None else 'https'}://{self.address}"

    @property
    def pid(self) -> int:
        """The process's id, or the last one's."""
        if self._process is None:
            raise LabError(self._not_running())
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process exists (a hung one does)."""
        return self._process is not None and self._process.poll() is None

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

    # -- the control channel: a JSON line out, a JSON line back

    def _command(self, **command: object) -> None:
        self._running()
        assert self._control is not None  # noqa: S101 - it lives as long as the process
        try:
            self._control.sendall(json.dumps(command).encode() + b"\n")
        except OSError as error:
            raise LabError(self._not_running()) from error
        self._await_reply()

    def _await_reply(self) -> None:
        assert self._control is not None  # noqa: S101 - as above
        try:
            reply = self._control.recv(65_536)
        except OSError as error:
            message = f"server {self.name} at {self.address} does not answer its control channel: {error}"
            raise LabError(message) from error
        if not reply:
            raise LabError(self._not_running())
        if error := json.loads(reply).get("error"):
            message = f"server {self.name} at {self.address} refused: {error}"
            raise LabError(message)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise LabError(self._not_running())
        return self._process

    def _not_running(self) -> str:
        return f"server {self.name} at {self.address} is not running"

    def _close_control(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        self._pending_fault = None
