"""Sixty-four threads through one policy, with a watchdog: what comes of each call, and how many were ever inside.

``CALLS_PER_THREAD`` in the environment says how many calls each thread makes; ``make test-threads`` says 10,000.
"""

import os
import queue
import sys
import threading
import time
import traceback
from collections import Counter

from resilience.core.tally import Tally

THREADS = 64
CALLS = int(os.environ.get("CALLS_PER_THREAD", "250"))
TOTAL = THREADS * CALLS

FEW = CALLS if "CALLS_PER_THREAD" in os.environ else CALLS // 20
"""Calls a thread makes where each starts a thread of its own, which takes 550 µs instead of 10 to 90: nobody waits for
as many, unless they were asked for.
"""

A_DAY = 86_400.0
NEVER_OPENS = {"failure_ratio": 1.0, "minimum_calls": 10**9, "consecutive_failures": 10**9, "window": A_DAY}
"""A circuit that counts and does nothing else."""

PATIENCE = 30.0
"""Seconds in which at least one call must end, on however busy a machine: more is a deadlock."""


def fails(number):
    return number % 7 == 0


def failures(total=TOTAL):
    """Return how many of so many calls are to fail."""
    return sum(map(fails, range(total)))


FAILURES = failures()


def work_in(inside):
    """Return a function that counts who is in it, and fails for every seventh number."""

    def function(number):
        with inside:
            if fails(number):
                raise ConnectionError
            return number

    return function


class Inside:
    """Counts who goes in and who comes out; `limit` is how many may be inside at once."""

    def __init__(self, limit=THREADS, *, yields=64):
        self.limit, self.yields = limit, yields
        self._went_in, self._came_out = Tally(), Tally()
        self._there = []
        self.met = False
        """Two were inside at once."""
        self.excess = []

    def __enter__(self):
        number = self._went_in.step()
        self._there.append(None)
        there = len(self._there)
        if there > 1:
            self.met = True
            if there > self.limit:
                self.excess.append(there)
        if number % self.yields == 0:
            time.sleep(0)  # to whichever thread wants to run: no time passes

    def __exit__(self, *_):
        self._there.pop()
        self._came_out.step()

    @property
    def entered(self):
        return self._went_in.value

    def check(self):
        assert self.excess == []
        assert self._there == []
        assert self._came_out.value == self.entered


def in_threads(count, work, *, progress=(), patience=PATIENCE):
    """Run `work(number)` in that many threads at once; return what each returned, or raise what the first raised.

    Threads change places every 10 µs, not every 5 ms: what can go wrong between two lines does. When none ends and
    `progress` stands still for `patience` seconds, fails with the stack of every thread.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        return _run(count, work, progress, patience)
    finally:
        sys.setswitchinterval(usual)


def _run(count, work, progress, patience):
    start = threading.Barrier(count)
    ended = queue.SimpleQueue()

    def run(number):
        try:
            start.wait(patience)
            ended.put((number, work(number), None))
        except BaseException as error:
            ended.put((number, None, error))

    for number in range(count):
        threading.Thread(target=run, args=(number,), name=f"hammer-{number}", daemon=True).start()
    results, errors, seen = [None] * count, [], None
    left = count
    while left:
        try:
            number, results[number], error = ended.get(timeout=patience)
        except queue.Empty:
            if seen == (seen := tuple(progress)):
                raise AssertionError(f"{left} of {count} threads stand still:\n{stacks()}") from None
            continue
        errors += [] if error is None else [error]
        left -= 1
    if errors:
        raise errors[0]
    return results


def stacks():
    """Return the stacks of all threads."""
    frames = sys._current_frames()
    return "\n".join(
        f"{thread.name}:\n{''.join(traceback.format_stack(frames[thread.ident]))}"
        for thread in threading.enumerate()
        if thread.ident in frames
    )


def hammer(guarded, calls=CALLS):
    """Call `guarded` with every number below ``THREADS * calls``, from 64 threads; count what came of the calls.

    A call that returns its own number counts as "reply", one that raises by the exception's name.
    """
    done = [0] * THREADS

    def work(thread):
        counts = Counter()
        for number in range(thread * calls, (thread + 1) * calls):
            try:
                answer = guarded(number)
            except Exception as error:
                counts[type(error).__name__] += 1
            else:
                counts["reply" if answer == number else answer] += 1
            done[thread] += 1
        return counts

    counts = sum(in_threads(THREADS, work, progress=_Live(done)), Counter())
    assert counts.total() == THREADS * calls, "every call came to an end, and to one"
    return counts


class _Live:
    """A sequence as it is when it is looked at."""

    def __init__(self, values):
        self._values = values

    def __iter__(self):
        return iter(self._values)
