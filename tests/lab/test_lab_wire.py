"""Request heads and bodies, however the network cuts them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.lab.wire import MalformedError, parse_head, response_head, take_body


@given(body=st.binary(max_size=200), sizes=st.lists(st.integers(1, 50), min_size=1), trailers=st.booleans())
def test_a_chunked_body_arrives_whole_byte_by_byte(body: bytes, sizes: list[int], *, trailers: bool) -> None:
    request = parse_head(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked")
    wire, rest, turn = b"", body, 0
    while rest:
        size = sizes[turn % len(sizes)]
        piece, rest, turn = rest[:size], rest[size:], turn + 1
        wire += b"%x;ext=1\r\n%b\r\n" % (len(piece), piece)
    wire += b"0\r\nx-sum: 1\r\n\r\n" if trailers else b"0\r\n\r\n"
    buffer = bytearray()
    for at in range(len(wire)):
        assert not take_body(request, buffer)
        buffer += wire[at : at + 1]
    buffer += b"GET"
    assert take_body(request, buffer)
    assert bytes(request.body) == body
    assert buffer == b"GET"


@given(body=st.binary(max_size=50))
def test_a_body_of_known_length_is_awaited(body: bytes) -> None:
    request = parse_head(f"POST / HTTP/1.1\r\ncontent-length: {len(body)}".encode())
    for at in range(len(body)):
        assert not take_body(request, bytearray(body[:at]))
    buffer = bytearray(body + b"GET")
    assert take_body(request, buffer)
    assert (bytes(request.body), bytes(buffer)) == (body, b"GET")


def test_a_head() -> None:
    request = parse_head(b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nX-Request-Id:  7 \r\nConnection: keep-alive, Close")
    assert (request.method, request.target, request.id) == ("GET", "/a?b=c", "7")
    assert not request.keep_alive
    assert not parse_head(b"GET / HTTP/1.0").keep_alive
    assert parse_head(b"GET / HTTP/1.1").keep_alive


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GET /",
        b"\x16\x03\x01\x02",
        b"GET / HTTP/2.0",
        b"GET / HTTP/1.1\r\nno colon",
        b"POST / HTTP/1.1\r\ncontent-length: -1",
        b"POST / HTTP/1.1\r\ncontent-length: 1e3",
    ],
)
def test_malformed_heads_are_refused(head: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_head(head)


def test_a_malformed_chunk_is_refused() -> None:
    request = parse_head(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked")
    with pytest.raises(MalformedError, match="chunk size"):
        take_body(request, bytearray(b"zz\r\n"))


def test_a_response_head() -> None:
    assert response_head(503, [("a", "b")]) == b"HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\n"
    assert response_head(299, []) == b"HTTP/1.1 299 \r\n\r\n"
