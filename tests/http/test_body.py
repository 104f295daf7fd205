"""A response's body settles its attempt once, however it ends."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import httpx
import pytest

import resilience
from resilience.core.attempt import Attempt
from resilience.core.call import RoutedCall
from resilience.core.endpoint import Address, Endpoint
from resilience.core.outcome import GOOD, Blame, Verdict
from resilience.http.body import AsyncBody, BlockingBody, in_time, in_turn
from resilience.http.classify import classify
from resilience.http.exchange import adiscard, areceive, discard, receive
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.blocking import BLOCKING


class Source(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Chunks, and perhaps an error after them; told whether it was closed."""

    def __init__(self, *chunks: bytes, error: BaseException | None = None) -> None:
        self.chunks, self.error, self.closed = chunks, error, False

    def __iter__(self) -> Iterator[bytes]:
        yield from self.chunks
        if self.error is not None:
            raise self.error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


class Told:
    """Verdicts and releases of one attempt."""

    def __init__(self, runtime: Any, headers: Verdict | None = GOOD, method: str = "GET") -> None:
        self.verdicts: list[Verdict] = []
        self.released = self.abandoned = 0
        request = httpx.Request(method, "http://web/")
        self.call = RoutedCall(runtime, request, runtime.now(), runtime.now() + 30, "web:80", method == "GET", classify)
        self.attempt = Attempt(
            1,
            Endpoint(Address("10.0.0.1", 80)),
            runtime.now(),
            None,
            lambda _attempt, verdict, _now: self.verdicts.append(verdict),
            lambda _attempt: self._release(),
            lambda _attempt, _verdict: self._abandon(),
        )
        self.attempt.verdict = headers
        self.call.attempts.append(self.attempt)

    def _release(self) -> None:
        self.released += 1

    def _abandon(self) -> None:
        self.abandoned += 1

    def blocking(self, source: Source, *head: bytes) -> BlockingBody:
        return BlockingBody(self.call, self.attempt, source, iter(source), head)

    def awaited(self, source: Source, *head: bytes) -> AsyncBody:
        return AsyncBody(self.call, self.attempt, source, source.__aiter__(), head)


def test_read_to_its_end_it_says_what_the_headers_said() -> None:
    told = Told(BLOCKING)
    body = told.blocking(Source(b"b", b"c"), b"a")
    assert b"".join(body) == b"abc"
    body.close()
    assert (told.verdicts, told.released) == ([GOOD], 1)


async def test_read_to_its_end_by_a_task() -> None:
    told = Told(ANYIO)
    source = Source(b"b", b"c")
    body = told.awaited(source, b"a")
    assert b"".join([chunk async for chunk in body]) == b"abc"
    await body.aclose()
    assert (told.verdicts, told.released, source.closed) == ([GOOD], 1, True)


def test_died_midway_it_is_bad_whatever_the_headers_said() -> None:
    told = Told(BLOCKING)
    body = told.blocking(Source(b"a", error=httpx.ReadError("gone")))
    with pytest.raises(httpx.ReadError) as caught:
        list(body)
    body.close()
    assert ([verdict.blame for verdict in told.verdicts], told.released) == ([Blame.BAD], 1)
    assert told.attempt.record().error == "ReadError"
    assert len(caught.value.attempts) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("headers", [GOOD, None])
def test_a_reader_who_stops_leaves_the_headers_verdict(headers: Verdict | None) -> None:
    told = Told(BLOCKING, headers)
    reading = iter(told.blocking(Source(b"a", b"b")))
    assert next(reading) == b"a"
    reading.close()  # type: ignore[attr-defined]  # a generator
    assert [verdict.blame for verdict in told.verdicts] == [Blame.UNKNOWN if headers is None else Blame.GOOD]
    assert told.released == 1


