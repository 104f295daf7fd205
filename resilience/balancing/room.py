"""The room: picks an endpoint for each attempt, waits for a slot when all are taken, and settles what comes back.

Whoever enters leaves with exactly one settled attempt per send: a verdict for the circuit, the latency estimate and
the balancer, and a slot given back.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from resilience.balancing.bounds import at_the_earliest, bound_until, open_to
from resilience.balancing.picking import Picking
from resilience.balancing.refusals import asked_to_stay_away, refusal
from resilience.balancing.waiting import stand_in, wait_for_total
from resilience.core.call import Elsewhere
from resilience.core.endpoint import HUNG_AFTER, HUNG_FACTOR
from resilience.core.errors import Rerouted
from resilience.core.outcome import BAD, UNKNOWN, Blame, Err, Ok, Sent, Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from resilience.core.attempt import Attempt
    from resilience.core.call import RoutedCall
    from resilience.core.endpoint import Endpoint
    from resilience.core.ports import Proceed


class Room(Picking):
    """Endpoints of one service, and the filter that sends each attempt to one of them."""

    on_dial_failed: Callable[[Endpoint], None] | None = None
    """Told of each dial that nobody took: the address may have moved."""
    renewal: Callable[[RoutedCall], Awaitable[None]] | None = None
    """Waits a moment for the addresses such a dial has made somebody ask for; None where nobody can be asked."""

    _earlier: WeakSet[Room] | None = None
    """Rooms of the same service under its old descriptions, in which calls are still under way."""

    def follow(self, other: Room) -> None:
        """Count on from another room of the same service, and settle what was abandoned there."""
        self.attempts, self.streams, self.outage = other.attempts, other.streams, other.outage
        self._abandoned = other._abandoned
        self._earlier = WeakSet(other._earlier or ())
        self._earlier.add(other)

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Take over a new set of endpoints; calls under way in earlier rooms go on with it."""
        super().update(endpoints)
        for room in self._earlier or ():
            if room.balancer is not self.balancer:
                with suppress(Exception):  # a balancer of somebody's that is out of force: it keeps its old set
                    room.balancer.update(endpoints)
            room.endpoints = self.endpoints

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
        """Tell whether the service seems to have moved: two dials failed, or one and none is to spare."""
        dials = 0
        for attempt in call.attempts:
            verdict = attempt.verdict
            dials += verdict is not None and verdict.sent is Sent.NO and verdict.blame is Blame.BAD
        last = call.sends_left < 1
        return dials > 1 or (dials == 1 and (last or self.elsewhere(call) is not Elsewhere.ANSWERING))

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

    # Nobody can be called.

    def _relent(self, call: RoutedCall, now: float) -> Attempt | None:
        found = self.outage.relent(self.endpoints, now, call.runtime.random())
        if found is None:
            return None
        endpoint, transitions = found
        for transition in transitions:
            self.changed(endpoint, transition)
        return self._begin(call)

    # Waiting.

    def _line_for(self, wanted: Sequence[Endpoint]) -> None:
        """Raise OverloadedError where nobody should stand in line for these endpoints; here, somebody always may."""

    async def _queue(self, call: RoutedCall) -> Attempt:
        runtime = call.runtime
        give_up = runtime.now() + call.patience
        renewed = False
        while True:
            now, stirs = runtime.now(), self.line.stirs
            open_now = [endpoint for endpoint in self.endpoints if open_to(call, endpoint, now)]
            if not open_now:
                if not call.tried and (attempt := self._relent(call, now)):
                    return attempt
                if self.renewal is None or renewed:
                    raise refusal(self.service, self.endpoints, now, self.outage.seconds(self.endpoints, now))
                renewed = True
                await self.renewal(call)
                continue
            wanted = [e for e in open_now if e not in call.tried]
            wanted = wanted or [e for e in open_now if bound_until(call, e) <= now]
            if not wanted:
                raise asked_to_stay_away(self.service, call, open_now, now)
            self._line_for(wanted)
            line = self.line
            slots = await stand_in(self, line, [endpoint.slots for endpoint in wanted], call, give_up, stirs)
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
