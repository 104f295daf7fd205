"""The circuit of one endpoint as pybreaker's listeners know circuits: to look at, not to touch."""

# pyright: reportIncompatibleMethodOverride=false
# Properties that pybreaker lets assign are read-only here: that is the point.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, cast

import pybreaker

from resilience.core.outcome import Blame

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilience.core.attempt import Attempt
    from resilience.core.endpoint import Endpoint
    from resilience.core.outcome import Verdict
    from resilience.policies.breaker import CircuitBreaker
    from resilience.policies.permits import Transition


def listeners_of(template: CircuitBreaker) -> list[pybreaker.CircuitBreakerListener]:
    """Return the template's listeners, whose type pybreaker leaves open."""
    return list(cast("Any", template).listeners)


class CircuitView(pybreaker.CircuitBreaker):
    """A read-only ``pybreaker.CircuitBreaker`` named ``host:port``. What would use or change it raises TypeError."""

    def __init__(self, template: CircuitBreaker, endpoint: Endpoint) -> None:
        # Not pybreaker's own: there is no storage and no lock, only somebody else's state to show.
        self._name = endpoint.label
        self._circuit: Any = endpoint.circuit
        self._listeners: list[Any] = listeners_of(template)
        self._excluded_exceptions: list[Any] = [*template.excluded_exceptions]
        self.known = self.current_state
        """The state that listeners have been told last."""

    @property
    def current_state(self) -> str:
        """``closed``, ``open`` or ``half-open``."""
        return str(self._circuit.state)

    @property  # type: ignore[misc]  # read-only here
    def state(self) -> Any:  # noqa: ANN401 - pybreaker's state objects
        """The state as one of pybreaker's objects."""
        return self.as_state(self.current_state)

    def as_state(self, name: str) -> Any:  # noqa: ANN401 - pybreaker's state objects
        """Return pybreaker's object for a state's name."""
        return self._create_new_state(name)

    @property
    def fail_counter(self) -> int:
        """Failures since the last success."""
        return int(self._circuit.failures_in_a_row)

    @property
    def success_counter(self) -> int:
        """Probes that have succeeded since the circuit became half-open."""
        return int(self._circuit.probes_passed)

    @property  # type: ignore[misc]  # read-only here
    def fail_max(self) -> int:
        """Failures in a row that open it."""
        return int(self._circuit.options.consecutive_failures)

    @property  # type: ignore[misc]  # read-only here
    def reset_timeout(self) -> float:
        """Seconds it stays open the first time."""
        return float(self._circuit.options.open_for)

    @property  # type: ignore[misc]  # read-only here
    def success_threshold(self) -> int:
        """Probes that must succeed."""
        return int(self._circuit.options.probes)

    def _refuse(self, *_arguments: object, **_more: object) -> NoReturn:
        message = f"the circuit of {self._name} belongs to a client: it can be watched here, not used or changed"
        raise TypeError(message)

    call = call_async = calling = open = half_open = close = __call__ = _refuse
    add_listener = add_listeners = remove_listener = _refuse
    add_excluded_exception = add_excluded_exceptions = remove_excluded_exception = _refuse


class CircuitWatch:
    """Tells the listeners of a template what becomes of the circuits made from it.

    What a listener raises is handed to `failed` and otherwise ignored: it must not break calls.
    """

    def __init__(self, template: CircuitBreaker, failed: Callable[[object, Exception], None]) -> None:
        self._template = template
        self._listeners = listeners_of(template)
        self._views: dict[Endpoint, CircuitView] = {}
        self._failed = failed

    def changed(self, endpoint: Endpoint, transition: Transition) -> None:
        """Tell of a change of state."""
        view = self._view(endpoint)
        before, view.known = view.known, transition.state
        self._tell("state_change", view, view.as_state(before), view.as_state(transition.state))

    def begun(self, attempt: Attempt, request: object) -> None:
        """Tell that a call is about to be sent."""
        self._tell("before_call", self._view(attempt.endpoint), CircuitWatch.begun, request)

    def ended(self, attempt: Attempt, verdict: Verdict) -> None:
        """Tell how it went, where that speaks for or against the endpoint."""
        view = self._view(attempt.endpoint)
        if verdict.blame is Blame.GOOD:
            self._tell("success", view)
        elif verdict.blame is Blame.BAD:
            self._tell("failure", view, attempt.error or ConnectionError(f"{view.name} answered {attempt.status}"))

    def _view(self, endpoint: Endpoint) -> CircuitView:
        found = self._views.get(endpoint)
        return found or self._views.setdefault(endpoint, CircuitView(self._template, endpoint))

    def _tell(self, what: str, *facts: object) -> None:
        for listener in self._listeners:
            try:
                getattr(listener, what)(*facts)
            except Exception as error:  # noqa: BLE001 - see above
                self._failed(listener, error)
