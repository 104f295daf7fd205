"""The pools' corners: what another thread does between two lines, and what cannot be closed properly."""

import asyncio
from collections import deque
from types import SimpleNamespace
from typing import Any

import httpcore
import pytest

from resilience.core.endpoint import Address, Endpoint
from resilience.core.slots import Slots
from resilience.http.options import PoolOptions
from resilience.http.pool import socket_options
from resilience.http.pool_async import AsyncPool, _AsyncBody
from resilience.http.pool_blocking import BlockingPool, _BlockingBody
from resilience.http.together import Together
from resilience.runtimes.here import here


class Fast(deque[Any]):
    """Looks full, and has been emptied by another thread."""

    def __bool__(self) -> bool:
        return True


class Connection:
    """As much of a connection as a pool looks at."""

    def __init__(self, *, expired: bool = False, idle: bool = True) -> None:
        self.expired, self.idle, self.closed = expired, idle, False
        self.wire = SimpleNamespace(call="a call", doomed=False, over=False, ended=lambda: False)
        self.home: Any = None

    def has_expired(self) -> bool:
        return self.expired

    def is_idle(self) -> bool:
        return self.idle

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


def pool(kind: Any, *, max_idle: float = float("inf"), total: Slots | None = None) -> Any:
    options = PoolOptions(max_idle=max_idle)
    together = Together(options, total)
    made = kind(Endpoint(Address("10.0.0.1", 80)), None, options, together)
    together.join(made)
    return made


def test_another_thread_takes_the_last_idle_connection_first() -> None:
    threads = pool(BlockingPool)
    threads.idle["any"] = Fast()
    assert threads._take(threads.idle["any"]) is None
    assert threads.oldest() is None
    assert threads.take_all() == []


async def test_another_loops_thread_does() -> None:
    assert await pool(AsyncPool)._take(Fast()) is None


def test_the_oldest_is_dropped_when_its_time_is_over() -> None:
    threads, connections = pool(BlockingPool), deque([Connection(expired=True)])
    old, new = connections[0], Connection()
    threads.put_back(connections, new)
    assert old.closed
    assert list(connections) == [new]
    assert new.wire.call is None


def test_the_oldest_may_be_gone_already() -> None:
    class Racing(deque[Any]):
        def remove(self, value: Any, /) -> None:
            raise ValueError

    connections = Racing([Connection(expired=True)])
    pool(BlockingPool).put_back(connections, Connection())
    assert len(connections) == 2


async def test_the_oldest_of_a_tasks_pool_is_dropped_too() -> None:
    tasks, connections = pool(AsyncPool), deque([Connection(expired=True)])
    old, new = connections[0], Connection()
    old.home = new.home = here()
    await tasks.put_back(connections, new)
    assert old.closed
    assert list(connections) == [new]


def test_what_comes_back_after_the_close_is_closed() -> None:
    threads = pool(BlockingPool)
    threads.close()
    connection = Connection()
    threads.idle["any"] = deque()
    threads.put_back(threads.idle["any"], connection)
    assert connection.closed
    assert threads.idle_count() == 0


@pytest.mark.parametrize("broken", [{"idle": False}, {}])
def test_what_cannot_be_used_again_or_is_too_much_is_closed(broken: dict[str, bool]) -> None:
    threads = pool(BlockingPool, max_idle=float("inf") if broken else 0)
    connection = Connection(**broken)
    threads.put_back(deque(), connection)
    assert connection.closed


def test_beyond_the_limit_the_oldest_idle_connection_of_any_pool_makes_room() -> None:
    total = Slots(1)
    threads = pool(BlockingPool, total=total)
    assert threads.together.spare() is None
    connection = Connection()
    threads.idle["any"] = deque([connection])
    total.take()
    assert threads.together.spare() is connection
    total.take()
    total.taken = 2
    assert threads.together.spare() is None  # all are in use, for a moment: nothing to close
    threads.together.leave(threads)
    threads.together.leave(threads)


class Body:
    """A stream whose close fails."""

    def __iter__(self) -> Any:
        return iter([b"a"])

    def close(self) -> None:
        raise httpcore.ReadError

    async def aclose(self) -> None:
        raise httpcore.ReadError


def test_a_body_that_cannot_be_closed_closes_its_connection() -> None:
    connection = Connection()
    body = _BlockingBody(Body(), pool(BlockingPool), deque(), connection)  # type: ignore[arg-type]
    with pytest.raises(httpcore.ReadError):
        body.close()
    assert connection.closed
    body.close()  # once is enough


async def test_nor_does_a_tasks() -> None:
    connection = Connection()
    connection.home = here()
    body = _AsyncBody(Body(), pool(AsyncPool), deque(), connection)  # type: ignore[arg-type]
    with pytest.raises(httpcore.ReadError):
        await body.aclose()
    assert connection.closed
    await body.aclose()


async def test_a_cancelled_close_of_several_connections_leaves_none_open() -> None:
    class Cancelled(Connection):
        let = False

        async def aclose(self) -> None:
            raise asyncio.CancelledError  # as a task's own cancellation comes, at the first of them

        def let_go(self) -> None:
            self.let = True

    tasks, connections = pool(AsyncPool), [Cancelled() for _ in range(3)]
    for connection in connections:
        connection.home = here()
    tasks.idle["any"] = deque(connections)
    with pytest.raises(asyncio.CancelledError):
        await tasks.drop_idle()
    assert all(connection.let for connection in connections)


def test_an_abandoned_body_closes_its_connection() -> None:
    connection = Connection()
    _BlockingBody(Body(), pool(BlockingPool), deque(), connection)  # type: ignore[arg-type]
    assert connection.closed


async def test_pools_are_context_managers_as_httpcores_are() -> None:
    with pool(BlockingPool) as threads:
        assert not threads.closing
    assert threads.closing
    async with pool(AsyncPool) as tasks:
        assert not tasks.closing
    assert tasks.closing


def test_socket_options_given_as_an_iterator_serve_every_connection() -> None:
    assert socket_options(iter([(1, 2, 3)])) == [(1, 2, 3)]
    assert socket_options(None) is None
