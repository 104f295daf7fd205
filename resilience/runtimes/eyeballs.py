"""Several ways to one origin: start with the first, add the next after a quarter of a second, keep who connects first.

RFC 8305, without its sorting: the order is the system's. Works on asyncio and trio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import anyio

from resilience.runtimes.socket_blocking import STAGGER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")


async def race(dials: Sequence[Callable[[], Awaitable[T]]], close: Callable[[T], Awaitable[None]], /) -> T:
    """Return the first connection; close any other that got through as well. Raises the last OSError if none did."""
    won: list[T] = []
    failures: list[OSError] = []
    try:
        async with anyio.create_task_group() as group:
            over = [anyio.Event() for _ in dials]

            async def run(number: int) -> None:
                try:
                    won.append(await dials[number]())
                except OSError as error:
                    failures.append(error)
                    over[number].set()  # a failure starts the next one at once
                else:
                    group.cancel_scope.cancel()

            for number in range(len(dials)):
                group.start_soon(run, number)
                if number + 1 < len(dials):
                    with anyio.move_on_after(STAGGER):
                        await over[number].wait()
    except BaseException:
        for connection in won:
            await _close_shielded(connection, close)
        raise
    for connection in won[1:]:
        await _close_shielded(connection, close)
    if won:
        return won[0]
    raise failures[-1]


async def _close_shielded(connection: T, close: Callable[[T], Awaitable[None]]) -> None:
    with anyio.CancelScope(shield=True):
        await close(connection)
