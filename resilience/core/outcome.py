"""What became of an attempt: ``Ok | Err``, and the one verdict that every room reads.

A classifier turns an outcome into a :class:`Verdict`; circuit, balancer, latency estimate, budget and log all act on
that same value. This file knows nothing of HTTP: the table of status codes and exceptions is in ``http/classify.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Ok(Generic[T_co]):
    """A call that returned; `value` is what it returned, or what a fallback has answered in the place of `failure`."""

    value: T_co
    failure: Exception | None = None


@dataclass(frozen=True, slots=True)
class Err:
    """A call that raised; `error` is an ``Exception``, never a cancellation or an interpreter exit."""

    error: Exception


class Blame(Enum):
    """Does this outcome speak for or against the endpoint? UNKNOWN says nothing about it."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"


class Sent(Enum):
    """How far the request got: NO is a proof that nothing left, MAYBE is the absence of one."""

    NO = "no"
    MAYBE = "maybe"
    ANSWERED = "answered"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one attempt means for everybody.

    `retry` asks for another attempt (who may repeat what is checked by the retry policy, not here). `retry_after`, in
    seconds, is the server's own wish. The last five refine the rule for single rows of the verdict table.
    """

    blame: Blame
    retry: bool
    sent: Sent
    retry_after: float | None = None
    consecutive: bool = True
    """BAD counts towards a circuit's consecutive failures too, not only in its ratio (false for a 500)."""
    elsewhere: bool = False
    """Another attempt makes sense at another endpoint only (a certificate that is not valid for the name)."""
    binds_service: bool = False
    """`retry_after` speaks for the whole service (429), not for this endpoint alone (503)."""
    stale: bool = False
    """An idle connection turned out to be closed on reuse: repeated once, at once, on a new connection, for free."""
    final: bool = False
    """The answer itself says that it is of no use to try again; then no policy's own list makes anybody do so."""


GOOD = Verdict(Blame.GOOD, retry=False, sent=Sent.ANSWERED)
BAD = Verdict(Blame.BAD, retry=True, sent=Sent.MAYBE)
UNKNOWN = Verdict(Blame.UNKNOWN, retry=False, sent=Sent.MAYBE)
