"""Events as lines in the application's own log: through structlog where it is configured, else the stdlib's logging.

An application that has configured neither sees nothing: unconfigured structlog would print to stdout.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from resilience.core.events import DEBUG, INFO
from resilience.observe.facts import facts, logfmt
from resilience.observe.repeats import Repeats
from resilience.runtimes.blocking import BLOCKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from resilience.core.events import Event

NAME = "resilience"
"""The logger's name, under structlog as in the stdlib."""
INTERVAL = 1.0
"""Seconds in which equal events above DEBUG are written once."""

_METHODS = {DEBUG: "debug", INFO: "info"}
_TAKEN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""Attributes of the stdlib's records, which it forbids to overwrite."""


class Log:
    """A listener that writes each event under its stable name, at its own level; ``docs/events.md`` lists them.

    Equal events — same name and level, service, endpoint, outcome — are written once a second, with the number of
    those `suppressed` in between; DEBUG is not thinned out. `now` gives monotonic seconds.
    """

    __slots__ = ("_levels", "_logger", "_now", "_repeats")

    def __init__(self, *, now: Callable[[], float] = BLOCKING.now) -> None:
        self._now = now
        self._repeats = Repeats(INTERVAL)
        self._levels: tuple[object, object, Callable[[int], bool]] = (None, None, bool)
        self._logger = logging.getLogger(NAME)
        if not self._logger.handlers:  # without any, the stdlib would print warnings to stderr as a last resort
            self._logger.addHandler(logging.NullHandler())

    def hears(self, level: int, /) -> bool:
        """Tell whether events of this level are written, as things are configured now. Takes about 0.1 µs."""
        if structlog.is_configured():
            return self._structlog_hears(level)
        return self._logger.isEnabledFor(level)

    def __call__(self, event: Event, /) -> None:
        """Write the event, unless its level is off or it repeats what was written within the last second."""
        level = event.level
        if not self.hears(level):
            return
        suppressed = self._repeats.admit(_kind(event), self._now()) if level > DEBUG else 0
        if suppressed is None:
            return
        fields = facts(event)
        if suppressed:
            fields["suppressed"] = suppressed
        if structlog.is_configured():
            getattr(_bound(), _METHODS.get(level, "warning"))(event.name, logger=NAME, **fields)
        else:
            self._to_stdlib(level, event.name, fields)

    def complain(self, listener: object, error: Exception, /) -> None:
        """Write that a listener has raised; or this log itself, which only the stdlib may still be able to write."""
        if listener is self:
            self._logger.error("the application's logging raised; it will not be reported again", exc_info=error)
        elif structlog.is_configured():
            text = "a listener raised; it will not be reported again"
            _bound().error(text, logger=NAME, listener=repr(listener), exc_info=error)
        else:
            self._logger.error("a listener raised; it will not be reported again: %r", listener, exc_info=error)

    def _structlog_hears(self, level: int) -> bool:
        config = structlog.get_config()
        wrapper, factory, enabled = self._levels
        if config["wrapper_class"] is not wrapper or config["logger_factory"] is not factory:
            try:
                enabled = _question()
            except Exception:  # noqa: BLE001 - a factory's own: whoever writes the event will be told
                enabled = _always
            self._levels = (config["wrapper_class"], config["logger_factory"], enabled)
        return enabled(level)

    def _to_stdlib(self, level: int, name: str, fields: dict[str, Any]) -> None:
        bound = structlog.contextvars.get_contextvars()
        pairs = fields | {key: value for key, value in sorted(bound.items()) if key not in fields}
        extra = {f"{key}_" if key in _TAKEN else key: value for key, value in pairs.items()} | {"event": name}
        template = f"{name} %s"  # the name in the template: whoever groups records by it groups by event
        self._logger.log(level, template, _Line(pairs), extra=extra)


class _Line:
    """The text of a line, put together when, and only if, a handler asks for it."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: dict[str, Any]) -> None:
        self._pairs = pairs

    def __str__(self) -> str:
        return logfmt(self._pairs)


def _kind(event: Event) -> Hashable:
    """Return what makes two events equal enough to be told once."""
    return (
        event.name,
        event.level,
        event.service,
        getattr(event, "endpoint", None),
        getattr(event, "outcome", None),
        getattr(event, "healthy", None),
    )


def _bound() -> Any:  # noqa: ANN401 - the class the application configured
    try:
        bound = structlog.get_logger(NAME).bind()
    except TypeError:  # a logger factory that takes no name
        bound = structlog.get_logger().bind()
    # The methods of an AsyncBoundLogger want awaiting, and a loop.
    return bound.sync_bl if isinstance(bound, structlog.stdlib.AsyncBoundLogger) else bound


def _question() -> Callable[[int], bool]:
    """Return how to ask structlog, as configured now, whether a level is on; without rendering anything."""
    logger = _bound()
    kind = logger.__class__  # asking the instance would make a plain BoundLogger log the question
    own = getattr(kind, "is_enabled_for", None) or getattr(kind, "isEnabledFor", None)
    ask = partial(own, logger) if own is not None else _always
    if isinstance(structlog.get_config()["logger_factory"], structlog.stdlib.LoggerFactory):
        stdlib = logging.getLogger(NAME)
        return lambda level: stdlib.isEnabledFor(level) and ask(level)
    return ask


def _always(_level: int) -> bool:
    return True
