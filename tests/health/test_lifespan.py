"""The ASGI lifespan: when ready begins, and who answers the server."""

from __future__ import annotations

import signal
import threading
from contextlib import nullcontext
from typing import Any

import anyio
import pytest

from resilience.health import App

BOTH = ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def live_through(app: App, messages: list[str]) -> list[str]:
    sent: list[str] = []
    left = iter(messages)

    async def receive() -> Any:
        return {"type": f"lifespan.{next(left)}"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    return sent


@pytest.fixture(autouse=True)
def _untouched() -> Any:
    """SIGTERM is handled after the test as before it."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


async def test_ready_begins_when_startup_is_complete() -> None:
    seen: list[int] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        seen.append(app.ready().code)
        await send({"type": "lifespan.startup.complete"})
        seen.append(app.ready().code)

    app = App(inner)
    assert await live_through(app, ["startup"]) == ["lifespan.startup.complete"]
    assert seen == [503, 200]


@pytest.mark.parametrize("raises", [True, False])
async def test_a_failed_startup_never_is_ready(raises: bool) -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.failed", "message": "no"})
        if raises:  # as Starlette does
            raise RuntimeError

    app = App(inner)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(RuntimeError) if raises else nullcontext():
        assert await live_through(app, ["startup"]) == ["lifespan.startup.failed"]
    assert app.ready().output == "starting"
    assert signal.getsignal(signal.SIGTERM) == before


async def test_an_application_without_a_lifespan_is_ready_at_once() -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"

    app = App(inner)
    with pytest.raises(AssertionError):
        await live_through(app, ["startup"])
    assert app.ready().code == 200


@pytest.mark.parametrize("taken", [0, 1, 2], ids=["untouched", "startup", "startup and shutdown"])
async def test_an_application_that_leaves_its_lifespan_without_a_word_is_ready(taken: int) -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(taken):
            await receive()

    app = App(inner)
    before = signal.getsignal(signal.SIGTERM)
    assert await live_through(app, ["startup", "shutdown"]) == BOTH
    assert app.ready().code == 200
    assert signal.getsignal(signal.SIGTERM) != before


async def test_the_server_is_answered_before_it_asks_for_the_end() -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    app, sent, ready = App(inner), [], []

    async def receive() -> Any:
        if "lifespan.startup.complete" not in sent:
            return {"type": "lifespan.startup"}
        ready.append(app.ready().code)
        return {"type": "lifespan.shutdown"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    assert (sent, ready) == (BOTH, [200])


async def test_without_a_word_it_is_ready_when_it_is_told_all_the_same() -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        return

    app = App(inner, started=False)
    await live_through(app, ["startup", "shutdown"])
    assert app.ready().output == "starting"
    app.start()
    assert app.ready().code == 200


async def test_an_application_that_says_its_own_end_is_not_answered_for() -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(2):
            await send({"type": f"{(await receive())['type']}.complete"})

    assert await live_through(App(inner), ["startup", "shutdown"]) == BOTH


async def test_alone_it_has_a_lifespan_of_its_own() -> None:
    app = App()
    assert await live_through(app, ["startup", "shutdown"]) == BOTH
    assert app.ready().code == 200


async def test_sigterm_makes_ready_fail_first_and_is_then_passed_on() -> None:
    passed = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: passed.set())
    app = App(grace=0)
    await live_through(app, ["startup", "shutdown"])
    signal.raise_signal(signal.SIGTERM)
    assert app.draining
    while not passed.is_set():
        await anyio.lowlevel.checkpoint()
