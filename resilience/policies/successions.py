"""How a policy goes on under a new description: what it has counted, and who is inside, stays.

State belongs to the place where a policy acts, not to the description that was in force when it began. All of these
are decisions and bookkeeping; nobody waits here.
"""

# Each state is handed on by somebody who knows what is in it.
# ruff: noqa: SLF001
# pyright: reportPrivateUsage=false

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, TypeVar

from resilience.policies.adaptive import AdaptiveLimit
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.budget import Budget, RetryBudget
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.deep_circuit import DeepCircuit, Mode
from resilience.policies.fallback import Fallback
from resilience.policies.hedge import Hedge
from resilience.policies.keyed import KeyedCircuitBreaker
from resilience.policies.queueing import RankedSlots
from resilience.policies.rate_limit import Bucket, RateLimit
from resilience.policies.retry import Retry
from resilience.policies.single_flight import SingleFlight
from resilience.policies.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resilience.core.ports import Policy
    from resilience.policies.circuit import Circuit
    from resilience.policies.laws import Law, Limit

P = TypeVar("P")


def circuit_after(known: Circuit, made: Circuit, /) -> Circuit:
    """Return the circuit that goes on: the known one under the options of the new, or the new one in its state.

    The new one where the window is another, or the kind of machine: then what was counted within it begins anew. One
    that was forced open or disabled, or is to be, has no state of its own to go on with.
    """
    made.sole = known.sole
    if type(known) is type(made) and known.options.window == made.options.window:
        known.options = made.options
        if isinstance(known, DeepCircuit) and isinstance(made, DeepCircuit) and known.mode is not made.mode:
            known.put(made.mode, known._now)
        return known
    if _overruled(known) or _overruled(made):
        made._generation = known._generation + 1
        return made
    with known._lock:
        made.state = known.state
        made._generation = known._generation + 1
        made._openings = known._openings
        made._until, made.relents_at = known._until, known.relents_at
        made._failures = known.failures_in_a_row
        made._passed = known._passed
    return made


def _overruled(circuit: Circuit) -> bool:
    return isinstance(circuit, DeepCircuit) and circuit.mode in {Mode.FORCED_OPEN, Mode.DISABLED}


def budget_after(known: Budget, options: RetryBudget, now: float, /) -> Budget:
    """Return the balance that goes on: what was spent lately stays spent, at the new rates."""
    made = options.fresh()
    with known._lock:
        known._turn_locked(now)
        if known._width == made._width:
            known._ratio, known._reserve = made._ratio, made._reserve
            return known
        spent = sum(known._spent)
    with made._lock:
        made._turn_locked(now)
        made._spent[made._slice % len(made._spent)] = spent
    return made


def latencies_after(known: Hedge, made: Hedge, /) -> Hedge:
    """Return a copy of the new hedge that knows the latencies the old one has seen, if both go by them."""
    return _with(made, **_latencies_of(known, made))


def limit_after(known: Limit, before: Law, law: Law, /) -> Limit:
    """Return the limit that goes on under another law: where it was, within the new bounds, and knowing no more."""
    if law == before:
        return known
    limit: Any = law.begin()
    least, most = getattr(law, "least", 1), getattr(law, "most", None)
    reached = max(least, known.limit)
    limit.limit = reached if most is None else min(most, reached)
    return limit  # type: ignore[no-any-return]


class Balances:
    """With which balance each budget of one update goes on: what is shared stays so, and what is not gets its own."""

    def __init__(self, now: float) -> None:
        self._now = now
        self._of: dict[int, tuple[Budget, Budget]] = {}
        """By identity: the new budget, which is kept so that its identity stays its own, and what goes on for it."""
        self._claimed: list[Budget] = []

    def after(self, known: Budget, made: Budget, options: RetryBudget) -> Budget:
        """Return the balance for a new budget in the place of a known one."""
        found = self._of.get(id(made))
        if found is None:
            taken = any(it is known for it in self._claimed)
            found = self._of[id(made)] = made, made if taken else budget_after(known, options, self._now)
            self._claimed.append(known)
        return found[1]


