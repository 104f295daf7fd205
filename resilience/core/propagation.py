"""What tiers tell each other: how much time is left, and that trying again is of no use.

A caller sends the milliseconds it will still wait with each attempt; whoever answers makes that its own deadline. And a
tier that has used up its attempts, its budget or its time says so with its failure, so that the tiers above do not
multiply what has been tried already: three tiers of three attempts each would ask the last one 27 times.
"""

from __future__ import annotations

import re
from contextvars import ContextVar

from resilience.core.errors import require

DEADLINE_HEADER = "x-deadline-ms"
"""Milliseconds that the caller of this request will still wait; a whole number."""
NO_RETRY_HEADER = "x-no-retry"
"""``1``: do not send this request again, neither here nor elsewhere."""

_MILLISECONDS = re.compile(r"-?\d{1,12}", re.ASCII)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)  # RFC 9110 5.6.2

# Why a Retry stops although another attempt was wanted.
_EXHAUSTED = frozenset(
    {"attempts", "budget", "deadline", "marked", "no other endpoint", "rejected", "retry-after", "stop"}
)


def milliseconds(left: float, /) -> str | None:
    """Return the header's value for so many seconds left, at least 1; None when there is no end."""
    # Rounded down: the other side shall not work for longer than somebody waits.
    return None if left == float("inf") else str(max(1, int(left * 1000.0)))


def seconds_left(value: str | None, /) -> float | None:
    """Return the seconds that a header's value leaves, negative ones too; None when it is absent or malformed."""
    found = None if value is None else _MILLISECONDS.fullmatch(value.strip(" \t"))  # RFC 9110 5.6.3
    return None if found is None else int(found[0]) / 1000.0


def header_name(argument: str, value: object, /) -> str:
    """Return the name of a header in lower case; raises ConfigurationError for what cannot be one (RFC 9110 5.1)."""
    expected = "the name of a header, such as 'x-deadline-ms'"
    require(argument, value, expected, is_header_name)
    return str(value).lower()


def is_header_name(value: object, /) -> bool:
    """Tell whether this can be the name of a header."""
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


class Inbound:
    """A request that this process is answering, as far as its own calls have something to say about the answer."""

    __slots__ = ("exhausted",)

    def __init__(self) -> None:
        self.exhausted = False
        """One of its calls failed for good: whoever asks again would have the same tried again."""


inbound: ContextVar[Inbound | None] = ContextVar("resilience_inbound", default=None)


def gave_up(why: str, /) -> None:
    """Note that a call has failed for good, and why; of use where a request is being answered."""
    answering = inbound.get()
    if answering is not None and why in _EXHAUSTED:
        answering.exhausted = True


def do_not_retry() -> None:
    """Mark the answer to the request that is being answered: it is of no use to send it again.

    For handlers behind the middleware of ``resilience.server``; elsewhere it does nothing. Acts on answers of 500 and
    above.
    """
    answering = inbound.get()
    if answering is not None:
        answering.exhausted = True
