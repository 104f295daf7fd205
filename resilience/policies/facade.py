"""What pybreaker's users know of a breaker, answered by our own state machine: states, counters, settings, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pybreaker

from resilience.core.call import Ambient, ambient
from resilience.core.errors import require
from resilience.core.outcome import Err
from resilience.core.units import seconds as in_seconds
from resilience.core.units import whole
from resilience.policies.deep_circuit import DeepCircuit, Mode
from resilience.policies.matching import matcher
from resilience.policies.permits import CLOSED, HALF_OPEN, OPEN

if TYPE_CHECKING:
    from resilience.core.ports import Runtime
    from resilience.policies.circuit import Circuit
    from resilience.policies.permits import CircuitOptions, Transition


class Place:
    """Where one circuit acts, by whichever of the breakers that share it: those of one description after another."""

    __slots__ = ("circuit", "runtime")

    def __init__(self, circuit: Circuit, runtime: Runtime) -> None:
        self.circuit = circuit
        self.runtime = runtime
        """The latest caller's: what is done by hand happens on the same clock, and waits are spread by its chance."""


class Facade(pybreaker.CircuitBreaker):
    """A ``pybreaker.CircuitBreaker`` as far as it is looked at, set up, told by hand, and listened to."""

    options: CircuitOptions
    _place: Place

    @property
    def _circuit(self) -> Circuit:
        """The circuit that is in force."""
        return self._place.circuit

    @property
    def current_state(self) -> str:
        """``closed``, ``open`` or ``half-open``."""
        return self._circuit.state

    @property
    def state(self) -> Any:  # noqa: ANN401 - pybreaker's state objects
        """The state as one of pybreaker's objects; assigning a state's name puts the circuit into it by hand."""
        return self._create_new_state(self._circuit.state)

    @state.setter
    def state(self, state_str: str) -> None:
        known = {CLOSED: CLOSED, OPEN: OPEN, HALF_OPEN: HALF_OPEN}  # the machine compares by identity
        require("state", state_str, "closed, open or half-open", known.__contains__)
        self._force(known[state_str])

    @property
    def fail_counter(self) -> int:
        """Failures since the last success."""
        return self._circuit.failures_in_a_row

    @property
    def success_counter(self) -> int:
        """Probes that have succeeded since the circuit became half-open."""
        return self._circuit.probes_passed

    @property
    def fail_max(self) -> int:
        """The same as `consecutive_failures`, in pybreaker's words; may be assigned."""
        return self._circuit.options.consecutive_failures

    @fail_max.setter
    def fail_max(self, number: int) -> None:
        self._reconfigure(consecutive_failures=whole("fail_max", number))

    @property
    def reset_timeout(self) -> float:
        """The same as `open_for`, in pybreaker's words; may be assigned."""
        return self._circuit.options.open_for

    @reset_timeout.setter
    def reset_timeout(self, timeout: float) -> None:
        wait = in_seconds("reset_timeout", timeout)
        self._reconfigure(open_for=wait, max_open_for=max(wait, self._circuit.options.max_open_for))

    @property
    def success_threshold(self) -> int:
        """The same as `probes`, in pybreaker's words; may be assigned."""
        return self._circuit.options.probes

    @success_threshold.setter
    def success_threshold(self, threshold: int) -> None:
        self._reconfigure(probes=whole("success_threshold", threshold))

    def _reconfigure(self, **changed: Any) -> None:  # noqa: ANN401 - fields of CircuitOptions
        # Of those in force: another breaker of the same place may have been described since.
        self.options = self._circuit.options = replace(self._circuit.options, **changed)

    def add_excluded_exception(self, exception: Any) -> None:  # noqa: ANN401 - what `exclude` takes
        """Exclude one more exception type, or what one more predicate accepts."""
        matcher("exception", exception)
        super().add_excluded_exception(exception)

    def is_system_error(self, exception: BaseException) -> bool:
        """Tell whether an exception is held against the far side: none that is excluded is."""
        excluded = matcher("exclude", self._excluded_exceptions)
        return excluded is None or not isinstance(exception, Exception) or not excluded.matches(Err(exception))

    def open(self) -> bool:
        """Open the circuit by hand, for `open_for` seconds."""
        self._force(OPEN)
        return False

    def half_open(self) -> None:
        """Half-open the circuit by hand: the next `probes` calls decide."""
        self._force(HALF_OPEN)

    def close(self) -> None:
        """Close the circuit by hand."""
        self._force(CLOSED)

    @property
    def mode(self) -> str:
        """Who decides: ``normal`` (the circuit), ``forced-open``, ``disabled`` or ``shadow``."""
        circuit = self._circuit
        return (circuit.mode if isinstance(circuit, DeepCircuit) else Mode.NORMAL).value

    def force_open(self) -> None:
        """Refuse every call until told otherwise."""
        self._put(Mode.FORCED_OPEN)

    def disable(self) -> None:
        """Let every call pass, and count none, until told otherwise."""
        self._put(Mode.DISABLED)

    def shadow(self) -> None:
        """Let every call pass, but count them and tell listeners what would be done, until told otherwise."""
        self._put(Mode.SHADOW)

    def enable(self) -> None:
        """Let the circuit decide again; after `force_open` and `disable` it begins closed."""
        self._put(Mode.NORMAL)

    def _put(self, mode: Mode) -> None:
        circuit = self._circuit
        before = circuit.state
        now = ((ambient.get() or Ambient()).runtime or self._place.runtime).now()
        if not isinstance(circuit, DeepCircuit):
            if mode is Mode.NORMAL:
                return
            self._place.circuit = circuit = DeepCircuit(circuit.options, draw=self._draw).succeeding(circuit, now)
        for transition in circuit.put(mode, now):
            self._announce(before, transition)

    def _draw(self) -> float:
        return self._place.runtime.random()

    def _force(self, state: str) -> None:
        before = self._circuit.state
        runtime = (ambient.get() or Ambient()).runtime or self._place.runtime
        for transition in self._circuit.force(state, runtime.now()):
            self._announce(before, transition)

    def _announce(self, before: str, transition: Transition) -> None:
        if self._listeners:
            old = self._create_new_state(before)
            new = self._create_new_state(transition.state)
            for listener in list(self._listeners):
                listener.state_change(self, old, new)
