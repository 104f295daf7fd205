"""The circuit: closed, open, half-open; a pure state machine that cannot wedge and cannot lie.

::

                 ratio or run of failures                    a probe fails: wait doubles
    ┌────────┐ ───────────────────────────▶ ┌──────┐ ◀──────────────────────────────── ┌───────────┐
    │ closed │                              │ open │                                   │ half-open │
    └────────┘                              └──────┘ ────────────────────────────────▶ └───────────┘
         ▲                                             its wait is over, or invited          │
         └───────────────────────────────────────────────────────────────────────────────────┘
                                         `probes` probes succeed

Every permit is one-shot and stamped with the state's generation, so a result from an earlier state changes nothing. A
probe without a verdict gives its place back; one that never returns loses it when its lease ends.
"""

from __future__ import annotations

import math
import random
import sys
import threading
from typing import TYPE_CHECKING, Any

from resilience.core.outcome import Blame, Sent
from resilience.core.tally import Tally
from resilience.policies.permits import CLOSED, HALF_OPEN, OPEN, Permit, ProbePermit, Rejected, Transition

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilience.core.outcome import Verdict
    from resilience.policies.permits import CircuitOptions

# A probe that has not come back after this long counts as lost: the default deadline of a call (30 s).
PROBE_LEASE = 30.0
# The only endpoint of a service is never shut out for longer than this, in seconds: there is nowhere else to go.
SOLE_MAX_OPEN = 5.0
_SLICES = 10
_BEFORE = -sys.maxsize  # the slice of a circuit that has heard no verdict yet
_EMPTY = Tally()  # stands for slices without calls; never stepped, because the newest slice has one of its own
_UNUSED: list[Any] = []  # the counters of a circuit that has heard no verdict yet; never written to


