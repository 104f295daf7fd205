"""Small programs run as processes of their own: what forks, exits, and is watched doing it."""

import subprocess
import sys
import textwrap
import time


class Ran:
    """A program that has ended: its exit code, its last words, and the seconds it took to go after them."""

    def __init__(self, code: int, said: list[str], errors: str, lingered: float) -> None:
        self.code = code
        self.said = said
        self.errors = errors
        self.lingered = lingered


def run_program(text: str, *arguments: str, within: float = 30.0) -> Ran:
    """Run a program; `lingered` counts from its last line of output to its end."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(text), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    said: list[str] = []
    last = time.monotonic()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.rstrip("\n"))
            last = time.monotonic()
        _, errors = process.communicate(timeout=within)
    finally:
        process.kill()
        process.wait()
    return Ran(process.returncode, said, errors, time.monotonic() - last)
