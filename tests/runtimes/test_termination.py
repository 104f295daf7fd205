"""SIGTERM: the word goes round first, then it is passed on."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from resilience.runtimes.termination import Termination


@pytest.fixture
def before() -> Any:
    """What handled SIGTERM before: an event."""
    saved = signal.getsignal(signal.SIGTERM)
    passed = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: passed.set())
    yield passed
    signal.signal(signal.SIGTERM, saved)


def test_begin_is_called_once_and_a_second_signal_passes_at_once(before: threading.Event) -> None:
    begun: list[int] = []
    termination = Termination(lambda: begun.append(1), lambda: True, grace=1e6, limit=0)
    assert termination.install()
    assert termination.install(), "again changes nothing"
    signal.raise_signal(signal.SIGTERM)
    assert (begun, before.is_set()) == ([1], False)
    signal.raise_signal(signal.SIGTERM)
    assert (begun, before.is_set()) == ([1], True)


def test_after_the_grace_it_is_passed_on(before: threading.Event) -> None:
    termination = Termination(lambda: None, lambda: False, grace=0.0, limit=1e6)
    termination.install()
    signal.raise_signal(signal.SIGTERM)
    while not before.is_set():
        pass
    assert before.is_set()


def test_it_can_be_given_back_unless_somebody_else_has_it(before: threading.Event) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    termination = Termination(lambda: None, lambda: True, grace=0.0, limit=0.0)
    termination.uninstall()
    termination.install()
    termination.uninstall()
    assert signal.getsignal(signal.SIGTERM) is handler
    termination.install()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    termination.uninstall()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def test_only_the_main_thread_can_take_it() -> None:
    found: list[bool] = []
    termination = Termination(lambda: None, lambda: True, grace=0.0, limit=0.0)
    thread = threading.Thread(target=lambda: found.append(termination.install()))
    thread.start()
    thread.join()
    assert found == [False]


PROGRAM = """
import signal, sys, threading
from resilience.runtimes.termination import Termination

asked = 0

def idle():
    global asked
    asked += 1
    print("asked", flush=True)
    return asked > 1

signal.signal(signal.SIGTERM, getattr(signal, sys.argv[1]))
Termination(lambda: print("begun", flush=True), idle, grace=0.0, limit=float(sys.argv[2])).install()
signal.raise_signal(signal.SIGTERM)
threading.Event().wait(1.0 if sys.argv[1] == "SIG_IGN" else None)
print("still here")
"""


@pytest.mark.parametrize(
    ("handler", "limit", "said", "code"),
    [
        ("SIG_DFL", "60", ["begun", "asked", "asked"], -signal.SIGTERM),
        ("SIG_DFL", "0", ["begun", "asked"], -signal.SIGTERM),
        ("SIG_IGN", "0", ["begun", "asked", "still here"], 0),
    ],
)
def test_where_nobody_handles_it_the_process_ends_when_it_is_idle(
    handler: str, limit: str, said: list[str], code: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, handler, limit], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout.split("\n")[:-1] == said, done.stderr
    assert done.returncode == code


HURRIED = """
import signal, sys, threading
from resilience.runtimes.termination import Termination

looked, let_go = threading.Event(), threading.Event()

def idle():
    looked.set()
    return let_go.is_set()

handlers = {"ignored": signal.SIG_IGN, "default": signal.SIG_DFL}
signal.signal(signal.SIGTERM, handlers[sys.argv[1]])
Termination(lambda: print("begun", flush=True), idle, grace=float(sys.argv[2]), limit=1e6).install()
for number in range(int(sys.argv[3])):
    signal.raise_signal(signal.SIGTERM)
    print("heard", flush=True)
    if sys.argv[1] == "default" and (number == 1 or float(sys.argv[2]) == 0):
        looked.wait()
print("in flight", flush=True)
if sys.argv[1] == "default":
    let_go.set()
    threading.Event().wait()
"""


@pytest.mark.parametrize(
    ("handler", "grace", "signals", "said", "code"),
    [
        ("default", "1e6", 2, ["begun", "heard", "heard", "in flight"], -signal.SIGTERM),
        ("default", "1e6", 3, ["begun", "heard", "heard"], -signal.SIGTERM),
        ("default", "0", 2, ["begun", "heard", "heard", "in flight"], -signal.SIGTERM),
        ("ignored", "1e6", 3, ["begun", "heard", "heard", "heard", "in flight"], 0),
    ],
    ids=["the second ends the grace", "the third ends the process", "after the grace", "ignored"],
)
def test_where_nobody_handles_it_a_second_signal_still_waits_for_what_is_in_flight(
    handler: str, grace: str, signals: int, said: list[str], code: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HURRIED, handler, grace, str(signals)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.stdout.split("\n")[:-1] == said, done.stderr
    assert done.returncode == code
