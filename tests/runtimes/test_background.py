import asyncio
import contextvars
import gc
import math
import subprocess
import sys
import threading
import weakref

import anyio
import pytest

from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.background import BackgroundThread
from resilience.runtimes.blocking import BLOCKING, run_blocking
from resilience.runtimes.offload import Offload

LONG = 20.0
"""Seconds after which a test has failed; none of them waits that long."""


@pytest.fixture
def background():
    made = BackgroundThread()
    yield made
    for lease in list(made._leases):
        lease.release()
    made.join(LONG)
    assert not made.running


class Counter:
    """A job's owner that tells when it ran."""

    def __init__(self, pause=math.inf):
        self.pause = pause
        self.runs = threading.Semaphore(0)
        self.count = 0
        self.threads = set()

    def seconds(self):
        return self.pause

    async def run(self):
        self.count += 1
        self.threads.add(threading.current_thread())
        self.runs.release()

    def ran(self, times=1):
        for _ in range(times):
            assert self.runs.acquire(timeout=LONG)


def test_a_job_runs_at_once_and_again_when_hurried(background):
    lease, counter = background.acquire(), Counter()
    handle = lease.every(counter.seconds, counter.run, name="count")
    for _ in range(3):
        counter.ran()
        handle.hurry()
    counter.ran()
    assert len(counter.threads) == 1
    (thread,) = counter.threads
    assert thread.daemon
    assert thread is not threading.main_thread()


def test_a_job_runs_again_after_its_pause(background):
    lease, counter = background.acquire(), Counter(pause=0.0)
    lease.every(counter.seconds, counter.run, name="count")
    counter.ran(5)


def test_no_thread_before_the_first_job_and_none_after_the_last_lease(background):
    first, second = background.acquire(), background.acquire()
    assert not background.running
    counter = Counter()
    first.every(counter.seconds, counter.run, name="count")
    counter.ran()
    first.release()
    first.release()
    assert submitted(second, value) == 7
    assert background.running
    second.release()
    background.join(LONG)
    assert not background.running


async def value():
    return 7


def submitted(lease, work):
    return run_blocking(lease.submit(work).wait(BLOCKING, LONG))


def test_it_comes_back_for_a_later_lease(background):
    for _ in range(3):
        lease = background.acquire()
        assert submitted(lease, value) == 7
        lease.release()
        background.join(LONG)


def test_one_hung_job_stalls_nobody_and_ends_with_its_lease(background):
    lease, counter = background.acquire(), Counter()
    ended = threading.Event()

    async def hang():
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    lease.every(counter.seconds, hang, name="hung")
    handle = lease.every(counter.seconds, counter.run, name="count")
    counter.ran()
    handle.hurry()
    counter.ran()
    lease.release()
    assert ended.wait(LONG)


def test_what_a_job_raises_does_not_end_it(background):
    lease, counter = background.acquire(), Counter()

    async def broken():
        await counter.run()
        raise ValueError("once more")

    handle = lease.every(counter.seconds, broken, name="broken")
    counter.ran()
    handle.hurry()
    counter.ran()


def test_what_would_end_the_process_ends_neither_the_thread_nor_anybody_s_work(background):
    lease, counter = background.acquire(), Counter(0.0)

    async def leave():
        raise SystemExit(3)

    async def count():
        await counter.run()
        raise SystemExit(3)

    with pytest.raises(RuntimeError, match=r"leave: it raised SystemExit\(3\)"):
        run_blocking(lease.submit(leave, name="leave").wait(BLOCKING, LONG))
    lease.every(counter.seconds, count, name="count")
    counter.ran(2)
    assert background._life.thread.is_alive()


def test_cancel_ends_a_job_even_in_its_middle_and_hurry_does_not_bring_it_back(background):
    lease, counter = background.acquire(), Counter()
    handle = lease.every(counter.seconds, counter.run, name="count")
    counter.ran()
    handle.cancel()
    handle.hurry()
    assert submitted(lease, value) == 7  # whatever was posted before has happened
    assert counter.count == 1
    assert handle not in lease._work


def test_a_job_may_cancel_itself_and_finish_what_it_does(background):
    lease = background.acquire()
    done = threading.Event()

    async def once():
        handle.cancel()
        await asyncio.sleep(0)
        done.set()

    async def start():
        nonlocal handle
        handle = lease.every(lambda: 0.0, once, name="once")

    handle = None
    submitted(lease, start)
    assert done.wait(LONG)


