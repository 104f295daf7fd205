"""Tasks beside their caller, on asyncio and trio: unlike a task group's, nobody has to wait for their clean-up."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING

import anyio

from resilience.runtimes.socket_asyncio import on_asyncio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# asyncio holds its tasks weakly: what nobody waits for any more would be collected in the middle of its clean-up.
_UNDER_WAY: set[asyncio.Task[None]] = set()


class StartedTask:
    """One task, begun when this object is made; on trio it ends with the main task at the latest."""

    __slots__ = ("_end", "_scope", "_work")

    def __init__(self, work: Callable[[], Awaitable[object]], /) -> None:
        self._work = work
        self._scope = anyio.CancelScope()
        self._end = anyio.Event()
        if on_asyncio():
            task = asyncio.get_running_loop().create_task(self._run(), name="resilience-started")
            _UNDER_WAY.add(task)
            task.add_done_callback(_UNDER_WAY.discard)
        else:
            # An extra, which is there where it runs.
            from trio.lowlevel import spawn_system_task  # noqa: PLC0415

            spawn_system_task(self._run, name="resilience-started", context=copy_context())

    def stop(self) -> None:
        """Cancel it, as often as it takes, and do not wait. Before its first step: it never begins."""
        self._scope.cancel()

    async def gone(self) -> None:
        """Wait until it has ended."""
        await self._end.wait()

    async def _run(self) -> None:
        try:
            with self._scope:
                if not self._scope.cancel_called:
                    await self._work()
        except BaseException as error:
            # A cancellation of somebody else's (the loop is ending) goes on; on anything else a loop would crash.
            if isinstance(error, anyio.get_cancelled_exc_class()):
                raise
        finally:
            self._end.set()
