"""SIGTERM to servers in processes of their own: what is in flight is answered, and each ends, as process 1 too."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.real.place import program

# A server of WSGI that leaves SIGTERM alone. A line on its standard input lets the request in flight go.
SERVER = """
import sys, threading
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from resilience.health import App

let_go = threading.Event()

def api(environ, start_response):
    print("in flight", flush=True)
    let_go.wait()
    sys.stdout.write("last words")  # without a flush
    start_response("200 OK", [("content-length", "2")])
    return [b"ok"]

class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

class Quiet(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass

app = App(api, grace=float(sys.argv[1]), finish=60)
assert app.handle_sigterm()
server = make_server("127.0.0.1", 0, app.wsgi, Server, Quiet)
threading.Thread(target=lambda: (sys.stdin.readline(), let_go.set()), daemon=True).start()
print(server.server_port, flush=True)
server.serve_forever()
"""

# uvicorn in front of the application of docs/server-side.md, which leaves its lifespan without a word.
SILENT = """
import socket, sys
import uvicorn
from resilience.health import App

async def api(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})

listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
config = uvicorn.Config(App(api, grace=1e6), log_level="error", lifespan=sys.argv[1], root_path=sys.argv[2])
uvicorn.Server(config).run([listening])
"""

AS_PROCESS_1 = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


def only_process_1() -> list[str]:
    """Return what starts a program as process 1; skip where that is not allowed."""
    if not program("unshare"):
        # Part of every Debian, but not of every system; what process 1 does can be seen in no other way.
        pytest.skip("unshare is not installed (Debian: util-linux)")
    command = AS_PROCESS_1 if os.geteuid() == 0 else [*AS_PROCESS_1, "--user", "--map-root-user"]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, timeout=20, check=False)
    if tried.returncode:
        # A container may forbid it to root too; what forbade it is said.
        pytest.skip(f"no namespace of processes can be made here: {tried.stderr.strip()}; run it as root")
    return command


class Serving:
    """The server above, with one request in flight."""

    def __init__(self, process: "subprocess.Popen[str]", *, wrapped: bool) -> None:
        self.process = process
        assert process.stdout is not None
        self.port = int(process.stdout.readline())
        self.pid = process.pid
        if wrapped:  # a signal for `unshare` itself would say nothing
            self.pid = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii"))
        self.answers: list[int] = []
        self._call = threading.Thread(target=self._ask)
        self._call.start()
        assert process.stdout.readline() == "in flight\n"

    def _ask(self) -> None:
        with httpx.Client(timeout=60, trust_env=False) as client:
            self.answers.append(client.get(f"http://127.0.0.1:{self.port}/").status_code)

    def draining(self) -> bool:
        with httpx.Client(timeout=60, trust_env=False) as client:
            return client.get(f"http://127.0.0.1:{self.port}/readyz").status_code == 503

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def finish(self) -> tuple[int, str]:
        """Let the request go; return the exit code and what was said last."""
        said, _ = self.process.communicate("\n", timeout=30)
        self._call.join(30)
        return self.process.returncode, said


@contextmanager
def serving(grace: float, command: list[str]) -> Iterator[Serving]:
    process = subprocess.Popen(
        [*command, sys.executable, "-c", SERVER, str(grace)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Serving(process, wrapped=bool(command))
    finally:
        process.kill()
        process.communicate()


def test_as_process_1_it_ends_when_nothing_is_in_flight() -> None:
    with serving(0.0, only_process_1()) as server:
        server.terminate()
        code, said = server.finish()
        assert (server.answers, code, said) == ([200], 128 + signal.SIGTERM, "last words")


@pytest.mark.parametrize("first", [False, True], ids=["any process", "process 1"])
def test_a_second_signal_ends_the_grace_and_not_what_is_in_flight(first: bool) -> None:
    with serving(1e6, only_process_1() if first else []) as server:
        server.terminate()
        while not server.draining():
            pass
        server.terminate()
        assert server.draining(), "the thread that accepts is the one that hears signals: it has heard the second"
        code, _ = server.finish()
        assert (server.answers, code) == ([200], 128 + signal.SIGTERM if first else -signal.SIGTERM)


@pytest.mark.parametrize("root", ["", "/api"])
@pytest.mark.parametrize("lifespan", ["auto", "on"])
def test_behind_uvicorn_an_application_without_a_word_is_ready_and_drains(lifespan: str, root: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", SILENT, lifespan, root], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        base = f"http://127.0.0.1:{int(process.stdout.readline())}"
        with httpx.Client(base_url=base, timeout=60, trust_env=False) as client:
            assert [client.get(path).status_code for path in ("/livez", "/readyz", "/else")] == [200, 200, 404]
            process.send_signal(signal.SIGTERM)
            while client.get("/readyz").status_code == 200:
                pass
            assert client.get("/readyz").json() == {"status": "fail", "output": "draining"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM
    finally:
        process.kill()
        process.communicate()
