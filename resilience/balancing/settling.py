"""How attempts end: one verdict each, for circuit, latency estimate, balancer and listeners, and a slot given back."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from resilience.balancing.outage import Outage
from resilience.core.events import AttemptEnded, CircuitChanged
from resilience.core.outcome import Blame, Sent
from resilience.core.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilience.core.attempt import Attempt
    from resilience.core.endpoint import Endpoint
    from resilience.core.events import Event
    from resilience.core.outcome import Verdict
    from resilience.core.ports import Balancer, Circuit
    from resilience.core.slots import Line, Slots


class CircuitWatch(Protocol):
    """Somebody who watches circuits more closely than events tell."""

    def begun(self, attempt: Attempt, request: object, /) -> None:
        """Hear that an attempt is about to be sent."""
        ...

    def ended(self, attempt: Attempt, verdict: Verdict, /) -> None:
        """Hear how an attempt went."""
        ...

    def changed(self, endpoint: Endpoint, transition: Any, /) -> None:  # noqa: ANN401 - the circuit's own Transition
        """Hear that a circuit has changed its state."""
        ...


class Settling:
    """The half of a room that is told how its attempts end."""

    def __init__(
        self,
        service: str,
        balancer: Balancer,
        line: Line,
        emit: Callable[[Event], None],
        hears: Callable[[int], bool],
        total: Slots | None = None,
    ) -> None:
        self.service = service
        self.balancer = balancer
        self.line = line
        self.total = total
        """What all services of a client may have in flight together; None for no such limit."""
        self.attempts: Tally = Tally()
        self.streams: set[Attempt] = set()
        """Attempts whose body is with the caller."""
        self.on_verdict: Callable[[Endpoint, Verdict], None] | None = None
        """Told of each verdict."""
        self.on_closed: Callable[[Endpoint], None] | None = None
        """Told of each circuit that has closed again."""
        self.watch: CircuitWatch | None = None
        """Told of circuits in pybreaker's words; None where nobody listens."""
        self.counts: Callable[[Attempt], bool] | None = None
        """Tells whether an attempt counts in circuits; None when all do."""
        self.outage: Outage = Outage()
        self._abandoned: deque[tuple[Attempt, Verdict]] = deque()
        self._emit = emit
        self._hears = hears
        self._observe = getattr(balancer, "observe", None)

    def abandon(self, attempt: Attempt, verdict: Verdict) -> None:
        """Have an attempt settled soon: its body was collected as garbage.

        That happens at any moment, in any thread, in the midst of our own locked sections: so here nothing is locked,
        and somebody else settles, woken if need be.
        """
        self._abandoned.append((attempt, verdict))
        for line in (self.line,) if self.total is None else (self.line, self.total.line):
            try:
                line.waiters[0].gate.open()
            except IndexError:
                continue

    @property
    def unsettled(self) -> bool:
        """Tell whether anything was abandoned since `settle_abandoned`."""
        return bool(self._abandoned)

    def settle_abandoned(self) -> None:
        """Settle what was abandoned since."""
        while self._abandoned:
            try:
                attempt, verdict = self._abandoned.popleft()
            except IndexError:  # another thread was faster
                return
            attempt.settle(verdict, attempt.answered or attempt.started)

    def _release(self, attempt: Attempt) -> None:
        self.streams.discard(attempt)
        self._free(attempt.endpoint)

    def _free(self, endpoint: Endpoint) -> None:
        endpoint.slots.give_back()
        if self.total is not None:
            self.total.give_back()

    def _judge(self, attempt: Attempt, verdict: Verdict, now: float) -> None:
        endpoint = attempt.endpoint
        if verdict.blame is not Blame.UNKNOWN:
            endpoint.answers = verdict.blame is Blame.GOOD
        if attempt.answered is not None:
            endpoint.observe(attempt.answered - attempt.started, answered=True)
        elif verdict.sent is not Sent.NO and verdict.blame is Blame.BAD:
            endpoint.observe(now - attempt.started)
        if attempt.permit is not None and endpoint.circuit is not None:
            self._count(attempt, endpoint.circuit, verdict, now)
        if self.on_verdict is not None:
            self.on_verdict(endpoint, verdict)
        if self._observe is not None:
            self._observe(endpoint, (attempt.answered or now) - attempt.started, verdict, now)
        if self._hears(10):
            error = None if attempt.error is None else type(attempt.error).__name__
            self._emit(
                AttemptEnded(
                    self.service,
                    endpoint.label,
                    attempt.number,
                    verdict.blame.value,
                    now - attempt.started,
                    attempt.status,
                    error,
                )
            )

    def _count(self, attempt: Attempt, circuit: Circuit, verdict: Verdict, now: float) -> None:
        if self.counts is not None and not self.counts(attempt):
            verdict = replace(verdict, blame=Blame.UNKNOWN)
        for transition in circuit.settle(attempt.permit, verdict, now=now):
            self.changed(attempt.endpoint, transition)
        if self.watch is not None:
            self.watch.ended(attempt, verdict)

    def changed(self, endpoint: Endpoint, transition: Any) -> None:  # noqa: ANN401 - the circuit's own Transition
        """Tell everybody that a circuit has changed its state."""
        self._emit(
            CircuitChanged(self.service, endpoint.label, transition.state, transition.reason, transition.open_for)
        )
        if self.watch is not None:
            self.watch.changed(endpoint, transition)
        circuit = endpoint.circuit
        if transition.state == "closed" and (circuit is None or circuit.binding):
            self.outage.closed()
            if self.on_closed is not None:
                self.on_closed(endpoint)
        # Whoever waits for a slot here should hear of it: to fail fast, or to come in.
        self.line.stir()
