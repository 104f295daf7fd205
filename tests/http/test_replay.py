"""May a request be sent a second time?"""

import io
from typing import Any

import httpx
import pytest

from resilience.http.replay import FileBody, repeatable, replayable, with_file_rewound


class Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False


def request(method: str = "PUT", **more: Any) -> httpx.Request:
    return httpx.Request(method, "http://web/", **more)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
def test_idempotent_methods(method: str) -> None:
    assert repeatable(request(method), {})
    assert not repeatable(request(method), {"idempotent": False})


@pytest.mark.parametrize("method", ["POST", "PATCH", "CONNECT", "LINK"])
def test_others_need_a_key_or_the_callers_word(method: str) -> None:
    assert not repeatable(request(method), {})
    assert repeatable(request(method, headers={"IDEMPOTENCY-KEY": "1"}), {})
    assert repeatable(request(method), {"idempotent": True})
    assert not repeatable(request(method, headers={"Idempotency-Key": "1"}), {"idempotent": False})


@pytest.mark.parametrize(
    ("body", "again"),
    [
        ({}, True),
        ({"content": b"x"}, True),
        ({"content": "x"}, True),
        ({"json": {"a": 1}}, True),
        ({"data": {"a": "1"}}, True),
        ({"content": iter([b"x"])}, False),
        ({"content": [b"x"]}, False),
        ({"content": io.BytesIO(b"x")}, False),
        ({"files": {"f": io.BytesIO(b"x")}}, True),
        ({"files": {"f": b"x"}, "data": {"a": "1"}}, True),
        ({"files": {"f": ("n", "text")}}, True),
        ({"files": {"f": Unseekable(b"x")}}, False),
        ({"files": [("f", b"x"), ("g", Unseekable(b"x"))]}, False),
    ],
)
def test_the_body_must_be_there_again(body: dict[str, Any], again: bool) -> None:
    made = request(**body)
    assert replayable(made) is again
    assert repeatable(made, {"idempotent": True}) is again


def test_a_seekable_file_is_rewound_to_where_it_stood() -> None:
    file = io.BytesIO(b"skip:" + b"x" * 100_000)
    file.seek(5)
    made = request(content=file)
    twin = with_file_rewound(made)
    assert isinstance(twin.stream, FileBody)
    assert replayable(twin)
    assert not isinstance(made.stream, FileBody)
    for _ in range(2):
        assert b"".join(twin.stream) == b"x" * 100_000


@pytest.mark.parametrize("body", [b"x", [b"x"], iter([b"x"]), Unseekable(b"x")])
def test_everything_else_stays_as_it_is(body: Any) -> None:
    made = request(content=body)
    assert with_file_rewound(made) is made
