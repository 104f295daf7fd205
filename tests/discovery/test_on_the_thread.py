"""Lookups on the background thread, waited for by callers of every kind."""

import threading

import anyio
import pytest

from resilience.core.resolution import Target
from resilience.discovery.dns import Dns
from resilience.discovery.failures import ResolutionError
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.background import BackgroundThread
from resilience.runtimes.blocking import BLOCKING, run_blocking

LONG = 20.0


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture
def lease():
    background = BackgroundThread()
    made = background.acquire()
    yield made
    made.release()
    background.join(LONG)
    assert not background.running


def lookup(lease, server, host, within=LONG):
    async def resolve():
        return await Dns(nameservers=[server.address]).resolve(Target(host, 80), deadline=ANYIO.now() + within)

    return lease.submit(resolve, name=host)


def test_a_thread_waits_for_a_lookup(lease, server):
    server.set("web.internal", "A", ["10.0.0.1"])
    resolution = run_blocking(lookup(lease, server, "web.internal").wait(BLOCKING, LONG))
    assert [str(replica.address) for replica in resolution.replicas] == ["10.0.0.1:80"]


def test_a_failure_reaches_every_thread_that_waits(lease, server):
    submission, kinds = lookup(lease, server, "nowhere.internal"), []

    def wait():
        try:
            run_blocking(submission.wait(BLOCKING, LONG))
        except ResolutionError as error:
            kinds.append(error.kind)

    threads = [threading.Thread(target=wait) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert kinds == ["nxdomain"] * 8


@pytest.mark.anyio
async def test_a_task_waits_for_a_lookup(lease, server):
    server.set("web.internal", "A", ["10.0.0.1"])
    resolution = await lookup(lease, server, "web.internal").wait(ANYIO, LONG)
    assert [str(replica.address) for replica in resolution.replicas] == ["10.0.0.1:80"]


@pytest.mark.anyio
async def test_a_silent_nameserver_stalls_nobody(lease, server):
    server.fault("silent", name="hung.internal")
    hung = [lookup(lease, server, "hung.internal") for _ in range(20)]
    server.set("web.internal", "A", ["10.0.0.1"])
    assert await lookup(lease, server, "web.internal").wait(ANYIO, LONG)
    assert not any(submission.done for submission in hung)
    with pytest.raises(TimeoutError):
        await hung[0].wait(ANYIO, 0.0)
    with anyio.move_on_after(0.0):  # who is cancelled while waiting takes nothing from the others
        await hung[0].wait(ANYIO, LONG)
    for submission in hung:
        submission.cancel()
    with pytest.raises(RuntimeError):
        await hung[0].wait(ANYIO, LONG)
