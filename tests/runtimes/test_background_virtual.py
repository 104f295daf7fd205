import math

import pytest

from resilience.runtimes.background_virtual import VirtualBackground
from resilience.runtimes.virtual import VirtualRuntime


@pytest.fixture
def runtime():
    return VirtualRuntime(start=0.0)


class Clocked:
    def __init__(self, runtime, pause, takes=0.0):
        self.runtime, self.pause, self.takes = runtime, pause, takes
        self.instants = []

    def seconds(self):
        return self.pause

    async def run(self):
        self.instants.append(self.runtime.now())
        await self.runtime.sleep(self.takes)


def test_a_job_comes_again_each_pause_after_it_ended(runtime):
    job = Clocked(runtime, pause=5.0, takes=1.0)
    VirtualBackground(runtime).acquire().every(job.seconds, job.run, name="job")
    runtime.advance(19.0)
    assert job.instants == [0.0, 6.0, 12.0, 18.0]


def test_hurry_wakes_a_sleeping_job_and_repeats_a_running_one(runtime):
    job = Clocked(runtime, pause=math.inf, takes=2.0)
    handle = VirtualBackground(runtime).acquire().every(job.seconds, job.run, name="job")
    runtime.advance(1.0)
    handle.hurry()
    runtime.advance(9.0)
    handle.hurry()
    handle.hurry()
    runtime.advance(10.0)
    assert job.instants == [0.0, 2.0, 10.0]


@pytest.mark.parametrize("how", ["cancel", "release", "collect"])
def test_a_job_ends(runtime, how):
    job = Clocked(runtime, pause=1.0)
    lease = VirtualBackground(runtime).acquire()
    handle = lease.every(job.seconds, job.run, name="job")
    runtime.advance(2.5)
    instants = job.instants
    if how == "cancel":
        handle.cancel()
    elif how == "release":
        lease.release()
    else:
        del job
    runtime.advance(10.0)
    assert instants == [0.0, 1.0, 2.0]


def test_what_a_job_raises_does_not_end_it(runtime):
    instants = []

    async def broken():
        instants.append(runtime.now())
        raise ValueError

    VirtualBackground(runtime).acquire().every(lambda: 1.0, broken, name="broken")
    runtime.advance(2.0)
    assert instants == [0.0, 1.0, 2.0]


def test_a_broken_pause_is_a_long_one(runtime):
    job = Clocked(runtime, pause=math.nan)
    VirtualBackground(runtime).acquire().every(job.seconds, job.run, name="job")
    VirtualBackground(runtime).acquire().every(lambda: 1 / 0, job.run, name="job")
    runtime.advance(31.0)
    assert job.instants == [0.0, 0.0, 30.0, 30.0]


def test_a_submission_is_waited_for_by_many(runtime):
    lease = VirtualBackground(runtime).acquire()

    async def work():
        await runtime.sleep(2.0)
        return 7

    async def main():
        submission = lease.submit(work)
        with pytest.raises(TimeoutError):
            await submission.wait(runtime, 1.0)
        return await submission.wait(runtime, math.inf), await submission.wait(runtime, 0.0), runtime.now()

    assert runtime.run(main) == (7, 7, 2.0)


def test_release_fails_what_is_still_waited_for(runtime):
    lease = VirtualBackground(runtime).acquire()

    async def main():
        submission = lease.submit(lambda: runtime.sleep(1000.0))
        await runtime.sleep(1.0)
        lease.release()
        with pytest.raises(RuntimeError):
            await submission.wait(runtime, math.inf)

    runtime.run(main)


def test_a_job_may_cancel_itself_and_finish_what_it_does(runtime):
    done = []

    async def once():
        handle.cancel()
        await runtime.sleep(1.0)
        done.append(runtime.now())

    handle = VirtualBackground(runtime).acquire().every(lambda: 0.0, once, name="once")
    runtime.advance(10.0)
    assert done == [1.0]
