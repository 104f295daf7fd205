"""A proxy in the path, as a process."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.scoreboard.told import Upstream

_PATIENCE = 10.0
_SETTLE = 1.2
"""Seconds for its first health checks and lookups."""


def program(name: str) -> str | None:
    """Find a program: beside the interpreter (wheels bring some), on the path, or where Debian keeps daemons."""
    return shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"]))


class Proxy:
    """A running proxy; it ends with the cell's namespaces."""

    def __init__(self, command: list[str], upstreams: Sequence[Upstream]) -> None:
        found = program(command[0])
        assert found
        home = {**os.environ, "HOME": str(Path(command[-1]).parent)}
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen([found, *command[1:]], env=home, stdout=quiet, stderr=quiet)
        for upstream in upstreams:
            _wait_for(upstream.via)
        self._settled = time.monotonic() + _SETTLE
        self._before = 0.0

    def settle(self) -> None:
        """Wait until it has looked names and health up, and count its processor time from now on."""
        time.sleep(max(0.0, self._settled - time.monotonic()))
        self._before = self._spent()

    def cpu(self) -> float:
        """Seconds of processor time it and its workers have spent since it was ready."""
        return self._spent() - self._before

    def _spent(self) -> float:
        mine, spent = str(self._process.pid), 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if mine in {stat.parent.name, fields[1]}:
                spent += int(fields[11]) + int(fields[12])
        return spent / os.sysconf("SC_CLK_TCK")


def _wait_for(address: str) -> None:
    host, _, port = address.partition(":")
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            socket.create_connection((host, int(port)), 1.0).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
