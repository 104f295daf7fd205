"""A response's body on its way to the caller; its end settles the attempt.

Read to the end: what the headers said. Died midway: BAD. Closed early by the caller: what the headers said. Abandoned:
the same, when it is collected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from resilience.core.outcome import GOOD, UNKNOWN, Err

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from resilience.core.attempt import Attempt
    from resilience.core.call import RoutedCall


class _Settling:
    def __init__(self, call: RoutedCall, attempt: Attempt, head: tuple[bytes, ...]) -> None:
        self._call = call
        self._attempt = attempt
        self._head = head
        attempt.body_pending = True

    def done(self) -> None:
        if not self._attempt.settled:
            self._attempt.settle(self._attempt.verdict or GOOD, self._call.runtime.now())

    def died(self, error: BaseException) -> None:
        attempt, call = self._attempt, self._call
        if isinstance(error, Exception):
            attempt.error = error
            # The table's verdict of the exception, without the proofs that only count before headers.
            verdict = call.classify(Err(error), call) if call.classify is not None else UNKNOWN
        else:  # cancelled, or the reader's generator was closed
            verdict = attempt.verdict or UNKNOWN
        attempt.settle(verdict, call.runtime.now())

    def __del__(self) -> None:
        self.done()


class BlockingBody(_Settling, httpx.SyncByteStream):
    """A body read by a thread."""

    def __init__(
        self, call: RoutedCall, attempt: Attempt, inner: httpx.SyncByteStream, rest: Iterator[bytes], head: tuple[bytes, ...]
    ) -> None:
        super().__init__(call, attempt, head)
        self._inner = inner
        self._rest = rest

    def __iter__(self) -> Iterator[bytes]:
        yield from self._head
        try:
            yield from self._rest
        except BaseException as error:
            self.died(error)
            raise
        self.done()

    def close(self) -> None:
        """Give the connection back and settle."""
        try:
            self._inner.close()
        finally:
            self.done()


class AsyncBody(_Settling, httpx.AsyncByteStream):
    """A body read by a task."""

    def __init__(
        self,
        call: RoutedCall,
        attempt: Attempt,
        inner: httpx.AsyncByteStream,
        rest: AsyncIterator[bytes],
        head: tuple[bytes, ...],
    ) -> None:
        super().__init__(call, attempt, head)
        self._inner = inner
        self._rest = rest

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._head:
            yield chunk
        try:
            async for chunk in self._rest:
                yield chunk
        except BaseException as error:
            self.died(error)
            raise
        self.done()

    async def aclose(self) -> None:
        """Give the connection back and settle."""
        try:
            await self._inner.aclose()
        finally:
            self.done()