def test_an_owner_never_closed_takes_its_jobs_and_the_thread_along(background):
    counter = Counter()
    lease = background.acquire(counter)
    lease.every(counter.seconds, counter.run, name="count")
    counter.ran()
    thread = background._last
    seen = weakref.ref(counter)
    del counter
    gc.collect()
    assert seen() is None
    thread.join(LONG)
    assert not thread.is_alive()
    assert lease.released


def test_nothing_starts_after_release(background):
    lease, counter = background.acquire(), Counter()
    lease.release()
    lease.every(counter.seconds, counter.run, name="late").hurry()
    with pytest.raises(RuntimeError, match="closed"):
        submitted(lease, value)
    assert not background.running


def test_a_thread_that_starts_just_as_the_last_lease_ends_ends_too(monkeypatch):
    background = BackgroundThread()
    lease, start = background.acquire(), background.new_life

    def released_meanwhile():
        lease.release()  # by another thread
        return start()

    monkeypatch.setattr(background, "new_life", released_meanwhile)
    with pytest.raises(RuntimeError, match="the client is closed"):
        submitted(lease, asyncio.sleep)
    background.join(LONG)
    assert not background.running


def test_a_submission_gives_what_the_work_raises(background):
    lease = background.acquire()

    async def fail():
        raise KeyError("no")

    with pytest.raises(KeyError):
        submitted(lease, fail)


def test_who_stops_waiting_leaves_the_work_going(background):
    lease, gate = background.acquire(), threading.Event()

    async def slow():
        await asyncio.get_running_loop().run_in_executor(None, gate.wait)
        return 7

    submission = lease.submit(slow)
    with pytest.raises(TimeoutError):
        run_blocking(submission.wait(BLOCKING, 0.0))
    gate.set()
    assert run_blocking(submission.wait(BLOCKING, LONG)) == 7
    assert submission.result() == 7


def test_release_fails_what_is_still_waited_for(background):
    lease = background.acquire()
    submission = lease.submit(asyncio.Event().wait, name="hung")
    lease.release()
    with pytest.raises(RuntimeError):
        run_blocking(submission.wait(BLOCKING, LONG))


def test_a_submission_can_be_cancelled(background):
    lease = background.acquire()
    submission = lease.submit(asyncio.Event().wait, name="hung")
    assert submitted(lease, value) == 7
    submission.cancel()
    with pytest.raises(RuntimeError, match="cancelled"):
        run_blocking(submission.wait(BLOCKING, LONG))


@pytest.mark.anyio
async def test_tasks_of_any_loop_and_threads_wait_together(background):
    lease, gate = background.acquire(), threading.Event()

    async def slow():
        await asyncio.get_running_loop().run_in_executor(None, gate.wait)
        return 7

    submission = lease.submit(slow)
    results = []

    async def wait():
        results.append(await submission.wait(ANYIO, LONG))

    thread = threading.Thread(target=lambda: results.append(run_blocking(submission.wait(BLOCKING, LONG))))
    thread.start()
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(wait)
        await anyio.lowlevel.checkpoint()
        gate.set()
    await anyio.to_thread.run_sync(thread.join)
    assert results == [7] * 6


FORK = """
import os, sys, threading
from resilience.runtimes.background import BACKGROUND
from resilience.runtimes.blocking import BLOCKING, run_blocking
from resilience.runtimes.offload import Offload
import asyncio
import contextvars

runs = threading.Semaphore(0)
async def job():
    runs.release()
async def value():
    return os.getpid()

offload = Offload(threads=1, linger=1000.0)
assert run_blocking(offload.submit("pid", os.getpid).wait(BLOCKING, 20)) == os.getpid()
lease = BACKGROUND.acquire()
lease.every(lambda: 1000.0, job, name="job")
assert runs.acquire(timeout=20)
hung = lease.submit(asyncio.Event().wait, name="hung")
assert run_blocking(lease.submit(value).wait(BLOCKING, 20)) == os.getpid()
child = os.fork()
assert child or runs.acquire(timeout=20), "the job did not come back in the child"
if not child:
    try:
        run_blocking(hung.wait(BLOCKING, 20))
    except RuntimeError as error:
        assert "forked" in str(error)
    else:
        raise AssertionError
assert run_blocking(lease.submit(value).wait(BLOCKING, 20)) == os.getpid()
assert run_blocking(offload.submit("pid", os.getpid).wait(BLOCKING, 20)) == os.getpid()
if child:
    assert os.waitpid(child, 0)[1] == 0
    assert run_blocking(lease.submit(value).wait(BLOCKING, 20)) == os.getpid()
    print("parent and child")
"""


