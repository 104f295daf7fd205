"""The gRPC twin of the lab's servers: the same process with the same faults, whose answers are gRPC's.

Run as a program it is one server, started by :class:`GrpcFleet`. A status of 500 and more becomes ``UNAVAILABLE``; a method's
path is an HTTP path (``/items/get``), so that what concerns a path concerns a service.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resilience.lab.faults import Fault
    from resilience.lab.routes import Answer
    from resilience.lab.wire import Request

if __name__ == "__main__":  # as the lab's own program: without httpx, which no server needs
    _lab = Path(sys.argv[0]).parents[2] / "resilience" / "lab"
    for _name, _folder in (("resilience", _lab.parent), ("resilience.lab", _lab)):
        _stand_in = types.ModuleType(_name)
        _stand_in.__path__ = [str(_folder)]
        sys.modules[_name] = _stand_in

    from resilience.lab import http2, serve

    class Grpc(http2.Http2):
        """A connection on which every answer ends with gRPC's trailers."""

        async def _send(self, stream: int, request: Request, answer: Answer, fault: Fault) -> None:  # noqa: ARG002
            head = [(":status", "200"), ("content-type", "application/grpc")]
            if answer.status >= _FAILED:
                self._h2.send_headers(stream, [*head, ("grpc-status", _UNAVAILABLE)], end_stream=True)
                return
            self._h2.send_headers(stream, head)
            self._h2.send_data(stream, _NOT_COMPRESSED + len(answer.body).to_bytes(4, "big") + answer.body)
            self._h2.send_headers(stream, [("grpc-status", "0")], end_stream=True)

    _FAILED, _UNAVAILABLE, _NOT_COMPRESSED = 500, "14", b"\0"
    http2.Http2 = Grpc  # type: ignore[misc] - what serve.py hands connections over to
    serve.main()
else:
    from resilience.lab import Fleet, Server

    class GrpcServer(Server):
        """One replica."""

        program = Path(__file__)

        def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
            """Describe it: HTTP/2 without TLS."""
            super().__init__(*args, http2=True, **options)

    class GrpcFleet(Fleet):
        """The replicas."""

        kind = GrpcServer
