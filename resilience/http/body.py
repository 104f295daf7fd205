"""A response's body on its way to the caller; its end settles the attempt.

Read to the end: what the headers said. Died midway: BAD. Closed early by the caller: what the headers said. Abandoned:
the same, when it is collected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from resilience.core.outcome import GOOD, UNKNOWN, Err
from resilience.http.failures import failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from resilience.core.attempt import Attempt
    from resilience.core.call import RoutedCall


class _Settling:
    def __init__(self, call: RoutedCall, attempt: Attempt, head: tuple[bytes, ...]) -> None:
        self._call = call
        self._attempt = attempt
        self._head = iter(head)
        attempt.body_pending = True

    def done(self) -> None:
        if not self._attempt.settled:
            self._attempt.settle(self._attempt.verdict or GOOD, self._call.runtime.now())

    def died(self, error: BaseException) -> BaseException:
        """Settle, and return what to tell the reader."""
        attempt, call = self._attempt, self._call
        now = call.runtime.now()
        if not isinstance(error, Exception):  # cancelled, or the reader's generator was closed
            attempt.settle(attempt.verdict or UNKNOWN, now)
            return error
        if not attempt.settled:
            attempt.error = error
            attempt.settle(call.classify(Err(error), call) if call.classify is not None else UNKNOWN, now)
        return failure(error, [call], cut=now >= call.body_until)

    def hurry(self, seconds: float) -> None:
        """Give the rest at most `seconds`: it is read only to keep its connection. The headers have told enough."""
        attempt, now = self._attempt, self._call.runtime.now()
        attempt.judge(attempt.verdict or GOOD, now)
        if attempt.wire is not None:
            attempt.wire.until = min(self._call.body_until, now + seconds)

    def __del__(self) -> None:
        if not self._attempt.settled:
            self._attempt.abandon(self._attempt.verdict or GOOD)


class BlockingBody(_Settling, httpx.SyncByteStream):
    """A body read by a thread."""

    def __init__(
        self,
        call: RoutedCall,
        attempt: Attempt,
        inner: httpx.SyncByteStream,
        rest: Iterator[bytes],
        head: tuple[bytes, ...],
    ) -> None:
        super().__init__(call, attempt, head)
        self._inner = inner
        self._rest = rest

    def __iter__(self) -> Iterator[bytes]:
        yield from self._head
        try:
            yield from self._rest
        except BaseException as error:
            raised = self.died(error)
            if raised is error:
                raise
            raise raised from raised.__cause__
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

    # Not a generator: trio warns of each that its reader leaves half read, and this one has nothing to clean up.

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = next(self._head, None)
        if chunk is not None:
            return chunk
        try:
            return await self._rest.__anext__()
        except StopAsyncIteration:
            self.done()
            raise
        except BaseException as error:
            raised = self.died(error)
            if raised is error:
                raise
            raise raised from raised.__cause__

    async def aclose(self) -> None:
        """Give the connection back and settle."""
        try:
            await self._inner.aclose()
        finally:
            self.done()


async def in_time(call: RoutedCall, inner: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Go through a body whose stream keeps no deadline itself, cancelling what is late."""
    limit = call.body_until
    while True:
        try:
            chunk = await call.runtime.limit(limit - call.runtime.now(), inner.__anext__)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            if call.runtime.now() < limit:
                raise
            message = "the body did not end before the deadline"
            raise httpx.ReadTimeout(message, request=call.request) from error
        yield chunk


def in_turn(call: RoutedCall, inner: Iterator[bytes]) -> Iterator[bytes]:
    """Do the same for a thread, which can but look at the clock when there is something: no one else could end it."""
    for chunk in inner:
        if call.runtime.now() >= call.body_until:
            message = "the body did not end before the deadline"
            raise httpx.ReadTimeout(message, request=call.request)
        yield chunk
