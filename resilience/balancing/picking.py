"""Which endpoint the next attempt of a call goes to: one that is fit and has a slot and a permit of its circuit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resilience.balancing.bounds import bound_until, only_probes, open_to
from resilience.balancing.refusals import refusal
from resilience.balancing.settling import Settling
from resilience.core.attempt import Attempt
from resilience.core.call import Elsewhere
from resilience.core.endpoint import SILENT
from resilience.core.errors import OverloadedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resilience.core.call import RoutedCall
    from resilience.core.endpoint import Endpoint


class Picking(Settling):
    """The half of a room that begins attempts, without ever waiting."""

    endpoints: tuple[Endpoint, ...] = ()

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Take over a new set of endpoints; where the balancer raises, the old set stays."""
        self.balancer.update(endpoints)
        self.endpoints = tuple(endpoints)
        self.line.stir()

    def _begin(self, call: RoutedCall, preferred: Endpoint | None = None) -> Attempt | None:
        now = call.runtime.now()
        if preferred is not None and preferred.ready(now) and (attempt := self._enter(call, preferred, now)):
            return attempt
        if self._abandoned:
            self.settle_abandoned()
        if self.outage.over:
            self._end_outage(now)
        if call.hedging:
            return self._beside(call, now)
        total = self.total
        if total is not None and total.taken >= total.limit:
            return None
        return self._picked(call, now)

    def _end_outage(self, now: float) -> None:
        for endpoint, transitions in self.outage.rest(self.endpoints, now):
            for transition in transitions:
                self.changed(endpoint, transition)

    def _picked(self, call: RoutedCall, now: float) -> Attempt | None:
        def fit(endpoint: Endpoint) -> bool:
            return endpoint.ready(now) and (endpoint not in call.tried or bound_until(call, endpoint) <= now)

        # Where several attempts wait already and nothing comes back, no more are sent while others are there.
        def usable(endpoint: Endpoint) -> bool:
            return fit(endpoint) and (endpoint.silent < SILENT or not endpoint.hangs(now))

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
            return not only_probes(endpoint) and endpoint.ready(now) and (alone or endpoint not in call.tried)

        attempt = self._at_any(call, usable, now)
        if attempt is not None:
            return attempt
        if not any(open_to(call, endpoint, now) for endpoint in self.endpoints):
            raise refusal(self.service, self.endpoints, now)
        message = f"no other endpoint of {self.service} is free for a second send"
        raise OverloadedError(message, service=self.service)

    def _at_a_closed_circuit(self, call: RoutedCall, usable: Callable[[Endpoint], bool], now: float) -> Attempt | None:
        # Probes prefer calls that may be repeated: those that may not go to closed circuits while there are any.
        endpoint = self.balancer.pick(call, lambda e: usable(e) and not only_probes(e))
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
