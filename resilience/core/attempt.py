"""The settle-once token of one attempt: its permit, its slot, its start, and in the end its one verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilience.core.endpoint import Endpoint
    from resilience.core.outcome import Verdict
    from resilience.core.ports import Permit, Wire


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """What is kept of one attempt: in the record of a response, and on errors. Durations are seconds."""

    number: int
    endpoint: str | None
    """``host:port``; None for a function's attempts."""
    duration: float | None
    """To the verdict; None while the attempt is under way."""
    waited: float
    """Backoff before it."""
    blame: str | None
    status: int | None = None
    error: str | None = None

    def __str__(self) -> str:
        """Return one line for a traceback's notes."""
        what = str(self.status) if self.status is not None else self.error or "no answer"
        where = f" at {self.endpoint}" if self.endpoint else ""
        took = f" after {self.duration:.3f} s" if self.duration is not None else ""
        waited = f", having waited {self.waited:.3f} s" if self.waited else ""
        return f"attempt {self.number}{where}: {what}{took}{waited}"


class Attempt:
    """One send to one endpoint. Whatever ends it, it is judged once and gives its slot back once.

    Judging feeds the verdict to circuit, latency estimate and listeners; it happens at the headers for a circuit's
    probe and otherwise with the end of the body. The slot is given back when the body is done. Both are safe to call
    again, from any thread: the first call wins, the others do nothing.
    """

    __slots__ = (
        "_abandon",
        "_judge",
        "_release",
        "answered",
        "body_pending",
        "ended",
        "endpoint",
        "error",
        "in_flight",
        "number",
        "permit",
        "started",
        "status",
        "until",
        "verdict",
        "waited",
        "wire",
    )

    in_flight: int
    """What its endpoint had in flight at its start, itself included; set only where a limit learns from it."""

    def __init__(
        self,
        number: int,
        endpoint: Endpoint,
        started: float,
        permit: Permit | None,
        judge: Callable[[Attempt, Verdict, float], None],
        release: Callable[[Attempt], None],
        abandon: Callable[[Attempt, Verdict], None] | None = None,
    ) -> None:
        self.number = number
        """1-based; counts the first."""
        self.endpoint = endpoint
        self.started = started
        self.permit = permit
        self.waited = 0.0
        """Seconds of backoff before this attempt."""
        self.until = math.inf
        """The instant at which this attempt gives up waiting for its headers."""
        self.answered: float | None = None
        """When its headers were there."""
        self.ended: float | None = None
        self.verdict: Verdict | None = None
        """What the headers said, then what the whole said."""
        self.status: int | None = None
        self.error: BaseException | None = None
        self.wire: Wire | None = None
        """What our own stream saw of it: bytes written and read, on a new or a reused connection."""
        self.body_pending = False
        """The reply's body is still to be read: whoever holds it settles this attempt."""
        # One-element lists as flags: list.pop() is atomic, so two threads cannot both be first.
        self._judge = [judge]
        self._release = [release]
        self._abandon = abandon

    def judge(self, verdict: Verdict, now: float, /) -> bool:
        """Feed the verdict to everybody; false when it had been judged already."""
        try:
            judge = self._judge.pop()
        except IndexError:
            return False
        self.verdict = verdict
        self.ended = now
        judge(self, verdict, now)
        return True

    def settle(self, verdict: Verdict, now: float, /) -> None:
        """Judge, unless that is done, and give the slot back, unless that is done."""
        try:
            self.judge(verdict, now)
        finally:
            try:
                release = self._release.pop()
            except IndexError:
                pass
            else:
                release(self)

    def abandon(self, verdict: Verdict) -> None:
        """Have somebody else settle it soon. Takes no lock: for ``__del__``, which runs in the midst of anything."""
        if self._abandon is not None:
            self._abandon(self, verdict)

    @property
    def settled(self) -> bool:
        """Has the slot been given back?"""
        return not self._release

    def record(self) -> AttemptRecord:
        """Return what is to be kept of it."""
        return AttemptRecord(
            number=self.number,
            endpoint=self.endpoint.label,
            duration=None if self.ended is None else self.ended - self.started,
            waited=self.waited,
            blame=None if self.verdict is None else self.verdict.blame.value,
            status=self.status,
            error=None if self.error is None else type(self.error).__name__,
        )
