"""A service in the middle: it answers what the service below answers, which it asks through the subject.

``python -m benchmarks.scoreboard.gateway SUBJECT TOLD [HOSTS, PORT]``; one line on stdout says that it listens.
"""

from __future__ import annotations

import asyncio
import json
import sys

from benchmarks.scoreboard.subjects import SUBJECTS
from benchmarks.scoreboard.told import Call, Told

_FAILED = 500
_GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
_BAD = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno"


class Gateway:
    """Handles the connections of both addresses, and counts the requests that carry an id."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.seen: list[str] = []

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request after the other."""
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, path, _ = lines[0].split(" ")
                headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
                await reader.readexactly(int(headers.get("content-length", 0)))
                good = await self.answer(method, path, headers.get("x-request-id", ""))
                writer.write(_GOOD if good else _BAD)
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    async def answer(self, method: str, path: str, request_id: str) -> bool:
        """Ask the service below, and say whether it answered well."""
        if request_id:
            self.seen.append(request_id)
        if path == "/health":
            return True
        try:
            status = await self._call(method, path, request_id)
        except Exception:  # noqa: BLE001 - whatever it is, the caller is told that it failed
            return False
        return status < _FAILED


async def serve(subject: str, told: Told, hosts: list[str], port: int) -> None:
    """Listen until stdin ends; then print the ids of the requests that came."""
    async with SUBJECTS[subject].open(told) as call:
        gateway = Gateway(call)
        if SUBJECTS[subject].grpc:
            from benchmarks.scoreboard.grpc_gateway import listen  # noqa: PLC0415 - nobody else needs grpcio

            await listen(gateway.answer, hosts, port)
        else:
            for host in hosts:
                await asyncio.start_server(gateway.connection, host, port)
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        sys.stdout.write(json.dumps(gateway.seen) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Told(**json.loads(sys.argv[2])), *json.loads(sys.argv[3])))
