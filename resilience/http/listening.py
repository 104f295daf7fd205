"""Who hears of events: the caller's listeners, and the log."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from resilience.core.errors import ConfigurationError
from resilience.observe.log import Log

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from resilience.core.events import Event
    from resilience.core.ports import Listener


class _Held(threading.local):
    """What a thread holds back; None where it holds nothing back."""

    events: list[Event] | None = None


class Listeners:
    """Hands each event to everybody; a listener that raises, or a log, is reported once and otherwise ignored."""

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
        self._held = _Held()
        # With no listener but the log, whether anybody hears is the log's own answer: one call less on the hot path.
        if not self._listeners:
            self.hears = self._log.hears  # type: ignore[method-assign]

    def hears(self, level: int, /) -> bool:  # noqa: ARG002 - the caller's listeners hear everything
        """Tell whether anybody wants events of this level."""
        return True

    def emit(self, event: Event, /) -> None:
        """Tell everybody."""
        if self._held.events is not None:
            self._held.events.append(event)
            return
        for listener in self._listeners:
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - a broken listener must not break calls
                self.failed(listener, error)
        try:
            if self._log.hears(event.level):
                self._log(event)
        except Exception as error:  # noqa: BLE001 - nor must the application's logging: a processor, a closed stream
            self.failed(self._log, error)

    @contextmanager
    def later(self) -> Generator[None]:
        """Hold back what this thread emits inside, and tell it at the end.

        For whoever holds a lock inside: a listener may be slow, and may come back for that lock by a call of its own.
        """
        outer, held = self._held.events, list["Event"]()
        self._held.events = held
        try:
            yield
        finally:
            self._held.events = outer
            for event in held:
                self.emit(event)

    def failed(self, listener: object, error: Exception) -> None:
        """Report a listener that has just raised, the first time."""
        if id(listener) not in self._failed:
            self._failed.add(id(listener))
            with suppress(Exception):  # what cannot be written is not told
                self._log.complain(listener, error)
