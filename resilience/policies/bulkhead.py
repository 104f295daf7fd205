"""A limit on how many calls are inside at once, with a bounded line in front."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from resilience.core.errors import OverloadedError, require
from resilience.core.slots import Slots
from resilience.core.units import number, whole
from resilience.core.units import seconds as in_seconds
from resilience.policies.matching import is_plain
from resilience.policies.policy import StraightPolicy
from resilience.policies.queueing import RankedLine, RankedSlots, RankedWaiter
from resilience.runtimes.entry import request_of
from resilience.runtimes.straight import DETOUR

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from resilience.core.call import Call
    from resilience.core.ports import Proceed
    from resilience.core.slots import Waiter
    from resilience.runtimes.straight import Detour


@dataclass(frozen=True, slots=True)
class Bulkhead(StraightPolicy):
    """Let at most `limit` calls (from 1) inside; up to `queue` more (from 0) wait in line until their deadline.

    The line is first come, first served. `priority`: a function of the call's arguments that returns how important it
    is (any int or float; 0 without one): the most important go first, and the least gives way when the line is full.
    `lifo_after`: when somebody has waited for so many seconds, the newest go first, and the oldest gives way.

    Raises :class:`OverloadedError`, with nothing sent, when the line is full or the deadline passes in it; and
    ConfigurationError, also to a call whose `priority` is no number; what `priority` raises, its own call gets.
    """

    limit: int
    queue: int = field(default=0, kw_only=True)
    priority: Callable[..., float] | None = field(default=None, kw_only=True)
    lifo_after: float | timedelta | None = field(default=None, kw_only=True)
    slots: Slots = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the numbers and open the gates."""
        whole("limit", self.limit)
        whole("queue", self.queue, least=0)
        expected = "a plain function, or None"
        require("priority", self.priority, expected, lambda it: it is None or is_plain(it))
        patience = math.inf if self.lifo_after is None else in_seconds("lifo_after", self.lifo_after)
        plain = self.priority is None and self.lifo_after is None
        slots = Slots(self.limit) if plain else RankedSlots(self.limit, RankedLine(lifo_after=patience))
        object.__setattr__(self, "slots", slots)

    def enter(self, call: Call, /) -> Detour | None:  # noqa: ARG002 - whoever it is, it takes a slot
        """Take a slot, if one is free and nobody waits: what ``slots.take`` does, two function calls shorter."""
        slots = self.slots
        with slots.lock:
            if slots.taken < slots.limit and not slots.line.waiters:
                slots.taken += 1
                return None
        return DETOUR

    def leave(self, call: Call, token: None, reply: object, /) -> bool:  # noqa: ARG002
        """Give the slot back; to whom, decides ``slots.give_back``, if anybody waits."""
        slots = self.slots
        with slots.lock:
            if not slots.line.waiters:
                slots.taken -= 1
                return True
        slots.give_back()
        return True

    async def recover(self, call: Call, token: None, error: BaseException, proceed: Proceed, /) -> NoReturn:  # noqa: ARG002
        """Give the slot back."""
        self.slots.give_back()
        raise error

    async def detour(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Wait in line for a slot."""
        await self._wait(call)
        try:
            return await proceed(call)
        finally:
            self.slots.give_back()

    def _join(self, call: Call) -> Waiter | None:
        slots, gate = self.slots, call.runtime.gate()
        if not isinstance(slots, RankedSlots):
            return slots.line.join(gate, (slots,), longest=self.queue)
        rank = 0.0
        if self.priority is not None:
            # Checked before it stands in line: there it would be compared by somebody else, who only leaves.
            _, args, kwargs = request_of(call)
            rank = number("priority", self.priority(*args, **kwargs), "a function that returns a number")
        waiter = RankedWaiter(gate, slots, rank=rank, clock=call.runtime.now)
        return waiter if slots.ranked_line.stand(waiter, longest=self.queue) else None

    async def _wait(self, call: Call) -> None:
        line = self.slots.line
        waiter = self._join(call)
        if waiter is None:
            raise self._full(call, f"and {self.queue} more wait" if self.queue else "")
        if waiter.slots is not None:
            return
        call.queueing = True
        try:
            opened = await waiter.gate.wait(call.remaining())
        except BaseException:
            line.leave(waiter)
            raise
        call.queueing = False
        if not opened:
            line.leave(waiter)
            call.stopped_for = call.deadline
            raise self._full(call, "and the deadline passed in the line")
        if waiter.slots is None:
            raise self._full(call, "and somebody else has its place in the line")

    def _full(self, call: Call, detail: str) -> OverloadedError:
        message = f"bulkhead of {self.limit} around {call.operation or 'the call'} is full {detail}".rstrip()
        return OverloadedError(message, service=call.operation or None)