async def test_a_cancelled_reader_blames_nobody() -> None:
    told = Told(ANYIO, None)
    body = told.awaited(Source(b"a", error=KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        [chunk async for chunk in body]
    assert [verdict.blame for verdict in told.verdicts] == [Blame.UNKNOWN]


def test_closed_early_without_a_verdict_it_was_good() -> None:
    told = Told(BLOCKING, None)
    told.blocking(Source(b"a")).close()
    assert (told.verdicts, told.released) == ([GOOD], 1)


def test_an_error_after_it_was_settled_is_told_and_changes_nothing() -> None:
    told = Told(BLOCKING)
    body = told.blocking(Source(b"a", error=httpx.ReadError("gone")))
    told.attempt.settle(GOOD, 0.0)
    with pytest.raises(httpx.ReadError):
        list(body)
    assert (told.verdicts, told.released) == ([GOOD], 1)


def test_past_the_bodys_deadline_a_timeout_is_the_deadlines() -> None:
    told = Told(BLOCKING)
    told.call.body_until = told.call.started
    with pytest.raises(resilience.DeadlineExceededError) as caught:
        list(told.blocking(Source(b"a", error=httpx.ReadTimeout("slow"))))
    assert isinstance(caught.value.__cause__, httpx.ReadTimeout)


async def test_past_the_bodys_deadline_for_a_task() -> None:
    told = Told(ANYIO)
    told.call.body_until = told.call.started
    with pytest.raises(resilience.DeadlineExceededError):
        [chunk async for chunk in told.awaited(Source(b"a", error=httpx.ReadTimeout("slow")))]


def test_what_is_collected_unread_is_left_to_somebody_else() -> None:
    told = Told(BLOCKING)
    told.blocking(Source(b"a"))
    assert (told.abandoned, told.released) == (1, 0)
    told = Told(BLOCKING)
    list(told.blocking(Source(b"a")))
    assert (told.abandoned, told.released) == (0, 1)


# What is to be dropped is read where that is cheap.


def answer(source: Source, length: int | None) -> httpx.Response:
    headers = {} if length is None else {"content-length": str(length)}
    return httpx.Response(503, headers=headers, stream=source)


@pytest.mark.parametrize(
    ("source", "length", "kept"),
    [
        (lambda: Source(b"ab", b"c"), 3, True),
        (lambda: Source(b"abc"), None, False),
        (lambda: Source(b"abc"), 10**6, False),
        (lambda: Source(b"ab", error=httpx.ReadError("gone")), 3, False),
    ],
)
async def test_a_dropped_answer_is_kept_whole_or_closed(
    source: Callable[[], Source], length: int | None, kept: bool
) -> None:
    for runtime in (BLOCKING, ANYIO):
        told, inner = Told(runtime, method="POST"), source()
        response = answer(inner, length)
        blocking = runtime is BLOCKING
        response = (
            receive(told.call, told.attempt, response)
            if blocking
            else await areceive(told.call, told.attempt, response)
        )
        whole = discard(response) if blocking else await adiscard(response)
        assert whole is kept
        assert inner.closed
        assert told.released == 1
        if kept:
            assert (response.read() if blocking else await response.aread()) == b"abc"
            assert discard(response) is True  # again: it is in hand


def test_a_hurried_body_keeps_what_the_headers_said() -> None:
    told = Told(BLOCKING)

    class Seen:
        until = 0.0

    told.attempt.wire = Seen()  # type: ignore[assignment]
    body = told.blocking(Source(b"a", error=httpx.ReadTimeout("hurried")))
    body.hurry(0.05)
    assert told.attempt.wire.until <= BLOCKING.now() + 0.05  # type: ignore[union-attr]
    assert told.verdicts == [GOOD]


# A stream that keeps no deadline of its own.


async def test_in_time_passes_what_is_in_time() -> None:
    told = Told(ANYIO)
    told.call.body_until = ANYIO.now() + 30
    assert [chunk async for chunk in in_time(told.call, Source(b"a", b"b").__aiter__())] == [b"a", b"b"]


async def test_in_time_cuts_what_is_late() -> None:
    class Hanging(Source):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"a"
            await anyio.sleep_forever()

    told = Told(ANYIO)
    told.call.body_until = ANYIO.now() + 0.02
    got: list[bytes] = []
    with pytest.raises(httpx.ReadTimeout):
        async for chunk in in_time(told.call, Hanging().__aiter__()):
            got += [chunk]
    assert got == [b"a"]


def test_in_turn_reads_no_further_than_the_deadline() -> None:
    told = Told(BLOCKING)

    class Late(Source):
        def __iter__(self) -> Iterator[bytes]:
            yield b"a"
            told.call.body_until = BLOCKING.now()
            yield b"b"

    got: list[bytes] = []
    with pytest.raises(httpx.ReadTimeout):
        for chunk in in_turn(told.call, iter(Late())):
            got += [chunk]
    assert got == [b"a"]


async def test_in_time_lets_a_timeout_of_the_streams_own_through() -> None:
    told = Told(ANYIO)
    told.call.body_until = ANYIO.now() + 30
    with pytest.raises(TimeoutError):
        [chunk async for chunk in in_time(told.call, Source(error=TimeoutError()).__aiter__())]