def policies_after(known: Sequence[Policy], made: Sequence[Policy], balances: Balances, /) -> tuple[Policy, ...]:
    """Return the new policies, each with the state of the known one of its kind: first of first, second of second.

    One that is kept is itself all that goes on with its state.
    """
    kept = {id(policy) for policy in known} & {id(policy) for policy in made}
    left = [policy for policy in known if id(policy) not in kept]
    going_on: list[Policy] = []
    for policy in made:
        before = None if id(policy) in kept else next((it for it in left if type(it) is type(policy)), None)
        if before is None:
            going_on.append(policy)
        else:
            left = [it for it in left if it is not before]
            going_on.append(policy_after(before, policy, balances))
    return tuple(going_on)


def policy_after(known: Policy, made: Policy, balances: Balances, /) -> Policy:
    """Return a copy of the new policy with the state of a known one of the same type; without any, it is as it was."""
    pair: tuple[Any, Any] = (known, made)
    match pair:
        case (Retry() | Hedge(), Retry() | Hedge()):
            return _with(made, **_paid_from(*pair, balances), **_latencies_of(*pair))
        case (CircuitBreaker(), CircuitBreaker()):
            return _breaker_after(*pair)
        case (KeyedCircuitBreaker(), KeyedCircuitBreaker()):
            return _keyed_after(*pair)
        case (Bulkhead(), Bulkhead()):
            return _bulkhead_after(*pair)
        case (RateLimit(), RateLimit()):
            return _with(made, bucket=_bucket_after(pair[0].bucket, pair[1].bucket))
        case (AdaptiveLimit(), AdaptiveLimit()):
            return _adaptive_after(*pair)
        case (Throttle(), Throttle()):
            return _throttle_after(*pair)
        case (Fallback(), Fallback()):
            pair[0].kept._most = pair[1].kept._most
            return _with(made, kept=pair[0].kept)
        case (SingleFlight(), SingleFlight()):
            return _with(made, flights=pair[0].flights)
        case _:
            return made


def _with(policy: P, **state: Any) -> P:  # noqa: ANN401 - whatever each policy keeps
    twin = copy(policy)
    for name, value in state.items():
        object.__setattr__(twin, name, value)
    return twin


def _paid_from(known: Any, made: Any, balances: Balances) -> dict[str, Any]:  # noqa: ANN401 - a Retry or a Hedge
    if known.state is None or made.state is None:
        return {}
    options = made.budget if isinstance(made.budget, RetryBudget) else RetryBudget()
    return {"state": balances.after(known.state, made.state, options)}


def _latencies_of(known: Any, made: Any) -> dict[str, Any]:  # noqa: ANN401
    if getattr(known, "latencies", None) is None or made.latencies is None:
        return {}
    return {"latencies": known.latencies}


def _breaker_after(known: CircuitBreaker, made: CircuitBreaker) -> CircuitBreaker:
    twin = copy(made)
    circuit, mode = made._circuit, known._by_hand
    if mode is not None:  # until told otherwise by hand, not by a file that is read again
        circuit = DeepCircuit(made.options, draw=made._draw, mode=mode)
    # Whoever holds one of the three, and forces it open, means what is in force.
    twin._place = made._place = known._place
    known._place.circuit = circuit_after(known._circuit, circuit)
    return twin


def _keyed_after(known: KeyedCircuitBreaker, made: KeyedCircuitBreaker) -> KeyedCircuitBreaker:
    return made._going_on(
        {key: _breaker_after(breaker, made._breaker_for(key)) for key, breaker in known.circuits.items()}
    )


def _bulkhead_after(known: Bulkhead, made: Bulkhead) -> Bulkhead:
    slots = known.slots
    if type(slots) is not type(made.slots):
        return made
    if isinstance(slots, RankedSlots) and isinstance(made.slots, RankedSlots):
        slots.ranked_line.lifo_after = made.slots.ranked_line.lifo_after
    slots.resize(made.slots.limit)
    return _with(made, slots=slots)


def _bucket_after(known: Bucket, made: Bucket) -> Bucket:
    with known._lock:
        known._interval, known._tolerance = made._interval, made._tolerance
    return known


def _adaptive_after(known: AdaptiveLimit, made: AdaptiveLimit) -> AdaptiveLimit:
    inside = known.inside
    with inside._lock:
        inside._limit = limit_after(inside._limit, known.law, made.law)
    return _with(made, inside=inside)


def _throttle_after(known: Throttle, made: Throttle) -> Throttle:
    acceptance, new = known.acceptance, made.acceptance
    if acceptance._width != new._width:
        return made
    with acceptance._lock:
        acceptance._k, acceptance._most = new._k, new._most
    return _with(made, acceptance=acceptance)
