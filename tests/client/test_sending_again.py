"""What is sent again, what is not, and what the caller gets in the end."""

import io
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

import resilience
from resilience.lab import Fleet
from tests.http.support import Face, attempts, static


def url(fleet: Fleet, path: str = "/") -> str:
    return f"http://web.internal:{fleet.port}{path}"


class Body:
    """A body that can be read once, by either kind of client, and counts how often it was begun."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks
        self.begun = 0

    def for_mode(self, mode: str) -> Iterator[bytes] | AsyncIterator[bytes]:
        return self._blocking() if mode == "threads" else self._async()

    def _blocking(self) -> Iterator[bytes]:
        self.begun += 1
        yield from self.chunks

    async def _async(self) -> AsyncIterator[bytes]:
        self.begun += 1
        for chunk in self.chunks:
            yield chunk


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 502}, {"reset": "before"}, {"truncate": True}])
async def test_a_get_that_failed_succeeds_elsewhere(mode: str, fleet: Fleet, fault: dict[str, object]) -> None:
    fleet[0].fault(**fault)
    async with Face(mode, services={"web.internal": static(*fleet)}) as face:
        responses = [await face.get(url(fleet, "/bytes/10")) for _ in range(6)]
    assert {response.status_code for response in responses} == {200}
    assert all(len(response.content) == 10 for response in responses)
    assert {response.headers["x-server"] for response in responses} <= {"b", "c"}


async def test_a_post_that_may_have_been_processed_is_sent_once(mode: str, fleet: Fleet) -> None:
    for server in fleet:
        server.fault(reset="after")
    async with Face(mode, services={"web.internal": static(*fleet)}) as face:
        with pytest.raises(httpx.TransportError) as caught:
            await face.post(url(fleet), content=b"order")
    assert sum(server.count for server in fleet) == 1
    assert len(caught.value.attempts) == 1


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_post_that_was_answered_badly_is_sent_once(mode: str, fleet: Fleet, status: int) -> None:
    for server in fleet:
        server.fault(status=status)
    async with Face(mode, services={"web.internal": static(*fleet)}) as face:
        response = await face.post(url(fleet), content=b"order")
    assert response.status_code == status
    assert sum(server.count for server in fleet) == 1
    assert response.extensions["resilience"].stopped == "not repeatable"


async def test_a_refused_post_goes_to_another_endpoint(mode: str, fleet: Fleet) -> None:
    fleet[0].kill()
    fleet[1].kill()
    async with Face(mode, services={"web.internal": static(*fleet)}) as face:
        for _ in range(3):
            response = await face.post(url(fleet, "/echo"), content=b"order")
            assert (response.status_code, response.content) == (200, b"order")
    assert fleet[2].count == 3


@pytest.mark.parametrize(
    "extra", [{"headers": {"Idempotency-Key": "7"}}, {"extensions": {"resilience": {"idempotent": True}}}]
)
async def test_a_post_is_repeated_with_a_key_or_at_the_callers_word(
    mode: str, fleet: Fleet, extra: dict[str, dict[str, object]]
) -> None:
    for server in fleet:
        server.fault(reset="after", ratio=0.0)
    fleet[0].fault(reset="after")
    fleet[1].fault(reset="after")
    async with Face(mode, services={"web.internal": static(*fleet)}) as face:
        for _ in range(3):
            response = await face.post(url(fleet, "/echo"), content=b"order", **extra)
            assert response.content == b"order"
    assert fleet[2].count == 3


async def test_a_get_declared_not_idempotent_is_sent_once(mode: str, fleet: Fleet) -> None:
    for server in fleet:
        server.fault(status=503)
    async with Face(mode, services={"web.internal": static(*fleet)}) as face:
        await face.get(url(fleet), extensions={"resilience": {"idempotent": False}})
    assert sum(server.count for server in fleet) == 1


async def test_retries_are_off_for_a_call_that_says_so(mode: str, fleet: Fleet) -> None:
    for server in fleet:
        server.fault(status=503)
    async with Face(mode, services={"web.internal": static(*fleet)}) as face:
        response = await face.get(url(fleet), extensions={"resilience": {"retry": False}})
    assert response.status_code == 503
    assert sum(server.count for server in fleet) == 1


async def test_a_generator_body_goes_once(mode: str, fleet: Fleet) -> None:
    for server in fleet:
        server.fault(reset="after")
    body = Body(b"one", b"two")
    async with Face(mode, services={"web.internal": static(*fleet)}) as face:
        with pytest.raises(httpx.TransportError):
            await face.request("PUT", url(fleet), content=body.for_mode(mode))
    assert body.begun == 1
    assert sum(server.count for server in fleet) == 1


async def test_a_generator_body_not_yet_touched_goes_elsewhere_after_a_refused_connect(mode: str, fleet: Fleet) -> None:
    fleet[0].kill()
    fleet[1].kill()
    async with Face(mode, services={"web.internal": static(*fleet)}) as face:
        for _ in range(3):
            body = Body(b"one", b"two")
            response = await face.post(url(fleet, "/echo"), content=body.for_mode(mode))
            assert (response.content, body.begun) == (b"onetwo", 1)


class Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation


def test_files_are_sent_again_from_where_they_began_or_not_at_all(fleet: Fleet) -> None:
    services = {"web.internal": static(*fleet)}
    with resilience.Client(services=services) as client:
        fleet[0].fault(status=503)
        fleet[1].fault(status=503)
        for _ in range(3):
            file = io.BytesIO(b"skip:content")
            file.seek(5)
            response = client.put(url(fleet, "/echo"), content=file, headers={"Content-Length": "7"})
            assert response.content == b"content"
        fleet[2].fault(status=503)
        response = client.put(url(fleet), content=Unseekable(b"content"), headers={"Content-Length": "7"})
        assert response.status_code == 503
        assert len(attempts(response)) == 1


@pytest.mark.parametrize("file", [io.BytesIO, Unseekable])
async def test_multipart_files_are_sent_again_whole_or_not_at_all(
    mode: str, fleet: Fleet, file: type[io.BytesIO]
) -> None:
    for server in fleet:
        server.fault(status=503)
    async with Face(mode, services={"web.internal": static(*fleet)}) as face:
        response = await face.request("PUT", url(fleet), files={"f": ("name", file(b"content"))})
    assert response.status_code == 503
    assert sum(server.count for server in fleet) == (3 if file is io.BytesIO else 1)


async def test_exhausted_the_caller_gets_the_last_response(mode: str, fleet: Fleet) -> None:
    for server in fleet:
        server.fault(status=503)
    async with Face(mode, services={"web.internal": static(*fleet)}) as face:
        response = await face.get(url(fleet))
    assert response.status_code == 503
    assert response.json()["server"] == response.headers["x-server"]
    record = response.extensions["resilience"]
    assert [attempt.number for attempt in record.attempts] == [1, 2, 3]
    assert {attempt.endpoint for attempt in record.attempts} == set(fleet.addresses)
    assert {attempt.blame for attempt in record.attempts} == {"bad"}
    assert record.stopped == "attempts"
    assert record.waited == 0.0


async def test_exhausted_the_caller_gets_the_last_original_exception_with_its_attempts(mode: str, fleet: Fleet) -> None:
    for server in fleet:
        server.fault(reset="after")
    async with Face(mode, services={"web.internal": static(*fleet)}) as face:
        with pytest.raises(httpx.TransportError) as caught:
            await face.get(url(fleet))
    error = caught.value
    assert not isinstance(error, resilience.ResilienceError)
    assert error.request.url == url(fleet)
    assert [attempt.endpoint for attempt in error.attempts] == sorted(
        fleet.addresses, key=[a.endpoint for a in error.attempts].index
    )
    assert len(error.attempts) == 3
    assert [note.partition(":")[0] for note in error.__notes__] == [
        f"attempt {attempt.number} at {attempt.endpoint}".partition(":")[0] for attempt in error.attempts
    ]


async def test_a_streamed_503_is_still_whole_when_no_other_endpoint_takes_the_call(mode: str, fleet: Fleet) -> None:
    first, second = fleet[0], fleet[1]
    circuit = resilience.CircuitBreaker(consecutive_failures=1, open_for=60.0)
    async with Face(mode, services={"web.internal": static(first, second, circuit=circuit)}) as face:
        first.fault(status=503)
        second.fault(status=503)
        response = await face.open("GET", url(fleet, "/x"))
        body = await face.read(response)
        await face.shut(response)
        assert response.status_code == 503
        assert response.headers["x-server"].encode() in body
        assert len(attempts(response)) == 2
        assert face.in_flight() == 0


async def test_a_streamed_answer_too_large_to_keep_is_not_handed_out_without_its_body(mode: str) -> None:
    def overloaded(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(503, content=Body(b"x" * 100_000).for_mode(mode))

    circuit = resilience.CircuitBreaker(failure_ratio=0.1, minimum_calls=1, open_for=60.0)
    service = resilience.Service(circuit=circuit, retry=resilience.Retry(wait=0.001))
    async with Face(mode, defaults=service, transport=httpx.MockTransport(overloaded)) as face:
        with pytest.raises(resilience.CircuitOpenError):
            await face.open("GET", "http://web.internal/")
        assert face.in_flight() == 0


async def test_an_empty_budget_ends_the_call_and_says_so(mode: str, fleet: Fleet) -> None:
    for server in fleet:
        server.fault(status=503)
    budget = resilience.RetryBudget(ratio=0.0, min_per_second=0.1, ttl=10.0)
    services = {"web.internal": static(*fleet, budget=budget, circuit=None)}
    async with Face(mode, services=services) as face:
        first = await face.get(url(fleet))
        second = await face.get(url(fleet))
    assert [first.extensions["resilience"].stopped, second.extensions["resilience"].stopped] == ["budget", "budget"]
    assert [len(attempts(first)), len(attempts(second))] == [2, 1]
    assert second.status_code == 503
