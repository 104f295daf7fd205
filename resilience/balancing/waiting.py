"""Standing in line for a slot: of an endpoint, and of those that all services of a client share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from resilience.balancing.refusals import tired_of_waiting

if TYPE_CHECKING:
    from resilience.balancing.room import Room
    from resilience.core.call import RoutedCall
    from resilience.core.slots import Line, Slots, Waiter


async def stand_in(
    room: Room, line: Line, wanted: list[Slots], call: RoutedCall, give_up: float, stirs: int
) -> Slots | None:
    """Take one of the slots, waiting for it in their line; None when that was stirred since it had been so `stirs`."""
    runtime = call.runtime
    waiter: Waiter | None = line.join(runtime.gate(), wanted, longest=math.inf)
    assert waiter is not None  # noqa: S101 - the line has no end
    if waiter.slots is not None:
        return waiter.slots
    if line.stirs != stirs or room.unsettled:
        # Another thread, or the garbage collector, was between the look at what there is and the line: nobody was in
        # it to be woken.
        line.leave(waiter)
        return None
    try:
        opened = await waiter.gate.wait(min(call.deadline, give_up) - runtime.now())
    except BaseException:
        line.leave(waiter)
        raise
    if not opened:
        line.leave(waiter)
        raise tired_of_waiting(room, room.endpoints, call, runtime.now())
    if waiter.slots is None:
        # Woken while still in the line, when a stream was abandoned: leave it, or a slot would go to nobody.
        line.leave(waiter)
        return None
    return waiter.slots


async def wait_for_total(room: Room, slots: Slots, call: RoutedCall, give_up: float) -> None:
    """Take one of the slots that all services share; gives the endpoint's back when that does not work out."""
    # With the endpoint's slot in hand: nobody who has one of the client's waits for an endpoint's, so no deadlock.
    total = room.total
    if total is None:
        return
    try:
        while await stand_in(room, total.line, [total], call, give_up, total.line.stirs) is None:
            room.settle_abandoned()
    except BaseException:
        slots.give_back()
        raise
