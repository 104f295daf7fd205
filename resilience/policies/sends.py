"""Several sends of one call at a time, each on a branch of the call, in a task or thread of its own.

Whoever has lost is cut and not waited for; what it still brings is dropped where it arrives.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from resilience.core.call import Elsewhere, RoutedCall
from resilience.core.errors import OverloadedError, RejectedError
from resilience.core.events import HedgeSent
from resilience.core.outcome import Err, Ok
from resilience.policies.race import Ending, Send, Take, ending_of
from resilience.policies.verdicts import judge_bare

if TYPE_CHECKING:
    from resilience.core.call import Call
    from resilience.core.ports import Gate, Proceed, Started
    from resilience.policies.budget import Budget
    from resilience.policies.latencies import Latencies
    from resilience.policies.race import Race

Arrival = Ok[Any] | Err | BaseException
"""What a send came to; a bare BaseException is a cancellation of the work's own, or an interpreter exit."""


class _Branch:
    """One send: its call, its task or thread, and what it came to."""

    __slots__ = ("began", "begun", "call", "known", "left", "outcome", "paid", "started")

    def __init__(self, call: Call, began: float, *, paid: bool) -> None:
        self.call = call
        self.began = began
        self.paid = paid
        self.begun = False
        """Its task or thread has come to run."""
        self.known = len(call.attempts)
        """Attempts that others had made before."""
        self.left = call.sends_left
        self.started: Started | None = None
        self.outcome: Ok[Any] | Err | None = None

    @property
    def unsent(self) -> bool:
        """Ended here, it has sent nothing."""
        if isinstance(self.outcome, Err):
            return isinstance(self.outcome.error, RejectedError)
        return not self.begun or (self.outcome is None and self.queueing)

    @property
    def queueing(self) -> bool:
        """It has not begun yet: another send would but stand in the same line."""
        call = self.call
        if isinstance(call, RoutedCall):
            return len(call.attempts) == self.known
        return getattr(call, "queueing", False)


