"""The two callers as processes of their own, so that neither slows the other down, and a thread that reads each."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Self

from resilience.cli.demo.sides import OURS, PLAIN
from resilience.cli.demo.tally import Called, Tally

if TYPE_CHECKING:
    from resilience.cli.demo.world import World

_HEAD_START = 1.5
"""Seconds for both processes to import what they need before the first call is due."""
_PATIENCE = 15.0


class Contest:
    """Both sides calling the same world from the same instant on."""

    def __init__(self, world: World, seconds: float) -> None:
        self.start = time.monotonic() + _HEAD_START
        self.plain, self.ours = Tally(PLAIN), Tally(OURS)
        self._processes: list[subprocess.Popen[str]] = []
        self._threads: list[threading.Thread] = []
        for tally in (self.plain, self.ours):
            command = [sys.executable, "-m", "resilience.cli.demo.caller"]
            command += [tally.side, world.url, world.dns.address, repr(self.start), repr(seconds)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own program
            thread = threading.Thread(target=_read, args=(process, tally), daemon=True)
            thread.start()
            self._processes.append(process)
            self._threads.append(thread)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        for thread in self._threads:
            thread.join()

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
        for process in self._processes:
            code = process.wait(_PATIENCE)
            if code:
                message = f"a caller of the demo ended with exit code {code}: see above"
                raise RuntimeError(message)
        for thread in self._threads:
            thread.join()


def _read(process: subprocess.Popen[str], tally: Tally) -> None:
    if process.stdout is not None:
        with process.stdout as lines:
            for line in lines:
                tally.add(Called(*json.loads(line)))
