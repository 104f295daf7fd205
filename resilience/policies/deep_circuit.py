"""A circuit that also minds slow calls, starts slowly after closing, and can be overruled by hand.

Three additions to the machine of ``circuit.py``, for those who ask for them; its fast ways are closed here.

- A call counts as slow the moment it has been under way for `slow_after`, not when it ends: what hangs opens the
  circuit while it hangs (resilience4j#1597, Sentinel#1405).
- After closing, `slow_start` bounds how many calls are in flight: as many as there were probes, and one more with each
  success, so that the number doubles with each round trip. No stampede (Hystrix#1647, Polly#239).
- A mode: forced open, disabled (everything passes, nothing counts), or shadow (everything passes, and the machine moves
  and tells as if it mattered).
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict
from enum import Enum
from typing import TYPE_CHECKING

from resilience.core.outcome import BAD, Blame
from resilience.policies.circuit import Circuit
from resilience.policies.permits import CLOSED, OPEN, Permit, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilience.core.outcome import Verdict
    from resilience.policies.permits import CircuitOptions, Transition

_SLICES = 10
_NOWHERE = -1
"""The generation of permits that count nowhere."""


class Mode(Enum):
    """Who decides: the circuit itself, or somebody who has overruled it."""

    NORMAL = "normal"
    FORCED_OPEN = "forced-open"
    DISABLED = "disabled"
    SHADOW = "shadow"


class DeepCircuit(Circuit):
    """One circuit's state, with slow calls, slow start and modes. `now` comes in as an argument, never going back."""

    __slots__ = (
        "_calls", "_flying", "_hanging", "_now", "_pending", "_ramp", "_ramp_until", "_slow", "_turned", "mode",
    )  # fmt: skip

    def __init__(
        self,
        options: CircuitOptions,
        *,
        sole: bool = False,
        draw: Callable[[], float] = random.random,
        mode: Mode = Mode.NORMAL,
    ) -> None:
        super().__init__(options, sole=sole, draw=draw)
        self.mode = mode
        if mode is Mode.FORCED_OPEN:
            self.state, self.relents_at = OPEN, math.inf
        self._flying: OrderedDict[Permit, float] = OrderedDict()
        """Calls under way that are not slow yet, by when they began, oldest first."""
        self._hanging: set[Permit] = set()
        """Calls under way that are slow."""
        self._calls = [0] * _SLICES
        """Calls whose speed is known: slow, or over before they could be."""
        self._slow = [0] * _SLICES
        self._turned = 0
        self._pending: list[Transition] = []
        self._now = 0.0
        self._ramp = math.inf
        self._ramp_until = -math.inf

    # Asking.

    @property
    def binding(self) -> bool:
        """Whether calls go by the state: not in shadow."""
        return self.mode is not Mode.SHADOW

    def admit_closed(self) -> Permit | None:
        """Hand out nothing: there is more to look at."""
        return None

    def would_admit(self, now: float, /) -> bool:
        """Say whether `admit` would let a call through, without changing anything."""
        if self.mode is not Mode.NORMAL:
            return self.mode is not Mode.FORCED_OPEN
        if self.state is CLOSED:
            with self._lock:
                return self._ramp_room_locked(now)
        return super().would_admit(now)

    def retry_after(self, now: float, /) -> float:
        """Return seconds until a call is let through; infinite when the circuit is forced open."""
        if self.mode is not Mode.NORMAL:
            return math.inf if self.mode is Mode.FORCED_OPEN else 0.0
        if self.state is CLOSED:
            return 0.0 if self.would_admit(now) else self._soon(now)
        return super().retry_after(now)

    def refuses(self, now: float, /) -> float:
        """Return the seconds for which calls are refused; not above 0 when one is let in now."""
        return self.retry_after(now)

    def admit(self, now: float, /) -> Permit | Rejected:
        """Hand out leave for one call; calls that have become slow meanwhile are counted first."""
        if self.mode is Mode.DISABLED:
            return Permit(_NOWHERE)
        if self.mode is Mode.FORCED_OPEN:
            return Rejected(math.inf)
        answer: Permit | Rejected | None = None
        with self._lock:
            self._look_locked(now)
            if self.state is CLOSED:
                room = self._ramp_room_locked(now)
                permit = Permit(self._generation, self._failures)
                answer = self._fly_locked(permit, now) if room else Rejected(self._soon(now))
        if answer is None:
            answer = super().admit(now)
            if isinstance(answer, Permit):
                with self._lock:
                    self._fly_locked(answer, now)
        return Permit(_NOWHERE) if isinstance(answer, Rejected) and self.mode is Mode.SHADOW else answer

    # Telling.

    def succeeded(self, permit: Permit, now: float, /) -> bool:  # noqa: ARG002
        """Count nothing: `settle` has to look closer."""
        return False

    def settle(self, permit: Permit, verdict: Verdict, /, *, now: float) -> tuple[Transition, ...]:
        """Count the verdict of one permitted call, and how long it took."""
        if permit.generation == _NOWHERE:
            return self.drain()
        with self._lock:
            self._look_locked(now)
            current = permit.generation == self._generation and not permit.spent
            in_time = self._flying.pop(permit, None) is not None
            self._hanging.discard(permit)
            closed = current and self.state is CLOSED
            if closed and in_time and verdict.blame is not Blame.UNKNOWN:
                self._calls[self._turned % _SLICES] += 1
        if current and permit.probe and not in_time and self.options.slow_after is not None:
            verdict = BAD if verdict.blame is Blame.GOOD else verdict  # a slow probe proves nothing good
        transitions = super().settle(permit, verdict, now=now)
        if closed and verdict.blame is Blame.GOOD:
            with self._lock:
                self._ramp += 1
        return (*self.drain(), *transitions)

    def drain(self) -> tuple[Transition, ...]:
        """Return the changes that nobody has been told of yet."""
        if not self._pending:
            return ()
        with self._lock:
            pending, self._pending = self._pending, []
        return tuple(pending)

    def invite(self, now: float, /, reason: str = "a health check passed") -> tuple[Transition, ...]:
        """Let probes in at once, unless the circuit was forced open."""
        return () if self.mode is Mode.FORCED_OPEN else super().invite(now, reason)

    def force(self, state: str, now: float, /) -> tuple[Transition, ...]:
        """Put the circuit into a state by hand; it goes on from there by its own rules."""
        self._now = max(self._now, now)
        self.mode = self.mode if self.mode is Mode.SHADOW else Mode.NORMAL
        return super().force(state, now)

    def put(self, mode: Mode, now: float, /) -> tuple[Transition, ...]:
        """Change the mode. Forced open: open; disabled, or normal after either: closed, with a clean slate."""
        before = self.mode
        transitions: tuple[Transition, ...] = ()
        if mode is Mode.FORCED_OPEN:
            transitions = self.force(OPEN, now)
            self.relents_at = math.inf
        elif mode is Mode.DISABLED or before in {Mode.FORCED_OPEN, Mode.DISABLED}:
            transitions = self.force(CLOSED, now)
            if not transitions:  # it was closed already: all the same, what it has let in counts no more
                with self._lock:
                    self._forget_locked()
                    super()._enter_locked(CLOSED, "by hand")
        self.mode = mode
        return transitions

    def succeeding(self, other: Circuit, now: float, /) -> DeepCircuit:
        """Take over another circuit's state; what it has let in counts for nobody any more."""
        self.force(other.state, now)
        self._generation = other._generation + 1  # noqa: SLF001 - its own kind
        return self

    def slow_counts(self, now: float, /) -> tuple[int, int]:
        """Return (calls whose speed is known, slow calls) within the window."""
        with self._lock:
            self._look_locked(now)
            return sum(self._calls), sum(self._slow)

    # The rules; called with the lock held.

    def _fly_locked(self, permit: Permit, now: float) -> Permit:
        self._flying[permit] = now
        return permit

    def _ramp_room_locked(self, now: float) -> bool:
        return now >= self._ramp_until or len(self._flying) + len(self._hanging) < self._ramp

    def _soon(self, now: float) -> float:
        return max(0.0, min(self.options.open_for, self._ramp_until - now))

    def _look_locked(self, now: float) -> None:
        """Count what has become slow since the last look, and open if that is too much."""
        self._now = max(self._now, now)
        number = int(now / self._width)
        for passed in range(max(self._turned + 1, number - _SLICES + 1), number + 1):
            self._calls[passed % _SLICES] = self._slow[passed % _SLICES] = 0
        self._turned = max(self._turned, number)
        limit = self.options.slow_after
        if limit is None:
            return
        crossed = 0
        while self._flying:
            permit, began = next(iter(self._flying.items()))
            if now - began < limit:
                break
            del self._flying[permit]
            self._hanging.add(permit)
            crossed += not permit.probe  # a probe is judged when it ends, or loses its lease
        if not crossed or self.state is not CLOSED:
            return
        self._calls[self._turned % _SLICES] += crossed
        self._slow[self._turned % _SLICES] += crossed
        calls, slow = sum(self._calls), sum(self._slow)
        if calls >= self.options.minimum_calls and slow >= self.options.slow_ratio * calls:
            reason = f"{slow} of {calls} calls took longer than {limit:g} s within {self.options.window:g} s"
            self._pending += self._open_locked(now, reason)

    def _forget_locked(self) -> None:
        self._flying.clear()
        self._hanging.clear()
        self._calls = [0] * _SLICES
        self._slow = [0] * _SLICES

    def _enter_locked(self, state: str, reason: str) -> Transition:
        self._forget_locked()
        if state is CLOSED and self.options.slow_start is not None:
            self._ramp = self.options.probes
            self._ramp_until = self._now + self.options.slow_start
        return super()._enter_locked(state, reason)


def circuit_for(
    options: CircuitOptions, *, draw: Callable[[], float] = random.random, mode: Mode = Mode.NORMAL
) -> Circuit:
    """Return the plain machine, which is faster, unless the options or the mode need the other."""
    if options.slow_after is None and options.slow_start is None and mode is Mode.NORMAL:
        return Circuit(options, draw=draw)
    return DeepCircuit(options, draw=draw, mode=mode)