class Sends:
    """All sends of one call, as its race decides."""

    __slots__ = (
        "_arrived",
        "_branches",
        "_budget",
        "_call",
        "_gate",
        "_latencies",
        "_lock",
        "_over",
        "_proceed",
        "_race",
    )

    def __init__(
        self, call: Call, proceed: Proceed, race: Race, budget: Budget | None, latencies: Latencies | None
    ) -> None:
        self._call = call
        self._proceed = proceed
        self._race = race
        self._budget = budget
        self._latencies = latencies
        self._branches: list[_Branch] = []
        # Sends end in other tasks or threads; what they bring passes through here.
        self._lock = threading.Lock()
        self._arrived: list[tuple[_Branch, Arrival]] = []
        self._over = False
        self._gate: Gate | None = None

    async def winner(self) -> Any:  # noqa: ANN401 - the reply
        """Return the reply that wins, or raise the error of the last send that failed."""
        now = self._call.runtime.now
        self._send()
        try:
            while True:
                self._note_arrivals()
                step = self._race.next(now())
                if isinstance(step, Take):
                    break
                if not isinstance(step, Send):
                    await self._wait(step.until - now())
                elif self._may(step, now()):
                    self._send()
        except BaseException as error:
            self._finish()
            if not isinstance(error, GeneratorExit):
                await self._clear_up()
            self._call.queueing = all(branch.unsent for branch in self._branches)
            raise
        return self._hand_over(self._branches[step.number])

    # Sending.

    def _may(self, step: Send, now: float) -> bool:
        """Tell whether another send is allowed, useful and paid for; if not, tell the race."""
        call = self._call
        if step.beside and self._branches[-1].outcome is None and self._branches[-1].queueing:
            self._race.postpone(now)
            return False
        allowed = call.sends_left >= 1 and now < call.deadline and self._elsewhere()
        if allowed and (self._budget is None or self._budget.try_withdraw(now)):
            return True
        self._race.close()
        return False

    def _elsewhere(self) -> bool:
        """Tell whether another send would go to another endpoint, where there are several."""
        call = self._call
        if not isinstance(call, RoutedCall) or call.elsewhere is None or call.sole:
            return True
        call.tried = tuple(attempt.endpoint for attempt in call.attempts)
        return call.elsewhere(call) is not Elsewhere.NOWHERE

    def _send(self) -> None:
        call, runtime = self._call, self._call.runtime
        extra = bool(self._branches)
        if extra:
            call.sends_left -= 1
        child = call.branch()
        child.left_behind = None
        call.waited = 0.0  # the first attempt has it
        if extra:
            child.hedging = any(branch.outcome is None for branch in self._branches)
        now = runtime.now()
        branch = _Branch(child, now, paid=extra)
        self._race.began(now)
        self._branches.append(branch)
        if extra and call.emit is not None:
            begun = self._branches[0].began
            call.emit(HedgeSent(call.service or call.operation, call.operation, len(call.attempts) + 1, now - begun))
        try:
            branch.started = runtime.start(partial(self._work, branch))
        except RuntimeError as error:  # the system has no more threads
            if not extra:
                raise
            message = f"a second send of {call.operation or 'the call'} could not be started: {error}"
            self._report(branch, Err(OverloadedError(message, causes=(error,))))

    async def _work(self, branch: _Branch) -> None:
        with self._lock:
            if self._over:
                return
            branch.begun = True
        try:
            arrival: Ok[Any] | Err = Ok(await self._proceed(branch.call))
        except Exception as error:  # noqa: BLE001 - judged by whoever waits
            arrival = Err(error)
        except BaseException as error:
            if branch.paid and branch.queueing and self._budget is not None:
                self._budget.refund(branch.began)
            self._report(branch, error)
            raise
        if not self._report(branch, arrival):
            await _discard(branch.call, arrival)

    # Arriving.

    def _report(self, branch: _Branch, arrival: Arrival) -> bool:
        """Hand in what a send came to; false when the call is over and nobody wants it any more."""
        with self._lock:
            if self._over:
                return False
            self._arrived.append((branch, arrival))
            gate = self._gate
        if gate is not None:
            gate.open()
        return True

    async def _wait(self, seconds: float) -> None:
        gate = self._call.runtime.gate()
        with self._lock:
            if self._arrived:
                return
            self._gate = gate
        await gate.wait(seconds)

    def _note_arrivals(self) -> None:
        with self._lock:
            arrived, self._arrived = self._arrived, []
        # An exit comes last: the replies that came with it are to be dropped.
        for branch, arrival in sorted(arrived, key=lambda it: isinstance(it[1], BaseException)):
            if isinstance(arrival, BaseException):
                raise arrival
            self._note(branch, arrival)

    def _note(self, branch: _Branch, outcome: Ok[Any] | Err) -> None:
        call, child = self._call, branch.call
        branch.outcome = outcome
        if child.verdict is None or (isinstance(outcome, Err) and isinstance(outcome.error, RejectedError)):
            child.verdict = judge_bare(outcome, child)
        ending = ending_of(outcome, child.verdict)
        self._race.ended(self._branches.index(branch), ending)
        used = branch.left - child.sends_left  # by a Retry further in; not a number where there is no limit
        if used > 0:
            call.sends_left -= used
        if ending is Ending.ACCEPTED:
            self._observe(branch)
        elif ending is Ending.REJECTED and branch.paid:  # the send that was paid for was not made
            self._refund(branch)

    def _refund(self, branch: _Branch) -> None:
        self._call.sends_left += 1
        if self._budget is not None:
            self._budget.refund(branch.began)

    def _observe(self, branch: _Branch) -> None:
        if self._latencies is not None:
            now = self._call.runtime.now()
            self._latencies.observe(now - branch.began, now)

    # Ending.

    def _hand_over(self, taken: _Branch) -> Any:  # noqa: ANN401
        call = self._call
        losers = [branch for branch in self._branches if branch.outcome is None]
        now = call.runtime.now()
        for branch in losers:
            branch.call.lost, branch.call.usual = True, now - taken.began
        self._finish()
        for branch in losers:
            self._observe(branch)  # it takes at least this long
            if branch.call.left_behind is not None:  # a circuit further in, which else would wait for a thread's end
                branch.call.left_behind()
            if call.abandon is not None:
                call.abandon(branch.call)
        for branch in self._branches:
            if branch is not taken and isinstance(branch.outcome, Ok) and call.discard is not None:
                with suppress(RuntimeError):  # no more threads: what it holds goes when it is collected
                    call.runtime.start(partial(_discard, branch.call, branch.outcome))
        call.verdict, call.why, call.covered = taken.call.verdict, taken.call.why, taken.call.covered
        call.stopped_for = taken.call.stopped_for
        if isinstance(call, RoutedCall):
            call.tried = tuple(attempt.endpoint for attempt in call.attempts)
            call.fresh = taken.call.fresh  # type: ignore[attr-defined]  # a branch of a routed call is one
        outcome = taken.outcome
        if isinstance(outcome, Err):
            raise outcome.error
        return None if outcome is None else outcome.value

    def _finish(self) -> None:
        """End the race and stop what is under way; what had arrived unseen takes no part in it."""
        with self._lock:
            self._over = True
            arrived, self._arrived = self._arrived, []
        for branch, arrival in arrived:
            if not isinstance(arrival, BaseException):
                branch.outcome = arrival
        for branch in self._branches:
            if branch.outcome is None and branch.started is not None:
                branch.started.stop()
            if branch.paid and not branch.begun and branch.outcome is None:
                self._refund(branch)

    async def _clear_up(self) -> None:
        """Leave, when the caller is being cut, with everything as before: as a single send would."""
        async with self._call.runtime.shield():
            for branch in self._branches:
                if branch.started is not None:
                    await branch.started.gone()
            for branch in self._branches:
                await _discard(branch.call, branch.outcome)


async def _discard(call: Call, arrival: Arrival | None) -> None:
    if isinstance(arrival, Ok) and call.discard is not None:
        async with call.runtime.shield():
            await call.discard(arrival.value)
