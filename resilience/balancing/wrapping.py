"""A balancer around another: what both have in common with the one inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resilience.core.call import Call
    from resilience.core.endpoint import Endpoint
    from resilience.core.outcome import Verdict
    from resilience.core.ports import Balancer


def copied(balancer: Balancer, /) -> Balancer | None:
    """Return a new balancer of the same options, without endpoints; None where it cannot be copied."""
    fresh = getattr(balancer, "fresh", None)
    made: Balancer | None = None if fresh is None else fresh()
    return made


class Wrapping:
    """Passes everything on to `inner`, but for the choice."""

    def __init__(self, inner: Balancer) -> None:
        self.inner = inner
        self._hear: Callable[[Endpoint, float, Verdict, float], None] | None = getattr(inner, "observe", None)
        self.key_of: Callable[[Call], str | None] | None = getattr(inner, "key_of", None)
        """Tells what the balancer inside pins a call by; None where it pins none, and then nobody has to ask."""

    def __repr__(self) -> str:
        return repr(self.inner)

    def update(self, endpoints: Sequence[Endpoint], /) -> None:
        """Take over a new set of endpoints."""
        self.inner.update(endpoints)

    def observe(self, endpoint: Endpoint, seconds: float, verdict: Verdict, now: float, /) -> None:
        """Let the balancer inside hear what became of an attempt, if it wants to."""
        if self._hear is not None:
            self._hear(endpoint, seconds, verdict, now)
