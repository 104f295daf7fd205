"""Who hears of events: the caller's listeners, and the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from resilience.core.errors import ConfigurationError
from resilience.observe.log import Log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from resilience.core.events import Event
    from resilience.core.ports import Listener

_logger = logging.getLogger("resilience")


class Listeners:
    """Hands each event to everybody; a listener that raises is reported once and otherwise ignored."""

    def __init__(self, listeners: Iterable[Listener]) -> None:
        try:
            self._listeners = tuple(listeners)
        except TypeError:
            argument, expected = "listeners", "an iterable of callables that take one event"
            raise ConfigurationError(argument, listeners, expected) from None
        for listener in self._listeners:
            if not callable(listener):
                argument, expected = "listeners", "callables that take one event"
                raise ConfigurationError(argument, listener, expected)
        self._log = Log()
        self._failed: set[int] = set()
        # With no listener but the log, whether anybody hears is the log's own answer: one call less on the hot path.
        if not self._listeners:
            self.hears = self._log.hears  # type: ignore[method-assign]

    def hears(self, level: int, /) -> bool:  # noqa: ARG002 - the caller's listeners hear everything
        """Tell whether anybody wants events of this level."""
        return True

    def emit(self, event: Event, /) -> None:
        """Tell everybody."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - a broken listener must not break calls
                self.failed(listener, error)
        if self._log.hears(event.level):
            self._log(event)

    def failed(self, listener: object, error: Exception) -> None:
        """Report a listener that has just raised, the first time."""
        if id(listener) not in self._failed:
            self._failed.add(id(listener))
            _logger.error("a listener raised; it will not be reported again: %r", listener, exc_info=error)
