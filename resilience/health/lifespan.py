"""The lifespan of an ASGI application, listened to; and answered where the application does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]

_STARTED, _FAILED = "lifespan.startup.complete", "lifespan.startup.failed"


class Lifespan:
    """One lifespan between a server (`receive` and `send`) and an application; calls `serving` when startup is over.

    It is when the application says so, raises or leaves without having said anything: those know no lifespan. After
    a failed startup it never is.
    """

    def __init__(
        self,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
        serving: Callable[[], object],
    ) -> None:
        self._receive = receive
        self._send = send
        self._serving = serving
        self._said: set[str] = set()
        self._taken: list[str] = []

    async def of(self, app: Any, scope: MutableMapping[str, Any]) -> None:  # noqa: ANN401 - ASGI, or None
        """Run it to its end; what the application raises is the server's to know."""
        if app is not None:
            try:
                await app(scope, self._asked, self._heard)
            except BaseException:
                if _FAILED not in self._said:
                    self._serving()
                raise
            if self._said & {_STARTED, _FAILED}:
                return
        # Not every server takes silence for an answer. What the application took it has left unanswered.
        while True:
            kind = self._taken.pop(0) if self._taken else (await self._receive())["type"]
            await self._heard({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return

    async def _asked(self) -> Message:
        message = await self._receive()
        self._taken.append(message["type"])
        return message

    async def _heard(self, message: Message) -> None:
        self._said.add(message["type"])
        if message["type"] == _STARTED:
            self._serving()
        await self._send(message)
