"""Servers and kinds of clients for all tests here."""

from tests.http.support import _fleet, _server, anyio_backend, fleet, mode, server

__all__ = ["_fleet", "_server", "anyio_backend", "fleet", "mode", "server"]
