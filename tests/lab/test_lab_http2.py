"""HTTP/2 as bare httpx meets it."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import hyperframe.frame as hf
import pytest
from hpack import Encoder

from resilience.lab import Authority, Server


@pytest.fixture
def h2_server() -> Iterator[Server]:
    with Server(http2=True) as running:
        yield running


@pytest.fixture
def h2_client() -> Iterator[httpx.Client]:
    with httpx.Client(http1=False, http2=True, trust_env=False, verify=False, timeout=5.0) as bare:
        yield bare


def test_targets(h2_server: Server, h2_client: httpx.Client, client: httpx.Client) -> None:
    answer = h2_client.get(f"{h2_server.url}/x", headers={"x-request-id": "7"})
    assert (answer.http_version, answer.json()) == ("HTTP/2", {"server": "a", "path": "/x"})
    assert h2_server.requests == [("GET", "/x", "7")]
    assert h2_client.post(f"{h2_server.url}/echo", content=b"x" * 300_000).content == b"x" * 300_000
    assert len(h2_client.get(f"{h2_server.url}/bytes/3000000").content) == 3_000_000
    head = h2_client.head(f"{h2_server.url}/bytes/7")
    assert (head.content, head.headers["content-length"]) == (b"", "7")
    assert h2_client.get(f"{h2_server.url}/status/204").status_code == 204
    with h2_client.stream("GET", f"{h2_server.url}/sse") as events:
        assert next(events.iter_lines()) == 'data: {"server": "a", "n": 0}'
    assert h2_server.accepted == 1
    assert client.get(h2_server.url).http_version == "HTTP/1.1"


def test_over_tls_by_alpn(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    with (
        Server(http2=True, ssl=authority.issue("127.0.0.1")) as server,
        httpx.Client(http2=True, trust_env=False, verify=authority.context()) as both,
        httpx.Client(trust_env=False, verify=authority.context()) as old,
    ):
        assert both.get(server.url).http_version == "HTTP/2"
        assert old.get(server.url).http_version == "HTTP/1.1"


@pytest.mark.anyio
async def test_many_streams_share_a_connection(h2_server: Server) -> None:
    answers: list[httpx.Response] = []
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(http1=False, http2=True, trust_env=False, verify=False, limits=limits) as bare:
        await bare.get(h2_server.url)

        async def get() -> None:
            answers.append(await bare.get(f"{h2_server.url}/slow/0.05", timeout=10))

        async with anyio.create_task_group() as group:
            for _ in range(200):
                group.start_soon(get)
    assert [answer.status_code for answer in answers] == [200] * 200
    assert (h2_server.accepted, h2_server.count) == (1, 201)


def test_status_ratio_and_delay(h2_server: Server, h2_client: httpx.Client) -> None:
    h2_server.fault(status=503, ratio=0.3, delay=0.001)
    assert sum(h2_client.get(h2_server.url).status_code == 503 for _ in range(10)) == 3
    h2_server.fault(delay=30)
    with pytest.raises(httpx.ReadTimeout):
        h2_client.get(h2_server.url, timeout=0.05)


def test_refused_streams_are_not_counted(h2_server: Server, h2_client: httpx.Client) -> None:
    h2_server.fault(refuse_streams=1)
    with pytest.raises(httpx.RemoteProtocolError, match="error_code:7"):
        h2_client.get(h2_server.url)
    assert h2_server.count == 0
    h2_server.fault()
    assert h2_client.get(h2_server.url).is_success


@pytest.mark.parametrize(("reset", "counted"), [("before", 0), ("after", 1)])
def test_resets(h2_server: Server, h2_client: httpx.Client, reset: str, counted: int) -> None:
    h2_server.fault(reset=reset)  # type: ignore[arg-type]
    with pytest.raises(httpx.TransportError):
        h2_client.get(h2_server.url)
    assert h2_server.count == counted


def test_broken_bodies(h2_server: Server, h2_client: httpx.Client) -> None:
    h2_server.fault(truncate=True)
    with pytest.raises(httpx.RemoteProtocolError, match="error_code:2"):
        h2_client.get(h2_server.url)
    h2_server.fault(drip=0.001)
    assert len(h2_client.get(f"{h2_server.url}/bytes/100").content) == 100
    h2_server.fault(garbage=True)
    with pytest.raises(httpx.RemoteProtocolError):
        h2_client.get(h2_server.url)


def test_idle_connections_are_closed(h2_server: Server, h2_client: httpx.Client) -> None:
    h2_client.get(h2_server.url)
    h2_server.fault(idle_close=0.001)
    while h2_server.connections:
        pass
    h2_server.fault()
    with pytest.raises(httpx.RemoteProtocolError):  # bare httpx does not notice before it sends
        h2_client.get(h2_server.url)
    assert h2_client.get(h2_server.url).is_success


def test_an_armed_goaway_leaves_the_next_request_out(h2_server: Server, h2_client: httpx.Client) -> None:
    h2_client.get(f"{h2_server.url}/1")
    h2_server.goaway(armed=True)
    assert h2_client.get(f"{h2_server.url}/2").is_success  # httpx sends what GOAWAY left out again
    assert [seen.path for seen in h2_server.requests] == ["/1", "/2"]
    assert h2_server.accepted == 2


def test_goaway_closes_an_idle_connection(h2_server: Server, h2_client: httpx.Client) -> None:
    h2_client.get(h2_server.url)
    h2_server.goaway()
    while h2_server.connections:
        pass
    with contextlib.suppress(httpx.RemoteProtocolError):  # bare httpx may notice only now
        h2_client.get(h2_server.url)
    assert h2_client.get(h2_server.url).is_success
    assert h2_server.accepted == 2


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Conversation:
    """Frames by hand, for what h2's client would not do: it takes nothing after a GOAWAY."""

    def __init__(self, server: Server) -> None:
        self.socket = socket.create_connection((server.host, server.port), timeout=10)
        self._encoder = Encoder()
        for piece in (PREFACE[:10], PREFACE[10:], hf.SettingsFrame(0).serialize()):
            self.socket.sendall(piece)

    def request(self, stream: int, path: str, *, then: bytes = b"") -> None:
        head = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "x")]
        frame = hf.HeadersFrame(stream, self._encoder.encode(head))
        frame.flags |= {"END_HEADERS", "END_STREAM"}
        self.socket.sendall(frame.serialize() + then)

    def frames(self) -> Iterator[hf.Frame]:
        with self.socket, self.socket.makefile("rb") as received:
            while prefix := received.read(9):
                frame, length = hf.Frame.parse_frame_header(memoryview(prefix))
                frame.parse_body(memoryview(received.read(length)))
                yield frame


