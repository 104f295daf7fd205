"""The service in the middle, for subjects that call by gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Answer = Callable[[str, str, str], Awaitable[bool]]

_SERVERS: list[grpc.aio.Server] = []
"""Kept: a server that is collected ends."""


class _Handler(grpc.GenericRpcHandler):
    """Hands every call on: ``/items/get`` is GET of ``/items``."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        path, _, method = handler_call_details.method.rpartition("/")
        request_id = str(dict(handler_call_details.invocation_metadata).get("x-request-id", ""))

        async def handle(_: bytes, context: grpc.aio.ServicerContext) -> bytes:
            if not await self._answer(method.upper(), path, request_id):
                await context.abort(grpc.StatusCode.UNAVAILABLE)
            return b"ok"

        return grpc.unary_unary_rpc_method_handler(handle)


async def listen(answer: Answer, hosts: list[str], port: int) -> None:
    """Listen on every address."""
    server = grpc.aio.server(handlers=[_Handler(answer)])
    for host in hosts:
        server.add_insecure_port(f"{host}:{port}")
    await server.start()
    _SERVERS.append(server)
