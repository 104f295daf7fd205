"""Loops whose time is coarse, as uvloop's is: nothing is called up before its time."""

import asyncio

import anyio
import pytest

from resilience.runtimes import anyio as runtime
from resilience.runtimes.alarms import Alarm, Alarms
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.loop_time import SLACK, TICK, exact, monotonic, ring_at, slack, slack_here
from resilience.runtimes.socket_asyncio import AsyncioSocket

LONG = 3600.0


class CoarseLoop(asyncio.AbstractEventLoop):
    """Rings when it is told to, and not before; its own time stands still."""

    def __init__(self):
        self.rings = []
        self.delays = []

    def time(self):
        return 0.0

    def call_later(self, delay, callback, *args, context=None):
        handle = asyncio.TimerHandle(delay, callback, args, self)
        self.delays.append(delay)
        self.rings.append(callback)
        return handle

    def create_future(self):
        return asyncio.get_running_loop().create_future()

    def get_debug(self):
        return False

    def _timer_handle_cancelled(self, handle):
        """Nothing is kept of it."""


class Task:
    def __init__(self):
        self.cancelled = 0

    def cancel(self):
        self.cancelled += 1


async def test_asyncios_and_trios_own_time_is_exact(anyio_backend):
    assert slack_here() == 0.0
    assert slack(anyio.lowlevel.current_token().native_token) == 0.0


def test_a_coarse_loop_is_told_to_wait_longer(monkeypatch):
    loop = CoarseLoop()
    assert not exact(loop)
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    assert slack_here() == slack(loop) == SLACK
    slept = []

    async def note(seconds):
        slept.append(seconds)

    monkeypatch.setattr(runtime.anyio, "sleep", note)
    for seconds in (1.0, 0.0):
        with pytest.raises(StopIteration):
            ANYIO.sleep(seconds).send(None)
    assert slept == [1.0 + SLACK, 0.0]


def test_it_is_asked_for_seconds_from_now_and_for_a_tick_at_least():
    loop = CoarseLoop()
    ring_at(loop, monotonic() + LONG, loop.get_debug)
    ring_at(loop, monotonic() - LONG, loop.get_debug)
    assert LONG - 60.0 < loop.delays[0] <= LONG
    assert loop.delays[1] == TICK


def test_a_limit_that_is_rung_for_too_early_waits_on():
    loop = CoarseLoop()
    alarms = Alarms(loop)
    early, due = Task(), Task()
    alarms.set(Alarm(early, monotonic() + LONG))
    alarms.set(Alarm(due, monotonic()))
    for ring in list(loop.rings):
        ring()
    assert (early.cancelled, due.cancelled) == (0, 1)
    assert [alarm.task for alarm in alarms.pending] == [early]
    assert loop.delays[-1] > LONG - 60.0, "it is to ring again"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_read_that_is_rung_for_too_early_waits_on(anyio_backend):
    loop = CoarseLoop()
    socket = AsyncioSocket(loop)
    read = asyncio.ensure_future(socket.read(1, LONG))
    await asyncio.sleep(0)
    loop.rings.pop()()
    await asyncio.sleep(0)
    assert not read.done()
    assert loop.delays[-1] > LONG - 60.0
    socket.data_received(b"x")
    assert await read == b"x"
    late = asyncio.ensure_future(socket.read(1, 0.0))
    await asyncio.sleep(0)
    loop.rings.pop()()
    with pytest.raises(TimeoutError):
        await late