def test_goaway_mid_load_lets_the_streams_begun_before_finish(h2_server: Server) -> None:
    peer = Conversation(h2_server)
    peer.request(1, "/slow/0.5")
    while h2_server.count < 1:
        pass
    h2_server.goaway()
    h2_server.goaway()
    peer.request(3, "/")
    frames = list(peer.frames())
    assert [frame.last_stream_id for frame in frames if isinstance(frame, hf.GoAwayFrame)] == [1]
    assert [frame.stream_id for frame in frames if isinstance(frame, hf.HeadersFrame)] == [1]
    assert [frame.stream_id for frame in frames if isinstance(frame, hf.RstStreamFrame)] == [3]


def test_a_stream_that_is_refused_and_reset_at_once_ends_no_other(h2_server: Server) -> None:
    peer = Conversation(h2_server)
    peer.request(1, "/slow/0.2")
    while h2_server.count < 1:
        pass
    h2_server.goaway()
    peer.request(3, "/", then=hf.RstStreamFrame(3, 8).serialize())
    assert [frame.stream_id for frame in peer.frames() if isinstance(frame, hf.HeadersFrame)] == [1]


def test_a_cancelled_stream_is_dropped_and_others_are_not(h2_server: Server) -> None:
    peer = Conversation(h2_server)
    peer.request(1, "/slow/30")
    peer.request(3, "/")
    peer.socket.sendall(hf.RstStreamFrame(1, 8).serialize())
    peer.request(5, "/")
    peer.socket.sendall(hf.GoAwayFrame(0).serialize())
    answered = [frame.stream_id for frame in peer.frames() if isinstance(frame, hf.HeadersFrame)]
    assert set(answered) <= {3, 5}
    assert h2_server.count == 3


def test_a_slow_reader_is_waited_for(h2_server: Server) -> None:
    peer = Conversation(h2_server)
    peer.request(1, "/bytes/100000")
    received = 0
    for frame in peer.frames():
        if isinstance(frame, hf.DataFrame):
            received += len(frame.data)
            if received == 65_535:  # the window is used up
                for stream in (0, 1):
                    peer.socket.sendall(hf.WindowUpdateFrame(stream, 100_000).serialize())
            if "END_STREAM" in frame.flags:
                break
    assert received == 100_000


def test_idle_time_is_counted_from_the_last_answer(h2_server: Server) -> None:
    h2_server.fault(idle_close=60)
    peer = Conversation(h2_server)
    peer.request(1, "/")
    while h2_server.count < 1:
        pass
    h2_server.fault(idle_close=0.01)
    assert [frame.stream_id for frame in peer.frames() if isinstance(frame, hf.HeadersFrame)] == [1]


def test_goaway_means_nothing_to_http_1(h2_server: Server, client: httpx.Client) -> None:
    client.get(h2_server.url)
    h2_server.goaway()
    client.get(h2_server.url)
    assert h2_server.accepted == 1


def test_nonsense_after_the_preface_ends_the_connection(h2_server: Server) -> None:
    with socket.create_connection((h2_server.host, h2_server.port)) as raw, raw.makefile("rb") as answers:
        raw.sendall(PREFACE + b"\0\0\1\0\0\0\0\0\0x")  # DATA on stream 0
        answers.read()
    assert h2_server.count == 0


def test_a_graceful_stop_says_goaway(h2_server: Server, h2_client: httpx.Client) -> None:
    h2_client.get(h2_server.url)
    h2_server.stop(grace=5)
    with pytest.raises(httpx.TransportError):
        h2_client.get(h2_server.url)
