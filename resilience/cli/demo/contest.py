"""The two callers as processes of their own, so that neither slows the other down, and a thread that reads each."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from typing import IO, TYPE_CHECKING, Self

from resilience.cli.demo.sides import OURS, PLAIN
from resilience.cli.demo.tally import Called, Tally

if TYPE_CHECKING:
    from resilience.cli.demo.world import World

_HEAD_START = 0.3
"""Seconds from the word until the first call is due."""
_PATIENCE = 15.0


class Contest:
    """Both sides calling the same world from the same instant on."""

    def __init__(self, world: World, seconds: float) -> None:
        self.plain, self.ours = Tally(PLAIN), Tally(OURS)
        self._processes: list[subprocess.Popen[str]] = []
        self._threads: list[threading.Thread] = []
        self._said: list[IO[bytes]] = []
        for tally in (self.plain, self.ours):
            command = [sys.executable, "-m", "resilience.cli.demo.caller"]
            command += [tally.side, world.url, world.dns.address, repr(seconds)]
            # Not to the terminal: the live view would be torn. Nor to a pipe, which could fill up.
            said = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
            self._said.append(said)
            pipe = subprocess.PIPE
            process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=said, text=True)  # noqa: S603 - ours
            self._processes.append(process)
            self._threads.append(threading.Thread(target=_read, args=(process, tally), daemon=True))
        for process in self._processes:  # both have imported what they need, and wait for the word
            _line(process)
        self.start = time.monotonic() + _HEAD_START
        for process, thread in zip(self._processes, self._threads, strict=True):
            _tell(process, self.start)
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        for said in self._said:
            said.close()

    @property
    def now(self) -> float:
        """Seconds since the first call was due."""
        return time.monotonic() - self.start

    @property
    def broken(self) -> bool:
        """Tell whether a side has ended before its time."""
        return any(process.poll() for process in self._processes)

    def finish(self) -> None:
        """Wait for the last answers. Raises RuntimeError when a side did not end well."""
        for process, said in zip(self._processes, self._said, strict=True):
            code = process.wait(_PATIENCE)
            if code:
                said.seek(0)
                message = f"a caller of the demo ended with exit code {code}:\n{said.read().decode(errors='replace')}"
                raise RuntimeError(message)
        for thread in self._threads:
            thread.join()


def _line(process: subprocess.Popen[str]) -> None:
    if process.stdout is not None:
        process.stdout.readline()


def _tell(process: subprocess.Popen[str], start: float) -> None:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError), process.stdin as orders:  # whoever is gone shows by its exit code
            orders.write(f"{start!r}\n")


def _read(process: subprocess.Popen[str], tally: Tally) -> None:
    if process.stdout is not None:
        with process.stdout as lines:
            for line in lines:
                tally.add(Called(*json.loads(line)))
