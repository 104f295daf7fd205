"""A call to one of a client's services."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from resilience.core.call import RoutedCall
from resilience.core.events import DEBUG
from resilience.http.classify import classify
from resilience.http.guarded import read, shown
from resilience.http.replay import shareable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx

    from resilience.core.call import Elsewhere
    from resilience.core.events import Event
    from resilience.core.ports import Runtime
    from resilience.http.upstream import Upstream


class ServiceCall(RoutedCall):
    """A call to one of our services. What concerns the service is asked of it when it is needed: mostly, never."""

    classify = staticmethod(classify)  # on the class, where the base has it per call

    def __init__(
        self, home: Upstream, runtime: Runtime, request: httpx.Request, started: float, deadline: float, operation: str
    ) -> None:
        self.runtime = runtime
        self.request = request
        self.started = started
        self.deadline = deadline
        self.operation = operation
        self.attempts = []
        self.home = home

    @property
    def service(self) -> str:  # type: ignore[override]
        """Return ``host:port``."""
        return self.home.name

    @property
    def shareable(self) -> bool:  # type: ignore[override]
        """Tell whether several sends may read the body at a time."""
        return shareable(self.request)

    @property
    def sole(self) -> bool:  # type: ignore[override]
        """Tell whether there is but one endpoint."""
        return len(self.home.room.endpoints) == 1

    @property
    def elsewhere(self) -> Callable[[Any], Elsewhere]:  # type: ignore[override]
        """Return what tells whether an endpoint is ready that the call has not tried."""
        return self.home.room.elsewhere

    @property
    def discard(self) -> Callable[[Any], Awaitable[bool]]:  # type: ignore[override]
        """Return what drops a reply."""
        return self.home.exchange.discard  # type: ignore[no-any-return]

    @property
    def abandon(self) -> Callable[[Any], None] | None:  # type: ignore[override]
        """Return what ends a send that has lost."""
        return getattr(self.home.exchange, "abandon", None)

    @property
    def read(self) -> Callable[[Any, float], Awaitable[bytes | None]] | None:  # type: ignore[override]
        """Return what shows a guard the body; None where the caller streams it."""
        return partial(read, self) if self.buffered else None

    @property
    def show(self) -> Callable[[Any], Any]:  # type: ignore[override]
        """Return what makes a reply one that a check may look at."""
        return partial(shown, self)

    @property
    def emit(self) -> Callable[[Event], None] | None:  # type: ignore[override]
        """Return what tells the listeners, if any of them hears of attempts."""
        return self.home.listeners.emit if self.home.listeners.hears(DEBUG) else None

    @property
    def dial_limit(self) -> Callable[[RoutedCall], float | None]:  # type: ignore[override]
        """Return what tells how long one dial may take."""
        return self.home.dial_limit