class Circuit:
    """One circuit's state. `now` comes in as an argument; `draw` gives random numbers in [0, 1).

    `sole` is set while the endpoint is its service's only one: then only failed *connects* count as consecutive
    failures, and it opens for at most 5 s at a time.
    """

    __slots__ = (
        "_bad", "_before_run", "_draw", "_failures", "_generation", "_good", "_lock", "_newest", "_openings", "_passed",
        "_probes", "_slice", "_until", "_width", "options", "relents_at", "sole", "state",
    )  # fmt: skip

    def __init__(
        self, options: CircuitOptions, *, sole: bool = False, draw: Callable[[], float] = random.random
    ) -> None:
        self.options = options
        self.sole = sole
        self.state = CLOSED
        self.relents_at = -math.inf
        """When it has been open for `open_for`: what is left of its wait then is back-off."""
        self._draw = draw
        self._lock = threading.Lock()
        self._generation = 0
        self._width = max(options.window / _SLICES, 1e-6)  # finer slices would have numbers beyond floats
        # Counters are made for the first verdict: of ten thousand endpoints few are called before they leave.
        self._slice = _BEFORE
        self._good: list[Tally] = _UNUSED
        """Counted without the lock: most calls succeed, and every one of them comes by here."""
        self._newest: tuple[Callable[[], int], float] = (int, -math.inf)
        """What counts a success in the newest slice, and when that ends: read and replaced as one."""
        self._bad: list[int] = _UNUSED
        self._failures = 0
        """Failures that count towards a run, ever: only raised, and under the lock."""
        self._before_run = 0
        """How many of them came before the latest success; a success sets it without the lock."""
        self._openings = 0
        """How often it opened since it was last closed: the exponent of the back-off."""
        self._until = 0.0
        self._probes: list[Permit] = _UNUSED
        """Probes under way, in the half-open state."""
        self._passed = 0
        """Probes that succeeded in this half-open round."""

    # Asking.

    @property
    def binding(self) -> bool:
        """Whether calls go by the state: here they do."""
        return True

    def would_admit(self, now: float, /) -> bool:
        """Say whether `admit` would let a call through, without changing anything."""
        if self.state is CLOSED:
            return True
        with self._lock:
            return self._room_locked(now)

    def retry_after(self, now: float, /) -> float:
        """Return seconds until a call is let through; 0 when it is now."""
        if self.state is CLOSED:
            return 0.0
        with self._lock:
            return self._wait_locked(now)

    def refuses(self, now: float, /) -> float:
        """Return the seconds for which calls are refused; not above 0 when one is let in now. No lock while open."""
        return self._until - now if self.state is OPEN else self.retry_after(now)

    def admit(self, now: float, /) -> Permit | Rejected:
        """Hand out leave for one call. An open circuit whose wait is over becomes half-open here."""
        if self.state is CLOSED:
            return Permit(self._generation, self._failures)
        with self._lock:
            if self.state is CLOSED:
                return Permit(self._generation, self._failures)
            if not self._room_locked(now):
                return Rejected(self._wait_locked(now))
            transition = self._enter_locked(HALF_OPEN, "its wait is over") if self.state is OPEN else None
            self._probes = [probe for probe in self._probes if probe.lease_until > now]
            permit = ProbePermit(self._generation, now + PROBE_LEASE, transition)
            self._probes.append(permit)
            return permit

    def admit_closed(self) -> Permit | None:
        """Hand out leave for one call if the circuit is closed: without the lock, and without a clock."""
        # Stamped before the look at the state: should it open in between, the permit is of the past and counts nowhere.
        permit = Permit(self._generation, self._failures)
        return permit if self.state is CLOSED else None

    # Telling.

    def succeeded(self, permit: Permit, now: float, /) -> bool:
        """Count a plain success without the lock; false, and nothing is counted, where `settle` has to look closer."""
        succeed, ends = self._newest  # before the look at the generation: what it counts in is not of a later one
        if now >= ends or permit.generation != self._generation or self.state is not CLOSED or permit.spent:
            return False
        permit.spent = True
        succeed()
        if self._before_run != self._failures:
            self._before_run = self._failures
        return True

    def settle(self, permit: Permit, verdict: Verdict, /, *, now: float) -> tuple[Transition, ...]:
        """Count the verdict of one permitted call; the second verdict of a permit changes nothing."""
        if verdict.blame is Blame.GOOD and self.succeeded(permit, now):
            return ()
        with self._lock:
            if permit.spent or permit.generation != self._generation:
                return ()
            permit.spent = True
            if permit.probe:
                return self._settle_probe_locked(permit, verdict, now)
            if self.state is not CLOSED or verdict.blame is Blame.UNKNOWN:
                return ()
            if (number := int(now / self._width)) > self._slice:
                self._turn_locked(number)
            if verdict.blame is Blame.GOOD:
                self._good[self._slice % _SLICES].step()
                self._before_run = self._failures
                return ()
            self._bad[self._slice % _SLICES] += 1
            return self._failed_locked(permit, verdict, now)

    def drain(self) -> tuple[Transition, ...]:
        """Return the changes that nobody has been told of yet: here there are none."""
        return ()

    def invite(self, now: float, /, reason: str = "a health check passed") -> tuple[Transition, ...]:
        """Let probes in at once, because something else has seen the endpoint alive, or there is nowhere else to go."""
        with self._lock:
            if self.state is not OPEN or self._until <= now:
                return ()
            return (self._enter_locked(HALF_OPEN, reason),)

    def force(self, state: str, now: float, /) -> tuple[Transition, ...]:
        """Put the circuit into a state by hand; it goes on from there by its own rules."""
        with self._lock:
            if state != self.state:
                return self._open_locked(now, "by hand") if state is OPEN else (self._enter_locked(state, "by hand"),)
            if state is OPEN:  # its wait may be nearly over, or over and nobody has come since
                wait = min(self.options.open_for, SOLE_MAX_OPEN) if self.sole else self.options.open_for
                self._until = max(self._until, now + wait)
            return ()

    @property
    def failures_in_a_row(self) -> int:
        """Failures since the last success, without those that were let in before an earlier run had ended.

        Since those began it has failed, and answered: they are no news. Else calls of a kind that hangs, beside others
        that are answered, would fail by the dozen when their time is over, and five of them in a row are soon met.
        """
        return self._failures - self._before_run

    @property
    def probes_passed(self) -> int:
        """Probes that have succeeded in this half-open round."""
        return self._passed

    def counts(self, now: float, /) -> tuple[int, int]:
        """Return (good, bad) verdicts within the window."""
        with self._lock:
            if (number := int(now / self._width)) > self._slice:
                self._turn_locked(number)
            return self._successes(), sum(self._bad)

    # The rules; called with the lock held.

    def _room_locked(self, now: float) -> bool:
        if self.state is OPEN:
            return now >= self._until
        if self.state is CLOSED:
            return True
        under_way = sum(1 for probe in self._probes if probe.lease_until > now)
        # One at least, should fewer probes be asked for than have passed meanwhile: the next to pass closes it.
        return under_way < max(1, self.options.probes - self._passed)

    def _wait_locked(self, now: float) -> float:
        if self.state is OPEN:
            return max(0.0, self._until - now)
        if self.state is CLOSED or self._room_locked(now):
            return 0.0
        # The probes decide, and nobody knows when; at the latest when the first lease ends. `open_for` is the honest
        # guess of a healthy round.
        first_lease = min(probe.lease_until for probe in self._probes) - now
        return max(0.0, min(first_lease, self.options.open_for))

    def _settle_probe_locked(self, permit: Permit, verdict: Verdict, now: float) -> tuple[Transition, ...]:
        if permit not in self._probes or permit.lease_until <= now:
            return ()  # its lease ended, and somebody else has its place
        self._probes.remove(permit)
        if verdict.blame is Blame.UNKNOWN:
            return ()
        if verdict.blame is Blame.BAD:
            return self._open_locked(now, "a probe failed")
        self._passed += 1
        if self._passed < self.options.probes:
            return ()
        return (self._enter_locked(CLOSED, f"{self._passed} probe{'s' * (self._passed > 1)} succeeded"),)

    def _failed_locked(self, permit: Permit, verdict: Verdict, now: float) -> tuple[Transition, ...]:
        options = self.options
        if verdict.consecutive and (not self.sole or verdict.sent is Sent.NO) and permit.failures >= self._before_run:
            self._failures += 1
        run = self._failures - self._before_run
        if run >= options.consecutive_failures:
            return self._open_locked(now, f"{run} failures in a row")
        bad = sum(self._bad)
        total = bad + self._successes()
        if total >= options.minimum_calls and bad >= options.failure_ratio * total:
            return self._open_locked(now, f"{bad} of {total} calls failed within {options.window:g} s")
        return ()

    def _open_locked(self, now: float, reason: str) -> tuple[Transition, ...]:
        options = self.options
        wait = min(options.max_open_for, options.open_for * 2.0 ** min(self._openings, 60))
        if self._openings:  # the first wait is as configured; later ones are spread: clients shall not probe in step
            wait = min(options.max_open_for, wait * (1.0 + 0.5 * self._draw()))
        if self.sole:
            wait = min(wait, SOLE_MAX_OPEN)
        self._openings += 1
        self._enter_locked(OPEN, reason)
        self._until = now + wait
        self.relents_at = now + min(wait, options.open_for)
        return (Transition(OPEN, reason, wait),)

    def _enter_locked(self, state: str, reason: str) -> Transition:
        self._generation += 1
        self._probes = []
        self._passed = 0
        self._before_run = self._failures
        if state is CLOSED:
            self._openings = 0
        if state is not OPEN:
            self._clear_locked()
        self.state = state
        return Transition(state, reason)

    def _clear_locked(self) -> None:
        self._good, self._bad = [_EMPTY] * _SLICES, [0] * _SLICES
        self._begin_locked()

    def _turn_locked(self, number: int) -> None:
        if not self._bad:
            self._clear_locked()
        for passed in range(max(self._slice + 1, number - _SLICES + 1), number + 1):
            self._good[passed % _SLICES], self._bad[passed % _SLICES] = _EMPTY, 0
        self._slice = number
        self._begin_locked()

    def _begin_locked(self) -> None:
        current = self._good[self._slice % _SLICES] = Tally()
        self._newest = (current.step, (self._slice + 1) * self._width)

    def _successes(self) -> int:
        return sum(tally.value for tally in self._good)
