"""When a client's circuits open, when they do not, and who is let in half-open."""

import contextlib
import socket
import threading
from collections import Counter
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pybreaker
import pytest

import resilience
from resilience.lab import Fleet, Server
from resilience.testing import After, Script, virtual
from tests.http.raw import Raw, answering
from tests.http.support import MODES, Face, static

NAME = "web.internal"
ALONE = resilience.Retry(max_attempts=1)


async def ask(face: Face, server: Server, times: int, path: str = "/", method: str = "GET") -> Counter[str]:
    """Call so often; count statuses and kinds of errors."""
    seen: Counter[str] = Counter()
    for _ in range(times):
        try:
            response = await face.request(method, f"http://{NAME}:{server.port}{path}")
        except httpx.TransportError as error:
            seen[type(error).__name__] += 1
        else:
            seen[str(response.status_code)] += 1
    return seen


def circuit_of(face: Face, server: Server) -> str | None:
    return face.endpoints(f"{NAME}:{server.port}")[server.address].circuit


async def test_not_found_opens_nothing(mode: str, server: Server) -> None:
    async with Face(mode, services={NAME: static(server)}) as face:
        assert await ask(face, server, 50, "/status/404") == {"404": 50}
        assert circuit_of(face, server) == "closed"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 501, 505])
async def test_nor_does_any_answer_that_is_the_callers_own_doing(mode: str, server: Server, status: int) -> None:
    async with Face(mode, services={NAME: static(server, retry=None)}) as face:
        await ask(face, server, 15, f"/status/{status}")
        assert circuit_of(face, server) == "closed"


async def test_nine_500s_in_a_row_open_nothing_a_ratio_does(mode: str, fleet: Fleet) -> None:
    async with Face(mode, services={NAME: static(*fleet)}) as face:
        poison = fleet[0]
        assert await ask(face, poison, 27, "/status/500") == {"500": 27}  # nine each
        assert {circuit_of(face, server) for server in fleet} == {"closed"}
        await ask(face, poison, 3, "/status/500")
        assert {circuit_of(face, server) for server in fleet} == {"open"}


async def test_five_503s_in_a_row_open_it(mode: str, fleet: Fleet) -> None:
    fleet[0].fault(status=503)
    async with Face(mode, services={NAME: static(*fleet)}) as face:
        assert await ask(face, fleet[0], 40) == {"200": 40}
        assert [circuit_of(face, server) for server in fleet] == ["open", "closed", "closed"]
    assert fleet[0].count == 5


async def test_a_lone_endpoint_opens_by_ratio_or_by_failed_connects_only(mode: str, server: Server) -> None:
    server.fault(status=503)
    async with Face(mode, services={NAME: static(server, retry=ALONE)}) as face:
        assert await ask(face, server, 9) == {"503": 9}
        assert circuit_of(face, server) == "closed"
        await ask(face, server, 1)
        assert circuit_of(face, server) == "open"
    server.kill()
    async with Face(mode, services={NAME: static(server, retry=ALONE)}) as face:
        assert await ask(face, server, 7) == {"ConnectError": 5, "CircuitOpenError": 2}


@pytest.mark.parametrize(("method", "path"), [("GET", "/bytes/100"), ("POST", "/bytes/100")])
async def test_half_of_all_bodies_dying_midway_opens_it(mode: str, server: Server, method: str, path: str) -> None:
    server.fault(truncate=True, ratio=0.5)
    async with Face(mode, services={NAME: static(server, retry=ALONE)}) as face:
        seen = await ask(face, server, 40, path, method)
        assert set(seen) == {"200", "RemoteProtocolError", "CircuitOpenError"}
        assert circuit_of(face, server) == "open"


async def test_half_of_all_streams_dying_midway_opens_it(mode: str, server: Server) -> None:
    server.fault(truncate=True, ratio=0.5)
    async with Face(mode, services={NAME: static(server, retry=ALONE)}) as face:
        calls = 0
        while calls == 0 or circuit_of(face, server) == "closed":
            response = await face.open("GET", f"http://{NAME}:{server.port}/bytes/100")
            with contextlib.suppress(httpx.RemoteProtocolError):
                await face.read(response)
            await face.shut(response)
            calls += 1
        assert 10 <= calls <= 40