def test_a_forked_child_has_a_thread_of_its_own_and_the_parent_keeps_its():
    quietly = "-Wignore:This process:DeprecationWarning"  # Python 3.12 warns of what is tried here
    command = [sys.executable, quietly, "-c", FORK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "parent and child\n", "")


EXIT = """
import asyncio
import contextvars
from resilience.runtimes.background import BACKGROUND
lease = BACKGROUND.acquire()
lease.every(lambda: 1000.0, asyncio.Event().wait, name="hung")
async def block():
    import time
    time.sleep(1000)
lease.submit(block)
"""


def test_nothing_keeps_the_process_alive():
    done = subprocess.run([sys.executable, "-c", EXIT], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_blocking_calls_run_on_few_threads_and_join_their_like():
    offload, gate = Offload(threads=2, linger=0.0), threading.Event()
    started = threading.Semaphore(0)

    def hang():
        started.release()
        assert gate.wait(LONG)
        return threading.current_thread()

    first = offload.submit("a", hang)
    assert offload.submit("a", hang) is first
    second = offload.submit("b", hang)
    third = offload.submit("c", hang)
    for _ in range(2):
        assert started.acquire(timeout=LONG)
    assert not started.acquire(blocking=False)  # the third waits for a thread
    gate.set()
    threads = {run_blocking(each.wait(BLOCKING, LONG)) for each in (first, second, third)}
    assert len(threads) == 2
    for thread in threads:
        thread.join(LONG)  # idle ones leave
        assert thread.daemon
    assert run_blocking(offload.submit("a", lambda: 7).wait(BLOCKING, LONG)) == 7


def test_a_blocking_call_that_raises_is_heard_of_by_all_who_wait():
    offload = Offload(threads=1, linger=0.0)

    def fail():
        raise OSError("no")

    submission = offload.submit("a", fail)
    for _ in range(2):
        with pytest.raises(OSError, match="no"):
            run_blocking(submission.wait(BLOCKING, LONG))


class Exhausted:
    """A machine that has no threads to spare for a while."""

    def __init__(self, monkeypatch):
        self.on = True
        start = threading.Thread.start

        def refuse(thread):
            if self.on and thread.name.startswith("resilience"):
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse)


def test_a_blocking_call_for_which_no_thread_could_be_started_fails_and_the_next_does_not_join_it(monkeypatch):
    offload, machine = Offload(threads=2, linger=0.0), Exhausted(monkeypatch)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="no thread could be started"):
            run_blocking(offload.submit("a", lambda: 7).wait(BLOCKING, LONG))
    machine.on = False
    assert run_blocking(offload.submit("a", lambda: 7).wait(BLOCKING, LONG)) == 7


def test_a_blocking_call_waits_for_the_threads_there_are_when_no_other_could_be_started(monkeypatch):
    offload, machine, gate = Offload(threads=2, linger=LONG), Exhausted(monkeypatch), threading.Event()
    machine.on = False
    first = offload.submit("a", lambda: gate.wait(LONG))
    machine.on = True
    second = offload.submit("b", lambda: 7)
    gate.set()
    assert run_blocking(first.wait(BLOCKING, LONG)) is True
    assert run_blocking(second.wait(BLOCKING, LONG)) == 7


def test_where_its_thread_could_not_be_started_the_background_starts_with_the_next_job(background, monkeypatch):
    lease, counter, machine = background.acquire(), Counter(), Exhausted(monkeypatch)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        lease.every(counter.seconds, counter.run, name="count")
    assert not background.running
    machine.on = False
    handle = lease.every(counter.seconds, counter.run, name="count")
    counter.ran()
    assert counter.count == 1
    handle.cancel()


def test_a_job_does_not_see_its_callers_context(background):
    lease, variable = background.acquire(), contextvars.ContextVar("of the caller", default="nothing")
    variable.set("something")

    async def look():
        return variable.get()

    assert submitted(lease, look) == "nothing"
