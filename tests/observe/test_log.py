"""Where events are written, at which level, how often, and with whose context."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from typing import Any

import pytest
import structlog

from resilience.core.events import (
    DEBUG,
    INFO,
    WARNING,
    AttemptEnded,
    CallEnded,
    CircuitChanged,
    Event,
    HealthChanged,
    ResolutionFailed,
)
from resilience.observe.log import NAME, Log

OPENED = CircuitChanged("web:80", "10.0.0.1:80", "open", "5 in a row", 1.0)
ATTEMPT = AttemptEnded("web:80", "10.0.0.1:80", 1, "GOOD", 0.01, 200)
UNRESOLVED = ResolutionFailed("web:80", "SERVFAIL", 5.0, 3)


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock) -> Log:
    return Log(now=clock)


class Kept(logging.Handler):
    """A handler that keeps what it is handed."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def stdlib() -> Kept:
    kept = Kept()
    logger = logging.getLogger(NAME)
    logger.addHandler(kept)
    logger.setLevel(logging.DEBUG)
    return kept


def call(outcome: str, attempts: int = 1, service: str = "web:80") -> CallEnded:
    return CallEnded(service, "GET", "get_item", attempts, ("10.0.0.1:80",), 0.0, 0.5, outcome)


def structured(level: int = DEBUG, **config: Any) -> list[dict[str, Any]]:
    """Configure structlog as an application would, and keep the events it is given."""
    events: list[dict[str, Any]] = []

    def keep(_logger: object, method: str, event: dict[str, Any]) -> dict[str, Any]:
        events.append({**event, "method": method})
        raise structlog.DropEvent

    structlog.configure(
        **{
            "wrapper_class": structlog.make_filtering_bound_logger(level),
            "processors": [structlog.contextvars.merge_contextvars, keep],
        }
        | config,
    )
    return events


# ------------------------------------------------------------------------------------------------- the stdlib's logging


def test_an_event_is_a_record_with_its_name_its_level_and_its_fields(log: Log, stdlib: Kept) -> None:
    log(OPENED)
    (record,) = stdlib.records
    assert record.name == "resilience"
    assert record.levelno == logging.INFO
    assert record.getMessage() == (
        "circuit_opened service=web:80 endpoint=10.0.0.1:80 state=open reason='5 in a row' open_for=1.0"
    )
    assert record.msg == "circuit_opened %s"
    assert record.event == "circuit_opened"
    assert record.endpoint == "10.0.0.1:80"
    assert record.open_for == 1.0


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (ATTEMPT, DEBUG),
        (call("ok"), DEBUG),
        (call("ok", attempts=2), INFO),
        (OPENED, INFO),
        (call("failed"), WARNING),
        (call("rejected"), WARNING),
        (UNRESOLVED, WARNING),
    ],
)
def test_levels_are_those_of_the_events(log: Log, stdlib: Kept, event: Event, level: int) -> None:
    log(event)
    assert [record.levelno for record in stdlib.records] == [level]
    logging.getLogger(NAME).setLevel(level + 1)
    log(event)
    assert len(stdlib.records) == 1


def test_what_the_caller_bound_rides_along(log: Log, stdlib: Kept) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r-7", service="theirs", module="shop", name="n"):
        log(OPENED)
    (record,) = stdlib.records
    assert record.request_id == "r-7"
    assert record.service == "web:80"
    assert (record.module_, record.name_, record.name) == ("shop", "n", "resilience")
    assert record.getMessage().endswith("open_for=1.0 module=shop name=n request_id=r-7")


def test_a_level_switched_while_running_is_heard_at_once(log: Log, stdlib: Kept) -> None:
    assert log.hears(DEBUG)
    logging.getLogger(NAME).setLevel(logging.WARNING)
    assert not log.hears(INFO)
    assert log.hears(WARNING)
    logging.disable(logging.WARNING)
    try:
        assert not log.hears(WARNING)
    finally:
        logging.disable(logging.NOTSET)
    assert log.hears(WARNING)
    assert stdlib.records == []


def test_nothing_is_looked_at_when_the_level_is_off(log: Log, stdlib: Kept) -> None:
    class Untouchable(AttemptEnded):
        def __getattribute__(self, name: str) -> Any:
            if name in {"endpoint", "duration", "blame", "service"}:
                raise AssertionError(name)
            return super().__getattribute__(name)

    logging.getLogger(NAME).setLevel(logging.INFO)
    log(Untouchable("web:80", "10.0.0.1:80", 1, "GOOD", 0.01))
    assert stdlib.records == []


def test_a_handler_of_the_applications_own_is_left_alone(stdlib: Kept) -> None:
    Log()
    assert logging.getLogger(NAME).handlers == [stdlib]