@pytest.mark.parametrize("reply", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", b""])
async def test_answers_that_are_no_http_open_it(mode: str, reply: bytes) -> None:
    with Raw(answering(reply)) as raw:
        async with Face(mode, services={"localhost": resilience.Service(retry=None)}) as face:
            for _ in range(10):
                with pytest.raises(httpx.RemoteProtocolError):
                    await face.get(f"http://localhost:{raw.port}/")
            with pytest.raises(resilience.CircuitOpenError):
                await face.get(f"http://localhost:{raw.port}/")


@pytest.mark.parametrize("mode", MODES[:2])
async def test_half_open_admits_exactly_its_probes_of_twenty(mode: str, fleet: Fleet) -> None:
    circuit = resilience.CircuitBreaker(consecutive_failures=1, open_for=0.001, probes=3)
    first, second = fleet[0], fleet[1]
    async with Face(mode, services={NAME: static(first, second, circuit=circuit)}) as face:
        first.fault(status=503)
        await ask(face, first, 2)
        assert circuit_of(face, first) == "open"
        first.fault(delay=0.3)
        first.reset_counts()
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(ask, face, first, 1)
            while first.count < 3:
                await anyio.lowlevel.checkpoint()
            assert circuit_of(face, first) == "half-open"
        assert first.count == 3
        assert circuit_of(face, first) == "closed"


async def test_a_cancelled_probe_leaves_its_place_to_the_next(server: Server, fleet: Fleet) -> None:
    circuit = resilience.CircuitBreaker(consecutive_failures=1, open_for=0.001)
    async with Face("asyncio", services={NAME: static(fleet[0], fleet[1], circuit=circuit)}) as face:
        fleet[0].fault(status=503)
        await ask(face, fleet[0], 2)
        fleet[0].fault(delay=30)
        async with anyio.create_task_group() as group:
            while circuit_of(face, fleet[0]) != "half-open":
                group.start_soon(ask, face, fleet[0], 1)
                await anyio.sleep(0.001)
            group.cancel_scope.cancel()
        assert circuit_of(face, fleet[0]) == "half-open"
        fleet[0].fault()
        await ask(face, fleet[0], 2)
        assert circuit_of(face, fleet[0]) == "closed"


async def test_a_probe_answers_at_its_headers(mode: str, fleet: Fleet) -> None:
    circuit = resilience.CircuitBreaker(consecutive_failures=1, open_for=0.001)
    async with Face(mode, services={NAME: static(fleet[0], fleet[1], circuit=circuit)}) as face:
        fleet[0].fault(status=503)
        await ask(face, fleet[0], 2)
        fleet[0].fault()
        held: list[httpx.Response] = []
        while circuit_of(face, fleet[0]) != "closed":  # and none of them is read, nor closed
            held.append(await face.open("GET", f"http://{NAME}:{fleet.port}/sse"))
        for response in held:
            await face.shut(response)


async def test_posts_do_not_probe_while_another_endpoint_is_closed(mode: str, fleet: Fleet) -> None:
    circuit = resilience.CircuitBreaker(consecutive_failures=1, open_for=0.001)
    async with Face(mode, services={NAME: static(fleet[0], fleet[1], circuit=circuit)}) as face:
        fleet[0].fault(reset="after")
        await ask(face, fleet[0], 2)
        fleet[0].reset_counts()
        assert await ask(face, fleet[0], 10, method="POST") == {"200": 10}
        assert fleet[0].count == 0


def test_ten_threads_through_one_circuit_run_in_parallel(server: Server) -> None:
    inside, most = 0, 0
    lock, all_in = threading.Lock(), threading.Barrier(10, timeout=30)

    class Meeting(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)
            all_in.wait()  # nobody leaves before all ten are in
            with lock:
                inside -= 1
            return httpx.Response(200)

    with resilience.Client(transport=Meeting()) as client:
        threads = [threading.Thread(target=client.get, args=("http://web.internal/",)) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.status().services["web.internal:80"].counts["calls"] == 10
    assert most == 10


class Watching(pybreaker.CircuitBreakerListener):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.views: set[Any] = set()

    def before_call(self, cb: Any, func: Any, *args: Any, **kwargs: Any) -> None:
        self.views.add(cb)
        self.heard.append(("before", cb.name, args[0].method))

    def success(self, cb: Any) -> None:
        self.heard.append(("success", cb.name, cb.fail_counter))

    def failure(self, cb: Any, exc: BaseException) -> None:
        self.heard.append(("failure", cb.name, type(exc).__name__))

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        self.heard.append(("change", cb.name, old_state.name, new_state.name))


async def test_pybreaker_listeners_of_a_template_hear_of_each_endpoint_by_name(mode: str, fleet: Fleet) -> None:
    watching = Watching()
    circuit = resilience.CircuitBreaker(consecutive_failures=1, open_for=60, listeners=[watching])
    fleet[0].fault(status=503)
    fleet[1].fault(reset="after")
    async with Face(mode, services={NAME: static(*fleet, circuit=circuit)}) as face:
        for _ in range(3):
            await ask(face, fleet[0], 1)
    names = [server.address for server in fleet]
    assert {event[1] for event in watching.heard if event[0] == "before"} == set(names)
    assert ("failure", names[0], "ConnectionError") in watching.heard
    assert ("failure", names[1], "ReadError") in watching.heard
    assert ("success", names[2], 0) in watching.heard
    changes = [event for event in watching.heard if event[0] == "change"]
    assert sorted(changes) == [("change", name, "closed", "open") for name in names[:2]]
    assert circuit.current_state == "closed"  # the template itself guards nothing


async def test_what_they_see_can_be_looked_at_and_not_touched(mode: str, server: Server) -> None:
    watching = Watching()
    circuit = resilience.CircuitBreaker(listeners=[watching], probes=2, open_for=3, consecutive_failures=4)
    async with Face(mode, services={NAME: static(server, circuit=circuit)}) as face:
        await ask(face, server, 1)
    (view,) = watching.views
    assert isinstance(view, pybreaker.CircuitBreaker)
    assert (view.name, view.current_state, view.state.name) == (server.address, "closed", "closed")
    assert (view.fail_counter, view.success_counter, view.fail_max, view.reset_timeout, view.success_threshold) == (
        0,
        0,
        4,
        3.0,
        2,
    )
    for method in (view.open, view.close, view.half_open, lambda: view.call(print), lambda: view(print)):
        with pytest.raises(TypeError, match="belongs to a client"):
            method()
    for name in ("state", "fail_max", "reset_timeout"):
        with pytest.raises(AttributeError):
            setattr(view, name, 1)


async def test_a_pybreaker_listener_that_raises_breaks_nothing(mode: str, server: Server) -> None:
    class Broken(pybreaker.CircuitBreakerListener):
        def before_call(self, cb: Any, func: Any, *args: Any, **kwargs: Any) -> None:
            raise ZeroDivisionError

        success = before_call

    circuit = resilience.CircuitBreaker(listeners=[Broken()])
    async with Face(mode, services={NAME: static(server, circuit=circuit)}) as face:
        assert await ask(face, server, 3) == {"200": 3}
        assert face.in_flight() == 0


async def test_what_a_template_excludes_counts_in_no_circuit(mode: str, server: Server) -> None:
    server.fault(reset="after")
    circuit = resilience.CircuitBreaker(minimum_calls=3, exclude=(httpx.ReadError,))
    async with Face(mode, services={NAME: static(server, circuit=circuit, retry=ALONE)}) as face:
        assert await ask(face, server, 10) == {"ReadError": 10}
        assert circuit_of(face, server) == "closed"


async def test_nor_does_a_status_that_it_excludes(mode: str, server: Server) -> None:
    circuit = resilience.CircuitBreaker(minimum_calls=3, exclude=(503, httpx.ReadError))
    async with Face(mode, services={NAME: static(server, circuit=circuit, retry=ALONE)}) as face:
        server.fault(status=503)
        assert await ask(face, server, 10) == {"503": 10}
        server.fault(status=502)
        assert await ask(face, server, 4) == {"502": 3, "CircuitOpenError": 1}


async def test_events_tell_which_circuit_opened(mode: str, server: Server) -> None:
    told: list[Any] = []
    server.kill()
    async with Face(mode, services={NAME: static(server, retry=ALONE)}, listeners=[told.append]) as face:
        await ask(face, server, 6)
    opened = [event for event in told if event.name == "circuit_opened"]
    assert [(event.service, event.endpoint) for event in opened] == [(f"{NAME}:{server.port}", server.address)]
    assert opened[0].reason == "5 failures in a row"
    assert opened[0].open_for is not None


async def test_refused_by_the_system_counts_as_a_failed_connect(mode: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with Face(mode, defaults=resilience.Service(retry=None)) as face:
        for _ in range(5):
            with pytest.raises(httpx.ConnectError) as caught:
                await face.get(f"http://127.0.0.1:{port}/")
            assert not isinstance(caught.value, resilience.ResilienceError)
        with pytest.raises(resilience.CircuitOpenError):
            await face.get(f"http://127.0.0.1:{port}/")


TWO = resilience.Service(discovery=resilience.Static(["10.0.0.1:80", "10.0.0.2:80"]), retry=None)


def test_a_circuit_in_shadow_neither_holds_back_hedges_nor_eases_anybody_in():
    heard = []
    circuit = resilience.CircuitBreaker(consecutive_failures=1, open_for=5.0, shadow=True)
    service = replace(TWO, circuit=circuit, hedge=resilience.Hedge(after=0.1), slow_start=60.0)
    script = Script([503, 503], then=After(0.3, 200))
    with virtual() as clock, resilience.Client(transport=script, defaults=service, listeners=[heard.append]) as client:
        for _ in range(2):
            client.get(f"http://{NAME}/")
        assert [it.circuit for it in client.status().services[f"{NAME}:80"].endpoints] == ["open", "open"]
        sends = client.get(f"http://{NAME}/").extensions["resilience"].attempts
        assert len({attempt.endpoint for attempt in sends}) == 2
        clock.advance(10.0)
        for _ in range(4):
            client.get(f"http://{NAME}/")
        endpoints = client.status().services[f"{NAME}:80"].endpoints
        assert [(it.circuit, it.ramp) for it in endpoints] == [("closed", 1.0)] * 2
    assert [event.name for event in heard].count("circuit_closed") == 2


def test_a_slow_start_is_told_as_one():
    circuit = resilience.CircuitBreaker(slow_start=60.0, minimum_calls=1, open_for=2.0)
    service = replace(TWO, discovery=resilience.Static(["10.0.0.1:80"]), circuit=circuit)
    with virtual() as clock, resilience.Client(transport=Script([503], then=After(5, 200)), defaults=service) as client:
        client.get(f"http://{NAME}/")
        clock.advance(2.0)
        client.get(f"http://{NAME}/")
        inside = clock.start(client.get, f"http://{NAME}/")
        clock.advance(1.0)
        with pytest.raises(resilience.CircuitOpenError) as caught:
            client.get(f"http://{NAME}/")
        assert inside.result().status_code == 200
    assert str(caught.value) == "circuit for 10.0.0.1:80 is starting slowly; try again in 2.0 s"
    assert caught.value.retry_after == 2.0


def test_a_template_that_was_forced_open_refuses_and_says_so():
    forced = resilience.CircuitBreaker()
    forced.force_open()
    refusing, normal = replace(TWO, circuit=forced), replace(TWO, circuit=resilience.CircuitBreaker())
    for first in (refusing, normal):
        with virtual() as clock, resilience.Client(transport=Script([], then=200), defaults=first) as client:
            if first is normal:
                assert client.get(f"http://{NAME}/").status_code == 200
                client.update(defaults=refusing)
            for _ in range(2):
                with pytest.raises(
                    resilience.CircuitOpenError, match="of 2, the first circuit for .* is forced open"
                ) as it:
                    client.get(f"http://{NAME}/")
                assert it.value.retry_after is None
                clock.advance(100.0)
            assert {it.circuit for it in client.status().services[f"{NAME}:80"].endpoints} == {"open"}
            client.update(defaults=normal)
            assert {it.circuit for it in client.status().services[f"{NAME}:80"].endpoints} == {"closed"}
            assert client.get(f"http://{NAME}/").status_code == 200
