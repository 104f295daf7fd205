"""What a service's ``CircuitBreaker`` says beyond its options: who listens to its circuits, and what counts in none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resilience.policies.circuit_view import CircuitWatch, listeners_of
from resilience.policies.matching import matcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilience.balancing.settling import Settling
    from resilience.core.attempt import Attempt
    from resilience.policies.breaker import CircuitBreaker


def apply_template(
    template: CircuitBreaker | None, room: Settling, failed: Callable[[object, Exception], None]
) -> None:
    """Have the room's circuits watched by the template's pybreaker listeners, and blind to what it excludes.

    `failed` is told of each listener that raised.
    """
    if template is None:
        return
    if listeners_of(template):
        room.watch = CircuitWatch(template, failed)
    if template.excluded_exceptions:
        excluded = matcher("exclude", template.excluded_exceptions)
        statuses = excluded.statuses if excluded is not None else frozenset[int]()

        def counts(attempt: Attempt) -> bool:
            error = attempt.error
            return attempt.status not in statuses if error is None else template.is_system_error(error)

        room.counts = counts
