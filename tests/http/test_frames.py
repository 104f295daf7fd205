"""HTTP/2 frames in any portions: what is passed on is what came, without polite farewells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.http.frames import LARGEST, Frames, OversizedFrameError

GOAWAY = 7


def frame(kind: int, payload: bytes, stream: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, 0]) + stream.to_bytes(4, "big") + payload


def goaway(last: int, code: int = 0, more: bytes = b"") -> bytes:
    return frame(GOAWAY, last.to_bytes(4, "big") + code.to_bytes(4, "big") + more)


def others() -> st.SearchStrategy[tuple[bytes, bytes, int | None]]:
    kinds = st.integers(0, 255).filter(lambda kind: kind != GOAWAY)
    return st.builds(frame, kinds, st.binary(max_size=40), st.integers(0, 9)).map(lambda it: (it, it, None))


def polite() -> st.SearchStrategy[tuple[bytes, bytes, int | None]]:
    return st.builds(
        lambda last, more, reserved: (goaway(last | reserved << 31, 0, more), b"", last),
        st.integers(0, 2**31 - 1), st.binary(max_size=9), st.integers(0, 1),
    )  # fmt: skip


def accusing() -> st.SearchStrategy[tuple[bytes, bytes, int | None]]:
    whole = st.builds(goaway, st.integers(0, 99), st.integers(1, 14))
    short = st.binary(max_size=7).map(lambda payload: frame(GOAWAY, payload))
    return (whole | short).map(lambda it: (it, it, None))


@given(st.lists(others() | polite() | accusing(), max_size=12), st.data())
def test_any_portions_pass_the_same_bytes_without_polite_farewells(
    sequence: list[tuple[bytes, bytes, int | None]], data: st.DataObject
) -> None:
    given_bytes = b"".join(came for came, _, _ in sequence)
    frames, passed, rest = Frames(), b"", given_bytes
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        passed += frames.feed(rest[:size])
        rest = rest[size:]
    assert passed == b"".join(seen for _, seen, _ in sequence)
    lasts = [last for _, _, last in sequence if last is not None]
    assert frames.last_stream == min(lasts, default=None)


def test_one_whole_frame_is_passed_as_it_is() -> None:
    data = frame(0, b"x" * 100, 1)
    assert Frames().feed(data) is data


def test_the_largest_frame_passes_and_a_larger_one_is_refused() -> None:
    assert Frames().feed(frame(0, bytes(LARGEST))) == frame(0, bytes(LARGEST))
    for portion in (9, 20):
        with pytest.raises(OversizedFrameError, match=str(LARGEST + 1)):
            Frames().feed(frame(0, bytes(LARGEST + 1))[:portion])