def test_any_number_of_clients_attach_one_silent_handler() -> None:
    for _ in range(3):
        Log()
    (handler,) = logging.getLogger(NAME).handlers
    assert isinstance(handler, logging.NullHandler)


# ------------------------------------------------------------------------------------------------------------ structlog


def test_a_configured_structlog_gets_the_events(log: Log, stdlib: Kept) -> None:
    events = structured()
    with structlog.contextvars.bound_contextvars(request_id="r-7"):
        log(OPENED)
        log(call("failed", 3))
        log(ATTEMPT)
    assert events[0] == {
        "event": "circuit_opened",
        "method": "info",
        "logger": "resilience",
        "service": "web:80",
        "endpoint": "10.0.0.1:80",
        "state": "open",
        "reason": "5 in a row",
        "open_for": 1.0,
        "request_id": "r-7",
    }
    assert [(e["event"], e["method"]) for e in events[1:]] == [("call", "warning"), ("attempt", "debug")]
    assert stdlib.records == []


def test_structlogs_own_level_counts(log: Log) -> None:
    events = structured(INFO)
    assert not log.hears(DEBUG)
    assert log.hears(INFO)
    log(ATTEMPT)
    log(OPENED)
    assert [e["event"] for e in events] == ["circuit_opened"]


def test_structlog_configured_anew_is_asked_anew(log: Log, stdlib: Kept) -> None:
    structured(WARNING)
    assert not log.hears(INFO)
    events = structured(DEBUG)
    assert log.hears(DEBUG)
    log(OPENED)
    assert len(events) == 1
    structlog.reset_defaults()
    log(UNRESOLVED)
    assert len(events) == len(stdlib.records) == 1


@pytest.mark.parametrize(
    "wrapper",
    [structlog.stdlib.BoundLogger, structlog.make_filtering_bound_logger(DEBUG), structlog.BoundLogger],
)
def test_structlog_over_the_stdlib_also_obeys_the_stdlibs_level(log: Log, stdlib: Kept, wrapper: type) -> None:
    structlog.configure(
        wrapper_class=wrapper,
        logger_factory=structlog.stdlib.LoggerFactory(),
        processors=[structlog.stdlib.add_logger_name, structlog.processors.JSONRenderer()],
    )
    logging.getLogger(NAME).setLevel(logging.INFO)
    assert not log.hears(DEBUG)
    assert log.hears(INFO)
    log(ATTEMPT)
    log(OPENED)
    (line,) = stdlib.lines
    assert json.loads(line)["event"] == "circuit_opened"
    assert json.loads(line)["logger"] == "resilience"


def test_what_stands_behind_an_async_wrapper_writes_at_once(log: Log, stdlib: Kept) -> None:
    structlog.configure(
        wrapper_class=structlog.stdlib.AsyncBoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        processors=[structlog.processors.JSONRenderer()],
    )

    async def write() -> None:
        log(OPENED)

    asyncio.run(write())
    (line,) = stdlib.lines
    assert json.loads(line)["event"] == "circuit_opened"


def test_the_same_wrapper_over_another_factory_is_asked_anew(log: Log) -> None:
    wrapper = structlog.make_filtering_bound_logger(DEBUG)
    structlog.configure(wrapper_class=wrapper, logger_factory=structlog.ReturnLoggerFactory())
    assert log.hears(DEBUG)
    logging.getLogger(NAME).setLevel(logging.INFO)
    structlog.configure(wrapper_class=wrapper, logger_factory=structlog.stdlib.LoggerFactory())
    assert not log.hears(DEBUG)


def test_a_logger_of_the_stdlib_that_the_application_hands_out_is_asked_for_its_level(log: Log) -> None:
    theirs = logging.getLogger("theirs")
    theirs.setLevel(logging.WARNING)
    structlog.configure(wrapper_class=structlog.stdlib.BoundLogger, logger_factory=lambda *_: theirs)
    assert [log.hears(level) for level in (DEBUG, INFO, WARNING)] == [False, False, True]


def test_a_wrapper_that_is_asked_as_the_stdlibs_loggers_are_is_asked_so(log: Log) -> None:
    class Wrapper(structlog.BoundLogger):
        def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the stdlib's name
            return level >= WARNING

    structlog.configure(wrapper_class=Wrapper, logger_factory=structlog.ReturnLoggerFactory())
    assert [log.hears(level) for level in (DEBUG, INFO, WARNING)] == [False, False, True]


def test_a_wrapper_without_levels_hears_everything(log: Log) -> None:
    out = io.StringIO()
    structlog.configure(wrapper_class=structlog.BoundLogger, logger_factory=structlog.PrintLoggerFactory(out))
    assert log.hears(DEBUG)
    assert out.getvalue() == ""
    log(ATTEMPT)
    assert out.getvalue().count("attempt") == 1


