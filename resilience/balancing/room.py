"""The room that picks an endpoint for each attempt, waits for a slot when all are taken, and settles what comes back.

Whoever enters leaves with exactly one settled attempt per send: a verdict for the circuit, the latency estimate and
the balancer, and a slot given back.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from resilience.core.attempt import Attempt
from resilience.core.call import Elsewhere
from resilience.core.errors import CircuitOpenError, DeadlineExceededError, NoEndpointsError, OverloadedError
from resilience.core.events import AttemptEnded, CircuitChanged
from resilience.core.outcome import UNKNOWN, Blame, Err, Ok, Sent, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resilience.core.call import RoutedCall
    from resilience.core.endpoint import Endpoint
    from resilience.core.events import Event
    from resilience.core.ports import Balancer, Proceed
    from resilience.core.slots import Line


class Room:
    """Endpoints of one service, and the filter that sends each attempt to one of them."""

    def __init__(
        self, service: str, balancer: Balancer, line: Line, emit: Callable[[Event], None], hears: Callable[[int], bool]
    ) -> None:
        self.service = service
        self.balancer = balancer
        self.line = line
        self.endpoints: tuple[Endpoint, ...] = ()
        self._emit = emit
        self._hears = hears
        self._observe = getattr(balancer, "observe", None)

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Take over a new set of endpoints."""
        self.endpoints = tuple(endpoints)
        self.balancer.update(endpoints)
        self.line.stir()

    # The filter.

    async def around(self, call: RoutedCall, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Send one attempt; a connection found closed on reuse is replaced at once, for free, once per call."""
        call.verdict = None
        attempt = self._begin(call) or await self._queue(call)
        while True:
            try:
                reply = await proceed(call)
            except Exception as error:
                verdict = self._failed(call, attempt, error)
                if not (verdict.stale and (call.repeatable or verdict.sent is Sent.NO) and not call.fresh):
                    raise
            except BaseException:
                self._cancelled(call, attempt)
                raise
            else:
                return self._answered(call, attempt, reply)
            call.fresh = True
            attempt = self._begin(call, attempt.endpoint) or await self._queue(call)

    def _answered(self, call: RoutedCall, attempt: Attempt, reply: Any) -> Any:  # noqa: ANN401
        now = call.runtime.now()
        call.fresh = False
        call.verdict = verdict = call.classify(Ok(reply), call)  # type: ignore[misc]  # a routed call has one
        if attempt.answered is None:
            attempt.answered = now
        if not attempt.body_pending:
            attempt.settle(verdict, now)
        elif attempt.permit is not None and attempt.permit.probe:
            attempt.judge(verdict, now)  # a probe answers at its headers: nobody should wait for a long body
        else:
            attempt.verdict = verdict
        return reply

    def _failed(self, call: RoutedCall, attempt: Attempt, error: Exception) -> Verdict:
        attempt.error = error
        call.verdict = verdict = call.classify(Err(error), call)  # type: ignore[misc]
        attempt.settle(verdict, call.runtime.now())
        return verdict

    def _cancelled(self, call: RoutedCall, attempt: Attempt) -> None:
        now = call.runtime.now()
        elapsed, usual = now - attempt.started, attempt.endpoint.latency
        # All that is known is that it takes at least this long.
        if usual is None or elapsed > usual:
            attempt.endpoint.observe(elapsed)
        attempt.settle(UNKNOWN, now)

    # Picking.

    def _begin(self, call: RoutedCall, preferred: Endpoint | None = None) -> Attempt | None:
        now = call.runtime.now()
        if preferred is not None and preferred.ready(now):
            attempt = self._enter(call, preferred, now)
            if attempt is not None:
                return attempt

        def usable(endpoint: Endpoint) -> bool:
            return endpoint.ready(now)

        pick = self.balancer.pick
        if not call.repeatable:
            # Probes prefer calls that may be repeated: those that may not go to closed circuits while there are any.
            endpoint = pick(call, lambda e: e.ready(now) and (e.circuit is None or e.circuit.state == "closed"))
            if endpoint is not None:
                attempt = self._enter(call, endpoint, now)
                if attempt is not None:
                    return attempt
        if call.tried and self._only_full(call, now):
            return None
        # Between asking and taking, somebody else may have been faster: ask again, as often as there are endpoints.
        for _ in range(len(self.endpoints) + 1):
            endpoint = pick(call, usable)
            if endpoint is None:
                return None
            attempt = self._enter(call, endpoint, now)
            if attempt is not None:
                return attempt
        return None

    def _only_full(self, call: RoutedCall, now: float) -> bool:
        """Tell whether endpoints that the call has not tried are open, but all of them are full."""
        untried = [e for e in self.endpoints if e not in call.tried and e.open_to(now)]
        return bool(untried) and not any(e.slots.taken < e.slots.limit for e in untried)

    def _enter(self, call: RoutedCall, endpoint: Endpoint, now: float) -> Attempt | None:
        return self._permitted(call, endpoint, now) if endpoint.slots.take() else None

    def _permitted(self, call: RoutedCall, endpoint: Endpoint, now: float) -> Attempt | None:
        # With a slot in hand: the circuit has the last word.
        circuit = endpoint.circuit
        permit = None
        if circuit is not None:
            permit = circuit.admit(now)
            if not hasattr(permit, "probe"):
                endpoint.slots.give_back()
                return None
            if permit.transition is not None:
                self._changed(endpoint, permit.transition)
        attempts = call.attempts
        attempt = Attempt(len(attempts) + 1, endpoint, now, permit, self._judge, _give_back)
        attempt.until = min(call.deadline, now + call.attempt_timeout)
        attempt.waited, call.waited = call.waited, 0.0
        attempts.append(attempt)
        call.tried += (endpoint,)
        return attempt

    def elsewhere(self, call: RoutedCall) -> Elsewhere:
        """Tell whether an endpoint is open that the call has not tried, and whether it has been answering.

        One that is merely full counts: the call queues for it rather than go back to the one that failed.
        """
        tried = call.tried
        now = call.runtime.now()
        found = Elsewhere.NOWHERE
        for endpoint in self.endpoints:
            if endpoint not in tried and endpoint.open_to(now):
                if endpoint.answers:
                    return Elsewhere.ANSWERING
                found = Elsewhere.READY
        return found

    # Waiting.

    async def _queue(self, call: RoutedCall) -> Attempt:
        runtime = call.runtime
        give_up = runtime.now() + call.patience
        while True:
            now = runtime.now()
            open_now = [endpoint for endpoint in self.endpoints if endpoint.open_to(now)]
            if not open_now:
                raise self.refusal(now)
            untried = [endpoint for endpoint in open_now if endpoint not in call.tried]
            line = self.line
            waiter = line.join(runtime.gate(), [e.slots for e in untried or open_now], longest=math.inf)
            assert waiter is not None  # noqa: S101 - the line has no end
            if waiter.slots is None:
                try:
                    opened = await waiter.gate.wait(min(call.deadline, give_up) - now)
                except BaseException:
                    line.leave(waiter)
                    raise
                if not opened:
                    line.leave(waiter)
                    raise self._tired_of_waiting(call, runtime.now())
            slots = waiter.slots
            if slots is not None:
                endpoint = next((e for e in self.endpoints if e.slots is slots), None)
                if endpoint is None or not endpoint.fit:
                    slots.give_back()
                else:
                    attempt = self._permitted(call, endpoint, runtime.now())
                    if attempt is not None:
                        return attempt
            # Stirred, or handed a slot that is of no use any more: look again.
            attempt = self._begin(call)
            if attempt is not None:
                return attempt

    def _tired_of_waiting(self, call: RoutedCall, now: float) -> Exception:
        if now >= call.deadline:
            message = f"the deadline passed while waiting for a free slot of {self.service}"
            return DeadlineExceededError(message, sent=Sent.NO, service=self.service)
        full = sum(1 for endpoint in self.endpoints if endpoint.slots.taken >= endpoint.slots.limit)
        message = (
            f"{self.service} is overloaded: all slots of its {full} ready endpoint{'s' * (full != 1)} are taken, and "
            f"none came free within {call.patience:g} s"
        )
        return OverloadedError(message, service=self.service)

    def refusal(self, now: float) -> Exception:
        """Return the error for a call that no endpoint can take: an open circuit, or nothing there at all."""
        waits = [
            (endpoint.circuit.retry_after(now), endpoint)
            for endpoint in self.endpoints
            if endpoint.circuit is not None and endpoint.fit and not endpoint.circuit.would_admit(now)
        ]
        if waits:
            wait, endpoint = min(waits, key=lambda pair: pair[0])
            message = f"circuit for {endpoint.label} is {endpoint.circuit.state}; next probe in {wait:.1f} s"  # type: ignore[union-attr]
            if len(self.endpoints) > 1:
                message = f"no endpoint of {self.service} can be called: of {len(self.endpoints)}, the first " + message
            return CircuitOpenError(message, service=self.service, endpoint=endpoint.label, retry_after=wait)
        if not self.endpoints:
            return NoEndpointsError(f"{self.service} has no endpoints", service=self.service)
        causes = "; ".join(f"{e.label} is {', '.join(e.not_ready_because(now))}" for e in self.endpoints[:5])
        more = f" and {len(self.endpoints) - 5} more" if len(self.endpoints) > 5 else ""  # noqa: PLR2004
        return NoEndpointsError(f"no endpoint of {self.service} is ready: {causes}{more}", service=self.service)

    # Settling.

    def _judge(self, attempt: Attempt, verdict: Verdict, now: float) -> None:
        endpoint = attempt.endpoint
        if verdict.blame is not Blame.UNKNOWN:
            endpoint.answers = verdict.blame is Blame.GOOD
        if attempt.answered is not None:
            endpoint.observe(attempt.answered - attempt.started)
        elif verdict.sent is not Sent.NO and verdict.blame is Blame.BAD:
            endpoint.observe(now - attempt.started)
        if attempt.permit is not None and endpoint.circuit is not None:
            for transition in endpoint.circuit.settle(attempt.permit, verdict, now=now):
                self._changed(endpoint, transition)
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

    def _changed(self, endpoint: Endpoint, transition: Any) -> None:  # noqa: ANN401 - the circuit's own Transition
        self._emit(
            CircuitChanged(self.service, endpoint.label, transition.state, transition.reason, transition.open_for)
        )
        # Whoever waits for a slot here should hear of it: to fail fast, or to come in.
        self.line.stir()


def _give_back(attempt: Attempt) -> None:
    attempt.endpoint.slots.give_back()
