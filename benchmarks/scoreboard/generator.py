"""The open-loop generator, a process of its own: it tells the subject's process when a call is due, and nothing else.

So its lag is the machine's, never the subject's: a subject whose event loop falls behind pays for that in latency.
``python -m benchmarks.scoreboard.generator JSON`` with the pipe's number, the seed and the instant of the start; it prints
its lags.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time

from benchmarks.scoreboard.scenarios import SCENARIOS
from benchmarks.scoreboard.schedule import schedule

NUMBER = struct.Struct("=I")


def generate(pipe: int, scenario: str, seed: str, start: float) -> list[float]:
    """Write the number of each call when it is due, `start` in monotonic seconds; return how late each was."""
    lags = []
    for number, due in enumerate(schedule(SCENARIOS[scenario], seed)):
        wait = start + due.at - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        os.write(pipe, NUMBER.pack(number))
        lags.append(time.monotonic() - start - due.at)
    return lags


if __name__ == "__main__":
    print(json.dumps(generate(**json.loads(sys.argv[1]))))
