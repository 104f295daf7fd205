"""Ports to listen on that stay free while their server is down."""

from __future__ import annotations

import errno
import random
import socket
import time
from contextlib import ExitStack
from pathlib import Path

__all__ = ["common_port", "listen"]

_LOWEST = 20_000
_EPHEMERAL = 32_768
_ATTEMPTS = 200
_PATIENCE = 2.0


def listen(host: str, port: int) -> socket.socket:
    """Open a listening TCP socket; port 0 takes one below the ephemeral range.

    An ephemeral port could be given to some client's outgoing connection while the server is
    down, which would then even connect to itself. A busy ``port`` is tried for two seconds.
    """
    if port == 0:
        port = common_port([host])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    end = time.monotonic() + _PATIENCE
    while True:
        listener = socket.socket(family)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(4096)
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return listener


def common_port(hosts: list[str], *, udp: bool = False) -> int:
    """Find a port below the ephemeral range that is free on all of ``hosts`` for TCP, and for UDP if asked."""
    for _ in range(_ATTEMPTS):
        port = random.SystemRandom().randrange(_LOWEST, _first_ephemeral())
        with ExitStack() as stack:
            try:
                for host in hosts:
                    family = socket.AF_INET6 if ":" in host else socket.AF_INET
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)[: 1 + udp]:
                        probe = stack.enter_context(socket.socket(family, kind))
                        probe.bind((host, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            return port
    message = f"no common free port on {', '.join(hosts)}"
    raise OSError(errno.EADDRINUSE, message)


def _first_ephemeral() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return _EPHEMERAL
    return first if first > _LOWEST else _EPHEMERAL
