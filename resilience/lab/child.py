"""A child process and the channel on which it takes orders: a JSON line out, one back.

The channel is apart from the port on which the child serves, and its end, by the parent's death
as well, is the child's.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Child", "LabError"]

_PATIENCE = 10.0


class LabError(RuntimeError):
    """A server of the lab did not start, does not run, or did not obey."""


class Child:
    """A running program of the lab."""

    def __init__(self, what: str, program: Path, config: Mapping[str, object], descriptors: Mapping[str, int]) -> None:
        """Start ``program`` and do not wait for it: the first :meth:`reply` says that it serves.

        Args:
            what: it is called so in errors.
            program: the file to run.
            config: handed over as JSON in the first argument, together with the numbers of ``descriptors``,
                of the ``control`` channel and of the ``parent`` process.
            descriptors: open files to inherit, by name.

        """
        self._what = what
        self._channel, far_end = socket.socketpair()
        self._channel.settimeout(_PATIENCE)
        with far_end:
            inherited = {**descriptors, "control": far_end.fileno()}
            argument = json.dumps({**config, **inherited, "parent": os.getpid()})
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-P", str(program), argument],
                pass_fds=list(inherited.values()),
                stdin=subprocess.DEVNULL,
            )
        self.pid = self._process.pid
        self.hung = False

    @property
    def alive(self) -> bool:
        """Whether the process exists; a hung one does."""
        return self._process.poll() is None

    def order(self, command: Mapping[str, object], *, within: float = 0.0) -> None:
        """Give an order and wait until it was obeyed, which may take ``within`` seconds."""
        if self.hung:
            message = f"{self._what} is hung: resume it first"
            raise LabError(message)
        self._channel.settimeout(_PATIENCE + within)
        try:
            self._channel.sendall(json.dumps(command).encode() + b"\n")
        except OSError as error:
            message = f"{self._what} is not running"
            raise LabError(message) from error
        self.reply()

    def reply(self) -> None:
        """Wait for the next reply; :class:`LabError` when it is a refusal or does not come."""
        try:
            reply = self._channel.recv(65_536)
        except OSError as error:
            message = f"{self._what} does not reply: {error}"
            raise LabError(message) from error
        if not reply:
            message = f"{self._what} ended without a reply; its stderr says why"
            raise LabError(message)
        if refusal := json.loads(reply).get("error"):
            message = f"{self._what} refused: {refusal}"
            raise LabError(message)

    def hang(self) -> None:
        """Stop it (SIGSTOP) and wait until it stands still."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        self.hung = True

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)
        self.hung = False

    def end(self) -> None:
        """Let it end by itself; kill it if it does not."""
        self._channel.close()
        try:
            self._process.wait(0.0 if self.hung else _PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill it (SIGKILL) and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        self._channel.close()
        self.hung = False
