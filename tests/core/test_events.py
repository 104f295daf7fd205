"""Names and levels of events are part of the contract: logs and alerts are built on them."""

import pytest

from resilience.core.events import (
    DEBUG,
    INFO,
    WARNING,
    AttemptEnded,
    CallEnded,
    CircuitChanged,
    EndpointsChanged,
    Event,
    HealthChanged,
    HedgeSent,
    ResolutionFailed,
    RetryScheduled,
)


def made(kind, **fields):
    """An event with these fields and nothing else: names and levels hang on few."""
    event = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(event, name, value)
    return event


@pytest.mark.parametrize(
    ("event", "name", "level"),
    [
        (Event("web:80"), "", INFO),
        (made(AttemptEnded), "attempt", DEBUG),
        (made(RetryScheduled), "retry", DEBUG),
        (made(HedgeSent), "hedge", DEBUG),
        (made(CallEnded, outcome="ok", attempts=1), "call", DEBUG),
        (made(CallEnded, outcome="ok", attempts=2), "call", INFO),
        (made(CallEnded, outcome="failed", attempts=1), "call", WARNING),
        (made(CircuitChanged, state="open"), "circuit_opened", INFO),
        (made(CircuitChanged, state="half-open"), "circuit_half_open", INFO),
        (made(CircuitChanged, state="closed"), "circuit_closed", INFO),
        (made(EndpointsChanged), "endpoints_changed", INFO),
        (made(HealthChanged), "health_changed", INFO),
        (made(ResolutionFailed), "resolution_failed", WARNING),
    ],
)
def test_names_and_levels(event, name, level):
    assert (event.name, event.level) == (name, level)
