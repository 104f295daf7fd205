"""Several ways to one origin, on loops and on sockets: who wins, who is closed, what is raised when nobody does."""

import errno
import math
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from resilience.runtimes import eyeballs, socket_blocking
from resilience.runtimes.eyeballs import race


class Ways:
    """Dials whose ends a test decides."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = outcomes
        self.begun: list[int] = []
        self.cancelled: list[int] = []
        self.closed: list[str] = []

    def dials(self) -> list[Callable[[], Awaitable[str]]]:
        return [lambda number=number: self._dial(number) for number in range(len(self.outcomes))]

    async def _dial(self, number: int) -> str:
        self.begun.append(number)
        outcome = self.outcomes[number]
        if outcome is None:
            try:
                await anyio.sleep(math.inf)
            finally:
                self.cancelled.append(number)
        if isinstance(outcome, BaseException):
            raise outcome
        return str(outcome)

    async def close(self, connection: str) -> None:
        await anyio.lowlevel.checkpoint()
        self.closed.append(connection)

    async def race(self) -> str:
        return await race(self.dials(), self.close)


async def test_the_first_that_connects_wins_and_no_other_is_begun() -> None:
    ways = Ways("a", "b")
    assert await ways.race() == "a"
    assert (ways.begun, ways.closed) == ([0], [])


async def test_a_failure_begins_the_next_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eyeballs, "STAGGER", 3600.0)
    ways = Ways(OSError("refused"), OSError("refused"), "c", "d")
    assert await ways.race() == "c"
    assert ways.begun == [0, 1, 2]


async def test_one_that_is_silent_is_overtaken_and_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eyeballs, "STAGGER", 0.01)
    ways = Ways(None, "b")
    assert await ways.race() == "b"
    assert ways.cancelled == [0]


async def test_all_fail_and_the_last_failure_is_raised() -> None:
    ways = Ways(OSError("one"), OSError("two"))
    with pytest.raises(OSError, match="two"):
        await ways.race()


async def test_a_late_winner_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eyeballs, "STAGGER", 0.0)
    both = anyio.Event()
    ways = Ways("a", "b")

    async def shielded(number: int) -> str:
        with anyio.CancelScope(shield=True):
            ways.begun.append(number)
            if len(ways.begun) == 2:
                both.set()
            await both.wait()
        return "ab"[number]

    won = await race([lambda n=n: shielded(n) for n in range(2)], ways.close)
    assert sorted([won, *ways.closed]) == ["a", "b"]


async def test_a_cancelled_race_closes_what_got_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eyeballs, "STAGGER", 0.0)
    ways = Ways("a", None)

    async def through() -> str:
        with anyio.CancelScope(shield=True):
            scope.cancel()
            await anyio.lowlevel.checkpoint()
        return "a"

    won: list[str] = []
    with anyio.CancelScope() as scope:
        won.append(await race([through], ways.close))
    assert [*won, *ways.closed] == ["a"]  # handed over or closed, never both and never neither


def free_port() -> tuple[str, int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()  # type: ignore[no-any-return]


def test_threads_race_sockets_past_refusals() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = socket_blocking.dial([free_port(), free_port(), listener.getsockname()], 5.0, local_address="127.0.0.1")
        assert made.raw.getpeername() == listener.getsockname()
        assert made.raw.getsockname()[0] == "127.0.0.1"
        made.close()


def test_threads_hear_the_last_failure_when_all_refuse() -> None:
    with pytest.raises(OSError, match="connect failed") as caught:
        socket_blocking.dial([free_port(), free_port()], 5.0)
    assert caught.value.errno == errno.ECONNREFUSED


def test_threads_give_up_in_time_and_close_all(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    def silent(address: tuple[str, int], local_address: str | None) -> socket.socket:
        connecting = socket.socket()
        connecting.bind(("127.0.0.1", 0))
        connecting.listen(0)  # never writable
        made.append(connecting)
        return connecting

    monkeypatch.setattr(socket_blocking, "_begin", silent)
    monkeypatch.setattr(socket_blocking, "STAGGER", 0.001)
    monkeypatch.setattr(socket_blocking.selectors, "DefaultSelector", socket_blocking.selectors.SelectSelector)
    with pytest.raises(TimeoutError):
        socket_blocking.dial([("127.0.0.1", 1), ("127.0.0.1", 2)], 0.05)
    assert len(made) == 2
    assert all(one.fileno() == -1 for one in made)


def test_threads_pass_over_an_address_that_cannot_even_be_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = socket_blocking.dial([("::zz", 1), listener.getsockname()], 5.0)
        made.close()
        with pytest.raises(OSError, match=r"."):
            socket_blocking.dial([listener.getsockname(), listener.getsockname()], 5.0, local_address="192.0.2.1")


def test_threads_pass_over_an_address_that_is_refused_at_once() -> None:
    nowhere = ("255.255.255.255", 80)  # no TCP to a broadcast address: connecting fails without being under way
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = socket_blocking.dial([nowhere, listener.getsockname()], 5.0)
        assert made.raw.getpeername() == listener.getsockname()
        made.close()
    with pytest.raises(OSError, match="connect failed"):
        socket_blocking.dial([nowhere, nowhere], 5.0)