def test_a_logger_factory_that_takes_no_name_will_do(log: Log) -> None:
    out = io.StringIO()
    structlog.configure(logger_factory=lambda: structlog.PrintLogger(out))
    log(OPENED)
    assert "circuit_opened" in out.getvalue()


def test_json_lines_hold_every_field(log: Log) -> None:
    out = io.StringIO()
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(out),
    )
    log(call("ok", attempts=2))
    assert json.loads(out.getvalue()) == {
        "event": "call",
        "level": "info",
        "logger": "resilience",
        "service": "web:80",
        "method": "GET",
        "operation": "get_item",
        "attempts": 2,
        "endpoints": ["10.0.0.1:80"],
        "waited": 0.0,
        "duration": 0.5,
        "outcome": "ok",
    }


# -------------------------------------------------------------------------------------------------------------- repeats


def test_equal_events_are_written_once_a_second_and_counted(log: Log, stdlib: Kept, clock: Clock) -> None:
    for _ in range(40):
        log(call("failed"))
    clock.now += 0.999
    log(call("failed"))
    clock.now += 0.001
    log(call("failed"))
    assert [getattr(record, "suppressed", None) for record in stdlib.records] == [None, 40]
    assert stdlib.lines[1].endswith("suppressed=40")


def test_under_structlog_too(log: Log, clock: Clock) -> None:
    events = structured()
    for _ in range(3):
        log(UNRESOLVED)
    clock.now += 1
    log(UNRESOLVED)
    assert [e.get("suppressed") for e in events] == [None, 2]


def test_what_differs_is_no_repeat(log: Log, stdlib: Kept) -> None:
    different = [
        OPENED,
        CircuitChanged("web:80", "10.0.0.2:80", "open", "5 in a row", 1.0),
        CircuitChanged("web:80", "10.0.0.1:80", "half-open", "1 s are over"),
        CircuitChanged("web:80", "10.0.0.1:80", "closed", "the probe succeeded"),
        HealthChanged("web:80", "10.0.0.1:80", healthy=False, reason="2 in a row"),
        HealthChanged("web:80", "10.0.0.1:80", healthy=True, reason="answered"),
        call("failed"),
        call("rejected"),
        call("ok", attempts=2),
        call("failed", service="api:80"),
    ]
    for event in different * 2:
        log(event)
    assert len(stdlib.records) == len(different)


def test_debugging_sees_every_single_one(log: Log, stdlib: Kept) -> None:
    for _ in range(5):
        log(ATTEMPT)
    assert stdlib.lines == [stdlib.lines[0]] * 5
    assert not any(hasattr(record, "suppressed") for record in stdlib.records)


def test_a_level_that_is_off_uses_up_no_turn(log: Log, stdlib: Kept) -> None:
    logging.getLogger(NAME).setLevel(logging.WARNING)
    log(OPENED)
    logging.getLogger(NAME).setLevel(logging.INFO)
    log(OPENED)
    assert len(stdlib.records) == 1


# ------------------------------------------------------------------------------------------------ what is wrong with it


def listener(_event: Event) -> None:
    """Nothing: it is only named."""


def test_a_listener_that_raises_is_told_with_what_it_raised(log: Log, stdlib: Kept) -> None:
    error = ValueError("its own")
    log.complain(listener, error)
    (record,) = stdlib.records
    assert (record.levelname, record.name, record.exc_info and record.exc_info[1]) == ("ERROR", NAME, error)
    assert record.getMessage() == f"a listener raised; it will not be reported again: {listener!r}"


def test_a_listener_that_raises_is_told_to_a_configured_structlog(log: Log, stdlib: Kept) -> None:
    events, error = structured(), ValueError("its own")
    log.complain(listener, error)
    assert stdlib.records == []
    assert events == [
        {
            "event": "a listener raised; it will not be reported again",
            "logger": NAME,
            "listener": repr(listener),
            "exc_info": error,
            "method": "error",
        }
    ]


def test_the_log_tells_of_itself_by_the_stdlib_alone(log: Log, stdlib: Kept) -> None:
    events, error = structured(), ValueError("a processor's")
    log.complain(log, error)
    (record,) = stdlib.records
    assert (record.levelname, record.exc_info and record.exc_info[1]) == ("ERROR", error)
    assert record.getMessage() == "the application's logging raised; it will not be reported again"
    assert events == []


def test_whoever_cannot_say_what_it_hears_is_handed_everything(log: Log) -> None:
    def factory(*_: object) -> object:
        raise OSError("closed")

    structlog.configure(wrapper_class=structlog.stdlib.BoundLogger, logger_factory=factory)
    assert log.hears(DEBUG)
    with pytest.raises(OSError, match="closed"):
        log(OPENED)
