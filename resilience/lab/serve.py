"""The program of one server process; :class:`resilience.lab.Server` starts it by its file's path.

By path and not by module name, because importing the package would import httpx: a fifth of a second
for every child. The stand-ins below let the lab's own modules import each other all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import sys
import types
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

if __name__ == "__main__":
    for _name, _folder in (("resilience", Path(__file__).parents[1]), ("resilience.lab", Path(__file__).parent)):
        _stand_in = types.ModuleType(_name)
        _stand_in.__path__ = [str(_folder)]
        sys.modules[_name] = _stand_in

from resilience.lab.application import Application
from resilience.lab.counts import Tally
from resilience.lab.faults import Fault
from resilience.lab.http1 import Http1

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


async def serve(config: dict[str, Any]) -> None:
    """Serve until the control channel ends."""
    loop = asyncio.get_running_loop()
    app = Application(
        config["name"],
        Tally(config["counts"]),
        service_time=config["service_time"],
        max_streams=config["max_streams"],
        workers=config["workers"],
    )
    upgrade: Callable[[], asyncio.Protocol] | None = None
    if config["http2"]:
        from resilience.lab.http2 import Http2  # noqa: PLC0415 - h2 is an extra

        upgrade = partial(Http2, app)
    context = None
    if config["ssl"] is not None:
        import ssl  # noqa: PLC0415 - only where needed

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*config["ssl"])
        context.set_alpn_protocols(["h2", "http/1.1"] if upgrade else ["http/1.1"])
    server = await loop.create_server(
        lambda: Http1(app, upgrade), sock=socket.socket(fileno=config["listener"]), ssl=context, backlog=4096
    )
    control = socket.socket(fileno=config["control"])
    control.setblocking(False)  # noqa: FBT003 - the socket's own signature
    reader, writer = await asyncio.open_connection(sock=control)
    _die_with(config["parent"])
    gc.freeze()
    writer.write(b"{}\n")
    while line := await reader.readline():
        reply: dict[str, str] = {}
        try:
            await _obey(app, server, json.loads(line))
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent reports it
            reply["error"] = repr(error)
        writer.write(json.dumps(reply).encode() + b"\n")


async def _obey(app: Application, server: asyncio.Server, command: dict[str, Any]) -> None:
    match command:
        case {"fault": fields}:
            app.set_fault(Fault.from_dict(fields))
        case {"goaway": armed}:
            for connection in list(app.connections):
                connection.goaway(armed=armed)
        case {"drain": seconds}:
            server.close()
            app.draining = True
            for connection in list(app.connections):
                connection.drain()
            if app.connections:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(app.emptied.wait(), seconds)
        case _:
            message = f"unknown command: {command}"
            raise ValueError(message)


def _die_with(parent: int) -> None:
    """End when the parent does, even where the control channel's end goes unnoticed.

    The death signal comes when the *thread* that started us ends, so it only asks us to look: SIGCONT
    wakes a stopped process and harms no other.
    """

    def look() -> None:
        if os.getppid() != parent:
            os._exit(0)

    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - only where needed

        asyncio.get_running_loop().add_signal_handler(signal.SIGCONT, look)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)
    look()


def main() -> None:
    """Read the configuration from the first argument and serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    asyncio.run(serve(json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
