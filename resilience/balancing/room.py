"""The room that picks an endpoint for each attempt, waits for a slot when all are taken, and settles what comes back.

Whoever enters leaves with exactly one settled attempt per send: a verdict for the circuit, the latency estimate and
the balancer, and a slot given back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resilience.balancing.bounds import at_the_earliest, bound_until, open_to
from resilience.balancing.refusals import asked_to_stay_away, refusal
from resilience.balancing.settling import Settling
from resilience.balancing.waiting import stand_in, wait_for_total
from resilience.core.attempt import Attempt
from resilience.core.call import Elsewhere
from resilience.core.endpoint import HUNG_AFTER, HUNG_FACTOR, SILENT
from resilience.core.errors import OverloadedError, Rerouted
from resilience.core.outcome import BAD, UNKNOWN, Blame, Err, Ok, Sent, Verdict
from resilience.core.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from resilience.core.call import RoutedCall
    from resilience.core.endpoint import Endpoint
    from resilience.core.events import Event
    from resilience.core.ports import Balancer, Proceed
    from resilience.core.slots import Line, Slots


class Room(Settling):
    """Endpoints of one service, and the filter that sends each attempt to one of them."""

    def __init__(
        self,
        service: str,
        balancer: Balancer,
        line: Line,
        emit: Callable[[Event], None],
        hears: Callable[[int], bool],
        total: Slots | None = None,
    ) -> None:
        super().__init__(service, balancer, line, emit, hears, total)
        self.endpoints: tuple[Endpoint, ...] = ()
        self.attempts = Tally()
        self.on_dial_failed: Callable[[Endpoint], None] | None = None
        """Told of each dial that nobody took: the address may have moved."""
        self.renewal: Callable[[RoutedCall], Awaitable[None]] | None = None
        """Waits a moment for the addresses such a dial has made somebody ask for; None where nobody can be asked."""

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Take over a new set of endpoints."""
        self.endpoints = tuple(endpoints)
        self.balancer.update(endpoints)
        self.line.stir()

    def follow(self, other: Room) -> None:
        """Count on from another room of the same service, and settle what was abandoned there."""
        self.attempts, self.streams, self._abandoned = other.attempts, other.streams, other._abandoned

    # The filter.

    async def around(self, call: RoutedCall, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Send one attempt; a connection found closed on reuse is replaced at once, for free, once per call."""
        call.verdict = None
        if call.attempts and self.renewal is not None and self._nobody_there(call):
            await self.renewal(call)
        attempt = self._begin(call) or await self._queue(call)
        while True:
            try:
                reply = await proceed(call)
            except Rerouted:
                # Nothing was sent and nobody is to blame: what was an endpoint is a name that stands for several.
                attempt.settle(UNKNOWN, call.runtime.now())
                call.attempts.remove(attempt)
                call.tried = tuple(endpoint for endpoint in call.tried if endpoint is not attempt.endpoint)
                attempt = self._begin(call) or await self._queue(call)
                continue
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
        attempt.endpoint.silent = 0
        call.verdict = verdict = call.classify(Ok(reply), call)  # type: ignore[misc]  # a routed call has one
        if attempt.answered is None:
            attempt.answered = now
        attempt.verdict = verdict
        if verdict.retry and not verdict.binds_service and len(self.endpoints) > 1:
            call.verdict = at_the_earliest(call, verdict, now)
        if not attempt.body_pending:
            attempt.settle(verdict, now)
        else:
            self.streams.add(attempt)
            if attempt.permit is not None and attempt.permit.probe:
                attempt.judge(verdict, now)  # a probe answers at its headers: nobody should wait for a long body
        return reply

    def _nobody_there(self, call: RoutedCall) -> bool:
        """Tell whether the service seems to have moved: nobody has taken two dials, or one, and nobody else answers."""
        dials = 0
        for attempt in call.attempts:
            verdict = attempt.verdict
            dials += verdict is not None and verdict.sent is Sent.NO and verdict.blame is Blame.BAD
        return dials > 1 or (dials == 1 and self.elsewhere(call) is not Elsewhere.ANSWERING)

    def _failed(self, call: RoutedCall, attempt: Attempt, error: Exception) -> Verdict:
        attempt.error = error
        call.verdict = verdict = call.classify(Err(error), call)  # type: ignore[misc]
        attempt.settle(verdict, call.runtime.now())
        if verdict.sent is Sent.NO and verdict.blame is Blame.BAD and self.on_dial_failed is not None:
            self.on_dial_failed(attempt.endpoint)
        return verdict

    def _cancelled(self, call: RoutedCall, attempt: Attempt) -> None:
        now = call.runtime.now()
        elapsed, known = now - attempt.started, attempt.endpoint.latency
        # By the call's own deadline, or by a hedge that has won: then an endpoint is to blame that had three times what
        # it usually takes: it hung, and was not merely asked too late. Else by the caller.
        cut = now >= call.deadline or call.lost
        if cut and elapsed >= max(HUNG_AFTER, HUNG_FACTOR * (attempt.endpoint.usual or 0.0)):
            attempt.settle(BAD, now)
            return
        # All that is known is that it takes at least this long.
        if known is None or elapsed > known:
            attempt.endpoint.observe(elapsed)
        attempt.settle(UNKNOWN, now)

    # Picking.

    def _begin(self, call: RoutedCall, preferred: Endpoint | None = None) -> Attempt | None:
        now = call.runtime.now()
        if preferred is not None and preferred.ready(now) and (attempt := self._enter(call, preferred, now)):
            return attempt
        if self._abandoned:
            self.settle_abandoned()
        total = self.total
        if total is not None and total.taken >= total.limit:
            return None

        def fit(endpoint: Endpoint) -> bool:
            return endpoint.ready(now) and (endpoint not in call.tried or bound_until(call, endpoint) <= now)

        # Where several attempts wait already and nothing comes back, no more are sent while others are there.
        def usable(endpoint: Endpoint) -> bool:
            return fit(endpoint) and (endpoint.silent < SILENT or not endpoint.hangs(now))

        if call.hedging:
            return self._beside(call, now)
        if call.tried and (attempt := self._at_one_that_answers(call, usable, now)):
            return attempt
        if not call.repeatable and (attempt := self._at_a_closed_circuit(call, usable, now)):
            return attempt
        if call.tried and self._only_full(call, now):
            return None
        return self._at_any(call, usable, now) or self._at_one_that_hangs(call, fit, now)

    def _at_any(self, call: RoutedCall, usable: Callable[[Endpoint], bool], now: float) -> Attempt | None:
        # Between asking and taking, somebody else may have been faster: ask again, as often as there are endpoints.
        for _ in range(len(self.endpoints) + 1):
            endpoint = self.balancer.pick(call, usable)
            if endpoint is None:
                return None
            attempt = self._enter(call, endpoint, now)
            if attempt is not None:
                return attempt
        return None

    def _at_one_that_answers(self, call: RoutedCall, usable: Callable[[Endpoint], bool], now: float) -> Attempt | None:
        # Else three newcomers that do not listen yet would use up a call's attempts while others serve.
        def proven(endpoint: Endpoint) -> bool:
            return endpoint.answers and endpoint.usual is not None and endpoint not in call.tried and usable(endpoint)

        return self._at_any(call, proven, now)

    def _at_one_that_hangs(self, call: RoutedCall, fit: Callable[[Endpoint], bool], now: float) -> Attempt | None:
        silent = any(endpoint.silent >= SILENT for endpoint in self.endpoints)
        return self._at_any(call, fit, now) if silent else None

    def _beside(self, call: RoutedCall, now: float) -> Attempt:
        """Return an attempt where no other send of the call is, or raise: a hedge neither probes nor stands in line."""
        alone = call.sole

        def usable(endpoint: Endpoint) -> bool:
            closed = endpoint.circuit is None or endpoint.circuit.state == "closed"
            return closed and endpoint.ready(now) and (alone or endpoint not in call.tried)

        attempt = self._at_any(call, usable, now)
        if attempt is not None:
            return attempt
        if not any(open_to(call, endpoint, now) for endpoint in self.endpoints):
            raise refusal(self.service, self.endpoints, now)
        message = f"no other endpoint of {self.service} is free for a second send"
        raise OverloadedError(message, service=self.service)

    def _at_a_closed_circuit(self, call: RoutedCall, usable: Callable[[Endpoint], bool], now: float) -> Attempt | None:
        # Probes prefer calls that may be repeated: those that may not go to closed circuits while there are any.
        endpoint = self.balancer.pick(call, lambda e: usable(e) and (e.circuit is None or e.circuit.state == "closed"))
        return None if endpoint is None else self._enter(call, endpoint, now)

    def _only_full(self, call: RoutedCall, now: float) -> bool:
        """Tell whether endpoints that the call has not tried are open, but all of them are full."""
        full = False
        for endpoint in self.endpoints:  # nearly always the first says no: not to be collected, of ten thousand
            if endpoint not in call.tried and endpoint.open_to(now):
                if endpoint.slots.taken < endpoint.slots.limit:
                    return False
                full = True
        return full

    def _enter(self, call: RoutedCall, endpoint: Endpoint, now: float) -> Attempt | None:
        if not endpoint.slots.take():
            return None
        if self.total is not None and not self.total.take():
            endpoint.slots.give_back()
            return None
        return self._permitted(call, endpoint, now)

    def _permitted(self, call: RoutedCall, endpoint: Endpoint, now: float) -> Attempt | None:
        # With all slots in hand: the circuit has the last word.
        circuit = endpoint.circuit
        permit = None
        if circuit is not None:
            permit = circuit.admit(now)
            if not hasattr(permit, "probe"):
                self._free(endpoint)
                for transition in circuit.drain():  # calls under way have become slow, and that has opened it just now
                    self.changed(endpoint, transition)
                return None
            if permit.transition is not None:
                self.changed(endpoint, permit.transition)
        attempts = call.attempts
        attempt = Attempt(len(attempts) + 1, endpoint, now, permit, self._judge, self._release, self.abandon)
        self.attempts.step()
        attempt.until = min(call.deadline, now + call.attempt_timeout)
        attempt.waited, call.waited = call.waited, 0.0
        attempts.append(attempt)
        if not endpoint.silent:
            endpoint.silent_since = now
        endpoint.silent += 1
        if self.watch is not None and permit is not None:
            self.watch.begun(attempt, call.request)
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

    def _line_for(self, wanted: Sequence[Endpoint]) -> None:
        """Raise OverloadedError where nobody should stand in line for these endpoints; here, somebody always may."""

    async def _queue(self, call: RoutedCall) -> Attempt:
        runtime = call.runtime
        give_up = runtime.now() + call.patience
        renewed = False
        while True:
            now = runtime.now()
            open_now = [endpoint for endpoint in self.endpoints if open_to(call, endpoint, now)]
            if not open_now:
                if self.renewal is None or renewed:
                    raise refusal(self.service, self.endpoints, now)
                renewed = True
                await self.renewal(call)
                continue
            wanted = [e for e in open_now if e not in call.tried]
            wanted = wanted or [e for e in open_now if bound_until(call, e) <= now]
            if not wanted:
                raise asked_to_stay_away(self.service, call, open_now, now)
            self._line_for(wanted)
            slots = await stand_in(self, self.line, [endpoint.slots for endpoint in wanted], call, give_up)
            if slots is not None:
                endpoint = next((e for e in wanted if e.slots is slots), None)
                if endpoint is None or not endpoint.fit:
                    slots.give_back()
                else:
                    await wait_for_total(self, slots, call, give_up)
                    attempt = self._permitted(call, endpoint, runtime.now())
                    if attempt is not None:
                        return attempt
            # Stirred, or handed a slot that is of no use any more: look again.
            attempt = self._begin(call)
            if attempt is not None:
                return attempt
