"""A service with replicas: answers with its name after WORK seconds, and notes every POST in a file if told one."""

import asyncio
import json
import os
import socket

import logs
import structlog

from resilience.health import App

NOTES = os.environ.get("NOTES")
WORK = float(os.environ.get("WORK", "0"))
NAME = socket.gethostname()
VERSION = os.environ.get("VERSION", "1")

logs.configure()
log = structlog.get_logger()


async def api(scope, receive, send):
    """Answer every path alike. Plain ASGI: a FastAPI application would stand in the same place."""
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            log.info(event, version=VERSION)
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return
    while (await receive()).get("more_body"):
        pass
    headers = dict(scope["headers"])
    if scope["method"] == "POST" and NOTES:
        with open(NOTES, "ab", buffering=0) as file:  # noqa: ASYNC230, PTH123 - one write, appended as a whole
            file.write(headers.get(b"x-request-id", b"?") + b"\n")
    await asyncio.sleep(WORK)
    body = json.dumps({"server": NAME, "version": VERSION}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


# Longer than until nobody calls any more: two probes a second apart, of a second each, and 2 s of addresses' life.
app = App(api, grace=5.0, about={"serviceId": "web", "version": VERSION})
