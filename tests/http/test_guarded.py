"""Guard and deadline header in a client: bad answers are failed attempts; servers know how long they are waited for."""

import contextlib
import gzip
import math
import pickle
import tracemalloc
import zlib

import httpx
import pydantic
import pytest

import resilience
from resilience.core.errors import ConfigurationError
from resilience.http.deadline_header import DeadlineHeader
from resilience.http.guarded import at_once


class Item(pydantic.BaseModel):
    name: str


class Server:
    """Answers with each of these in turn, and keeps what it was asked; a transport for both kinds of clients."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.transport = httpx.MockTransport(self.answer)

    def answer(self, request):
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer() if callable(answer) else answer


class Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that comes in parts, as from a network."""

    def __init__(self, *parts):
        self.parts = parts
        self.read = 0
        self.closed = False

    def __iter__(self):
        for part in self.parts:
            self.read += 1
            yield part

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.read == len(self.parts):
            raise StopAsyncIteration
        self.read += 1
        return self.parts[self.read - 1]

    def close(self):
        self.closed = True

    async def aclose(self):
        self.closed = True


def response(body, status=200, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    stream = body if isinstance(body, Stream) else Stream(body)
    return httpx.Response(status, headers={"content-type": "application/json"} | headers, stream=stream)


async def ask(server, service, kind, method="GET", **options):
    """The answer of a client of that kind."""
    if kind == "blocking":
        with resilience.Client(transport=server.transport, defaults=service) as client:
            return client.request(method, "http://service.test/", **options)
    async with resilience.AsyncClient(transport=server.transport, defaults=service) as client:
        return await client.request(method, "http://service.test/", **options)


def guarded(guard, **fields):
    return resilience.Service(guard=guard, retry=resilience.Retry(3, wait=0.0), **fields)


KINDS = pytest.mark.parametrize("kind", ["blocking", "async"])


@KINDS
async def test_a_bad_answer_is_a_failed_attempt(anyio_backend, kind):
    server = Server(response(b"<html>"), response(b"{}"), response(b'{"name": "a"}'))
    answer = await ask(server, guarded(resilience.Guard(model=Item)), kind)
    assert answer.json() == {"name": "a"}
    attempts = answer.extensions["resilience"].attempts
    assert [(attempt.blame, attempt.error) for attempt in attempts] == [
        ("bad", "BadAnswerError"),
        ("bad", "BadAnswerError"),
        ("good", None),
    ]
    assert answer.elapsed.total_seconds() >= 0


@KINDS
async def test_what_is_refused_to_the_end_is_an_httpx_error_too(anyio_backend, kind):
    server = Server(lambda: response(b"<html>"))
    with pytest.raises(httpx.DecodingError) as caught:
        await ask(server, guarded(resilience.Guard(json=True)), kind)
    error = caught.value
    assert isinstance(error, resilience.BadAnswerError)
    assert error.why == "json"
    assert error.request.url == "http://service.test/"
    assert len(error.attempts) == len(server.asked) == 3
    assert pickle.loads(pickle.dumps(error)).why == "json"


@KINDS
async def test_posts_are_looked_into_and_not_repeated(anyio_backend, kind):
    server = Server(lambda: response(b"<html>"))
    with pytest.raises(resilience.BadAnswerError):
        await ask(server, guarded(resilience.Guard(json=True)), kind, "POST", content=b"order")
    assert len(server.asked) == 1


@KINDS
async def test_what_head_gets_is_bodiless(anyio_backend, kind):
    guard = resilience.Guard(json=True, content_type="application/json", max_bytes=10, status=200)
    server = Server(lambda: response(b""))
    assert (await ask(server, guarded(guard), kind, "HEAD")).status_code == 200
    with pytest.raises(resilience.BadAnswerError):
        await ask(server, guarded(guard), kind)


@KINDS
async def test_a_small_body_that_is_a_large_one_is_not_made_large(anyio_backend, kind):
    bomb = gzip.compress(b"0" * 50_000_000)
    assert len(bomb) < 60_000
    server = Server(lambda: response(bomb, content_encoding="gzip"))
    service = guarded(resilience.Guard(max_bytes=100_000), circuit=None)
    with pytest.raises(resilience.BadAnswerError, match="larger than 100000 bytes"):
        await ask(server, service, kind)
    fine = Server(lambda: response(gzip.compress(b"[" + b"0," * 100 + b"0]"), content_encoding="gzip"))
    answer = await ask(fine, guarded(resilience.Guard(max_bytes=100_000, json=True)), kind)
    assert answer.json() == [0] * 101


@KINDS
async def test_what_is_packed_several_times_is_not_made_large_either(anyio_backend, kind):
    bomb = gzip.compress(gzip.compress(b"0" * 50_000_000))
    assert len(bomb) < 500
    service = resilience.Service(guard=resilience.Guard(max_bytes=1000), retry=None)
    server = Server(lambda: response(bomb, content_encoding="gzip, gzip"))
    tracemalloc.start()
    try:
        with pytest.raises(resilience.BadAnswerError, match="larger than 1000 bytes"):
            await ask(server, service, kind)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10_000_000
    packed = gzip.compress(zlib.compress(b"[1]"))
    fine = Server(lambda: response(packed, content_encoding="Deflate , GZIP"))
    assert (await ask(fine, guarded(resilience.Guard(max_bytes=3, json=True)), kind)).json() == [1]


@KINDS
async def test_a_body_that_is_large_on_the_way_to_being_small_is_refused(anyio_backend, kind):
    nothing = bytes.fromhex("789c") + bytes.fromhex("000000ffff") * 100_000 + bytes.fromhex("030000000001")
    assert zlib.decompress(nothing) == b""
    server = Server(lambda: response(zlib.compress(nothing), content_encoding="deflate, deflate"))
    with pytest.raises(resilience.BadAnswerError, match="larger than 1000 bytes"):
        await ask(server, resilience.Service(guard=resilience.Guard(max_bytes=1000), retry=None), kind)


@pytest.mark.parametrize("most", [0, 1000, 2**20, 2**24, 2**30, 10**10])
@pytest.mark.parametrize(("coding", "growth"), [("gzip", 1032), ("deflate", 1032), ("zstd", 2**15), ("br", 2**20)])
def test_as_much_is_decompressed_at_a_time_as_the_ceiling_allows_for(coding, growth, most):
    assert 32 <= at_once(coding, most) <= max(32, 2**20 / growth, most / growth)
    assert at_once("identity", most) == max(2**20, most)
    assert at_once(coding, math.inf) == math.inf


@KINDS
async def test_nothing_is_read_beyond_the_ceiling(anyio_backend, kind):
    stream = Stream(*[b"x" * 1000] * 100)
    service = resilience.Service(guard=resilience.Guard(max_bytes=5000), retry=None)
    with pytest.raises(resilience.BadAnswerError):
        await ask(Server(response(stream)), service, kind)
    assert stream.read == 7, "and a little for what compression may add"
    assert stream.closed
    exact = Stream(*[b"x" * 1000] * 5)
    assert len((await ask(Server(response(exact)), service, kind)).content) == 5000


@KINDS
async def test_a_bad_body_opens_the_circuit(anyio_backend, kind):
    server = Server(lambda: response(Stream(*[b"x" * 1000] * 10)))
    service = resilience.Service(
        guard=resilience.Guard(max_bytes=1), retry=None, circuit=resilience.CircuitBreaker(minimum_calls=3)
    )
    transport = server.transport
    for _ in range(3):
        if kind == "blocking":
            client = resilience.Client(transport=transport, defaults=service)
            for _ in range(3):
                with pytest.raises(resilience.BadAnswerError):
                    client.get("http://service.test/")
            status = client.status().services["service.test:80"].endpoints[0]
            client.close()
        else:
            client = resilience.AsyncClient(transport=transport, defaults=service)
            for _ in range(3):
                with pytest.raises(resilience.BadAnswerError):
                    await client.get("http://service.test/")
            status = client.status().services["service.test:80"].endpoints[0]
            await client.aclose()
        assert (status.circuit, status.in_flight) == ("open", 0)


@KINDS
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_check_sees_the_response_as_the_caller_does(anyio_backend, kind, method):
    seen = []

    def check(answer):
        seen.append((answer.request.method, answer.json(), answer.text, answer.content, answer.http_version))
        return answer.raise_for_status().json()["name"] == "a"

    server = Server(lambda: response(gzip.compress(b'{"name": "a"}'), content_encoding="gzip"))
    answer = await ask(server, resilience.Service(guard=resilience.Guard(check=check)), kind, method)
    assert answer.json() == {"name": "a"}
    assert seen == [(method, {"name": "a"}, '{"name": "a"}', b'{"name": "a"}', "HTTP/1.1")]
    large = Server(lambda: response(Stream(b'{"name": "a", "more": "', b"x" * 2_000_000, b'"}')))
    assert (await ask(large, resilience.Service(guard=resilience.Guard(check=check)), kind, method)).status_code == 200
    for body, status in ((b'{"name": "b"}', 200), (b'{"name": "a"}', 404)):
        other = Server(lambda body=body, status=status: response(body, status))
        with pytest.raises(resilience.BadAnswerError, match="check said no" if status == 200 else "404"):
            await ask(other, resilience.Service(guard=resilience.Guard(check=check), retry=None), kind, method)


@KINDS
async def test_a_check_sees_the_head_of_what_is_streamed(anyio_backend, kind):
    stream = Stream(b"[1]")
    service = resilience.Service(guard=resilience.Guard(check=lambda answer: answer.raise_for_status()), retry=None)
    for status in (200, 404):
        server = Server(lambda status=status: response(stream, status))
        allowed = contextlib.nullcontext() if status == 200 else pytest.raises(resilience.BadAnswerError, match="404")
        if kind == "blocking":
            with (
                allowed,
                resilience.Client(transport=server.transport, defaults=service) as client,
                client.stream("GET", "http://service.test/"),
            ):
                assert stream.read == 0
        else:
            with allowed:
                async with (
                    resilience.AsyncClient(transport=server.transport, defaults=service) as client,
                    client.stream("GET", "http://service.test/"),
                ):
                    assert stream.read == 0


@KINDS
async def test_what_is_streamed_is_not_looked_into(anyio_backend, kind):
    stream = Stream(b"<html>", b"</html>")
    service = guarded(resilience.Guard(json=True, max_bytes=1))
    server = Server(response(stream))
    if kind == "blocking":
        with (
            resilience.Client(transport=server.transport, defaults=service) as client,
            client.stream("GET", "http://service.test/") as answer,
        ):
            assert stream.read == 0
            assert answer.read() == b"<html></html>"
    else:
        async with (
            resilience.AsyncClient(transport=server.transport, defaults=service) as client,
            client.stream("GET", "http://service.test/") as answer,
        ):
            assert stream.read == 0
            assert await answer.aread() == b"<html></html>"


@KINDS
async def test_status_and_type_are_looked_at_before_the_body(anyio_backend, kind):
    stream = Stream(b"x" * 2_000_000)
    service = resilience.Service(guard=resilience.Guard(status=200), retry=None)
    with pytest.raises(resilience.BadAnswerError, match="status 404"):
        await ask(Server(response(stream, 404)), service, kind)
    assert stream.closed


# The deadline header.


def milliseconds(request, name="x-deadline-ms"):
    return int(request.headers[name])


@KINDS
async def test_servers_are_told_how_long_they_are_waited_for(anyio_backend, kind):
    server = Server(response(b"", 503), response(b""))
    service = resilience.Service(deadline_header="X-Deadline-Ms", total_timeout=5.0, retry=resilience.Retry(wait=0.0))
    await ask(server, service, kind)
    first, second = map(milliseconds, server.asked)
    assert 4000 < second <= first <= 5000
    server = Server(response(b""))
    service = resilience.Service(deadline_header="my-time", total_timeout=5.0, attempt_timeout=0.5)
    answer = await ask(server, service, kind)
    assert 400 < milliseconds(server.asked[0], "my-time") <= 500
    assert "my-time" not in answer.request.headers, "the caller's request is as it was"


@KINDS
async def test_nothing_is_said_where_there_is_no_end_or_nobody_asked_for_it(anyio_backend, kind):
    server = Server(response(b""))
    await ask(server, resilience.Service(deadline_header="x-deadline-ms"), kind, timeout=None)
    await ask(server, resilience.Service(), kind)
    assert all("x-deadline-ms" not in request.headers for request in server.asked)


@KINDS
async def test_an_answer_that_says_so_is_not_asked_for_again(anyio_backend, kind):
    for status in (429, 502, 503, 504):
        server = Server(lambda status=status: response(b"", status, x_no_retry="1", retry_after="0"))
        answer = await ask(server, resilience.Service(retry=resilience.Retry(3, wait=0.0)), kind)
        assert answer.status_code == status
        assert len(server.asked) == 1
    server = Server(lambda: response(b"", 503, x_no_retry="0"))
    await ask(server, resilience.Service(retry=resilience.Retry(3, wait=0.0)), kind)
    assert len(server.asked) == 3


def test_it_is_described():
    service = guarded(resilience.Guard(json=True), deadline_header="X-Deadline-Ms")
    with resilience.Client(defaults=service) as client:
        text = str(client.describe())
    assert "guard: Guard(" in text
    assert "deadline header: x-deadline-ms" in text
    assert repr(DeadlineHeader()) == "DeadlineHeader('x-deadline-ms')"


@pytest.mark.parametrize(("field", "value"), [("guard", "json"), ("guard", 1), ("deadline_header", "a b")])
def test_bad_fields_are_named(field, value):
    with pytest.raises(ConfigurationError) as caught:
        resilience.Service(**{field: value})
    assert caught.value.argument == field
