"""A thousand origins visited once, and nothing of them left; a client in a forked child; clients nobody closed."""

import asyncio
import gc
import threading
from collections import Counter
from contextlib import ExitStack
from typing import Any

import anyio
import pytest

import resilience
from resilience.core.endpoint import Endpoint
from resilience.discovery.directory import Directory
from resilience.http.pool_async import AsyncPool
from resilience.http.pool_blocking import BlockingPool
from resilience.http.probing import Prober
from resilience.http.upstream import Upstream
from resilience.lab import Server
from resilience.runtimes.background import BACKGROUND
from tests.http.support import Face, collect
from tests.real.nameservers import Dnsmasq
from tests.real.place import Place
from tests.real.programs import run_program

ORIGINS = 1000
KINDS = (Upstream, Directory, Prober, Endpoint, AsyncPool, BlockingPool)


def living() -> Counter[str]:
    collect()
    return Counter(type(it).__name__ for it in gc.get_objects() if type(it) in KINDS)


class Later:
    """The runtime's clock, five minutes and more ahead: the origins' sweep alone reads it."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self.ahead = 0.0

    def now(self) -> float:
        return self._runtime.now() + self.ahead

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)


def threads() -> int:
    return sum(thread.name.startswith("resilience") for thread in threading.enumerate())


def background_tasks() -> int:
    life = BACKGROUND._life
    return 0 if life is None else len(asyncio.all_tasks(life.loop))


async def until(holds: Any) -> None:
    with anyio.fail_after(20):
        while not holds():
            await anyio.sleep(0.02)


async def test_a_thousand_origins_visited_once_leave_nothing_behind(mode: str, dnsmasq: Dnsmasq, place: Place) -> None:
    names = [f"n{number}.internal" for number in range(ORIGINS)]
    services = {
        name: resilience.Service(
            discovery=resilience.Dns() if number % 2 else resilience.Auto(),
            health=resilience.HealthCheck("/ready") if number % 5 == 0 else None,
        )
        for number, name in enumerate(names)
    }
    with ExitStack() as stack:
        stack.enter_context(place.addresses("10.77.0.1"))
        server = stack.enter_context(Server("10.77.0.1"))
        dnsmasq.set("last.internal", ["10.77.0.1"])
        dnsmasq.set_all({name: ["10.77.0.1"] for name in names})
        before = living()
        await until(lambda: threads() == 0)  # that of the test before is ending
        async with Face(mode, services=services) as face:
            origins = face.client._transport._upstreams
            origins.runtime = clock = Later(origins.runtime)
            for name in names:
                response = await face.get(f"http://{name}:{server.port}/")
                assert response.status_code == 200
            assert len(origins.by_origin) == ORIGINS
            assert living()["Upstream"] - before["Upstream"] == ORIGINS
            del response
            clock.ahead = 301.0
            await face.get(f"http://last.internal:{server.port}/")
            assert len(origins.by_origin) == 1
            await until(lambda: background_tasks() <= 1)
            await until(lambda: threads() <= 1)  # the one that keeps the last name fresh
            await until(lambda: (living() - before)["Upstream"] == 1)
            left = living() - before
            assert (left["Directory"], left["Prober"]) == (1, 0)
            assert left["Endpoint"] <= 2
            assert left["AsyncPool"] + left["BlockingPool"] <= 2
            await until(lambda: server.connections <= 1)
            assert len(face.client._transport._held._work) <= 1
            assert len(face.client._transport._exchange._transports.all()) <= 2
        await until(lambda: threads() == 0)
        del face, origins, clock
        assert not living() - before


async def test_clients_that_nobody_closed_end_what_they_began(mode: str, dnsmasq: Dnsmasq, place: Place) -> None:
    with place.addresses("10.77.0.1"), Server("10.77.0.1") as server:
        dnsmasq.set("web.internal", ["10.77.0.1"])
        service = resilience.Service(discovery=resilience.Dns(), health=resilience.HealthCheck("/ready"))

        async def call() -> None:
            face = Face(mode, services={"web.internal": service})
            await face.get(f"http://web.internal:{server.port}/", headers={"connection": "close"})
            assert threads() == 1

        await call()
        collect()
        await until(lambda: threads() == 0)
        await call()  # and another may begin again
        collect()
        await until(lambda: threads() == 0)


FORKED = """
    import asyncio, os, signal, sys, threading, time
    import resilience
    kind, *urls = sys.argv[1:]
    signal.alarm(20)
    health = resilience.HealthCheck("/ready", interval=0.2)
    service = resilience.Service(discovery=resilience.Dns(min_ttl=1), health=health)
    services = {"web.internal": service}

    if kind == "threads":
        client = resilience.Client(services=services)
        def call(url):
            response = client.get(url)
            return response.status_code, response.extensions["network_stream"].get_extra_info("client_addr")
    else:
        def client_of_its_own():
            return resilience.AsyncClient(services=services)
        client = client_of_its_own()
        runner = asyncio.Runner()
        def call(url):
            async def main():
                response = await client.get(url)
                return response.status_code, response.extensions["network_stream"].get_extra_info("client_addr")
            return runner.run(main())

    before = [call(url) for url in urls]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        if kind != "threads":
            runner = asyncio.Runner()
            if kind == "own":
                client = client_of_its_own()
        after = [call(url) for url in urls for _ in range(20)]
        assert all(status == 200 for status, _ in after), after
        # No connection may be shared with the parent: their answers would mix.
        assert not {place for _, place in before} & {place for _, place in after}, (before, after)
        names = [thread.name for thread in threading.enumerate()]
        assert "resilience-background" in names, names
        os.write(writing, b"child")
        os._exit(0)
    assert [call(url)[0] for url in urls for _ in range(20)] == [200] * 20 * len(urls)
    _, status = os.waitpid(child, 0)
    os.close(writing)
    print(os.read(reading, 100).decode(), os.waitstatus_to_exitcode(status), flush=True)
"""


@pytest.mark.parametrize("kind", ["threads", "own", "same"])
def test_a_forked_child_works(kind: str, dnsmasq: Dnsmasq, place: Place) -> None:
    with place.addresses("10.77.0.1"), Server("10.77.0.1") as server:
        dnsmasq.set("web.internal", ["10.77.0.1"])
        ran = run_program(FORKED, kind, f"http://web.internal:{server.port}/", server.url)
    assert ran.said == ["child 0"], ran.errors
    assert ran.code == 0, ran.errors
