"""Which of several sends of one call wins, and when the next one is made: the decision behind ``Hedge``.

What a failure means follows Finagle's backup requests and gRFC A6: the winner is the first success, a failure that can
be mended fires the next send at once, and a server that asks for a pause gets no more sends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from resilience.core.errors import RejectedError
from resilience.core.outcome import Blame, Err

if TYPE_CHECKING:
    from resilience.core.outcome import Ok, Verdict


class Ending(Enum):
    """What one send came to."""

    ACCEPTED = "accepted"
    """An answer that the caller can use: it wins."""
    FAILED = "failed"
    """A failure that another send may mend: it does not win, and the next one need not be waited for."""
    FINAL = "final"
    """A failure that another send would not mend, or must not try to: no more are made."""
    REJECTED = "rejected"
    """Turned away before anything was sent: no more are made, and anything else that happened counts for more."""


def ending_of(outcome: Ok[Any] | Err, verdict: Verdict, /) -> Ending:
    """Return what an outcome and its verdict mean for the race."""
    if isinstance(outcome, Err) and isinstance(outcome.error, RejectedError):
        return Ending.REJECTED
    if verdict.retry:
        return Ending.FAILED if verdict.retry_after is None else Ending.FINAL
    return Ending.FINAL if isinstance(outcome, Err) or verdict.blame is not Blame.GOOD else Ending.ACCEPTED


@dataclass(frozen=True, slots=True)
class Send:
    """Make one more send, now; `beside` one that is still under way, or in the place of one that failed."""

    beside: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for a send to end, until that instant at the longest."""

    until: float


@dataclass(frozen=True, slots=True)
class Take:
    """The call is over: hand over what that send came to."""

    number: int


class Race:
    """The sends of one call, numbered from 0 by the order in which they began. Pure: `now` comes in as an argument.

    `after`: seconds from one send to the next; `most`: sends in all.
    """

    __slots__ = ("_after", "_endings", "_hurry", "_last", "_most", "_sent", "_winner")

    def __init__(self, *, after: float, most: int) -> None:
        self._after = after
        self._most = most
        self._sent = 0
        self._last = 0.0
        self._hurry = False
        self._endings: dict[int, Ending] = {}
        self._winner: int | None = None

    def began(self, now: float, /) -> int:
        """Count one send, and return its number."""
        self._last = now
        self._hurry = False
        self._sent += 1
        return self._sent - 1

    def postpone(self, now: float, /) -> None:
        """Begin the time until the next send anew, a failure's haste or not: now it would be of no use."""
        self._last = now
        self._hurry = False

    def close(self) -> None:
        """Make no more sends: none is allowed, or paid for."""
        self._most = self._sent

    def ended(self, number: int, ending: Ending, /) -> None:
        """Take note of what a send came to."""
        self._endings[number] = ending
        if ending is Ending.ACCEPTED:
            if self._winner is None:
                self._winner = number
        elif ending is Ending.FAILED:
            self._hurry = True
        else:
            self.close()

    def next(self, now: float, /) -> Send | Wait | Take:
        """Decide what comes next; at least one send has begun."""
        if self._winner is not None:
            return Take(self._winner)
        under_way = self._sent - len(self._endings)
        due = math.inf
        if self._sent < self._most:
            due = now if self._hurry else self._last + self._after
            if now >= due:
                return Send(beside=under_way > 0)
        if under_way:
            return Wait(due)
        # All have failed. The latest real failure says most; a rejection only where there is nothing else.
        real = [number for number, ending in self._endings.items() if ending is not Ending.REJECTED]
        return Take((real or list(self._endings))[-1])
