"""``CircuitBreaker``: a ``pybreaker.CircuitBreaker`` around our own state machine.

Names, listeners and the error class are pybreaker's. The guarded call never runs under its lock, the breaker works the
same in threads and in tasks, and half-open admits `probes` calls, not everybody.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import pybreaker

from resilience.core.call import Call
from resilience.core.errors import CircuitOpenError, ConfigurationError
from resilience.core.outcome import GOOD, UNKNOWN, Blame, Err, Verdict
from resilience.core.units import seconds as in_seconds
from resilience.core.units import share, whole
from resilience.policies.circuit import CLOSED, HALF_OPEN, OPEN, Circuit, CircuitOptions, Permit, Rejected, Transition
from resilience.policies.matching import matcher
from resilience.policies.policy import Policy
from resilience.policies.verdicts import judge_bare
from resilience.runtimes.blocking import BLOCKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
    from datetime import timedelta

    from resilience.core.ports import Proceed

P = ParamSpec("P")
T = TypeVar("T")


class CircuitBreaker(Policy, pybreaker.CircuitBreaker):
    """Stop calling what keeps failing; ask again, gently, later.

    Opens when, of at least `minimum_calls` (from 1; 10) within `window` seconds (10), `failure_ratio` (0–1; 0.5) or
    more failed, or after `consecutive_failures` (from 1; 5, Envoy) in a row. Stays open for `open_for` seconds (1,
    linkerd), doubling with jitter up to `max_open_for` (60, linkerd) while probes fail. `probes` (from 1; 1) calls are
    let through when it is half-open, and must all succeed. `exclude`: exception types or predicates that say nothing
    about the far side. `listeners`: ``pybreaker.CircuitBreakerListener``. `name`: shown in errors and to listeners.

    Raises :class:`CircuitOpenError` while open. The call that trips it gets its own exception.
    """

    def __init__(  # noqa: PLR0913 - the contract's names
        self,
        *,
        failure_ratio: float = 0.5,
        minimum_calls: int = 10,
        window: float | timedelta = 10.0,
        consecutive_failures: int = 5,
        open_for: float | timedelta = 1.0,
        max_open_for: float | timedelta = 60.0,
        probes: int = 1,
        exclude: Iterable[type[Exception] | Callable[[Any], bool]] = (),
        listeners: Sequence[pybreaker.CircuitBreakerListener] = (),
        name: str | None = None,
    ) -> None:
        options = CircuitOptions(
            failure_ratio=share("failure_ratio", failure_ratio),
            minimum_calls=whole("minimum_calls", minimum_calls),
            window=in_seconds("window", window),
            consecutive_failures=whole("consecutive_failures", consecutive_failures),
            open_for=in_seconds("open_for", open_for),
            max_open_for=in_seconds("max_open_for", max_open_for),
            probes=whole("probes", probes),
        )
        if options.max_open_for < options.open_for:
            argument, expected = "max_open_for", f"seconds not below open_for={options.open_for:g}"
            raise ConfigurationError(argument, max_open_for, expected)
        self.options = options
        self.excluded = matcher("exclude", tuple(exclude))
        self._circuit = Circuit(options)
        self._clock: Callable[[], float] = BLOCKING.now
        super().__init__(
            fail_max=options.consecutive_failures,
            reset_timeout=options.open_for,
            success_threshold=options.probes,
            exclude=tuple(exclude),
            listeners=tuple(listeners),
            name=name,
            throw_new_error_on_trip=False,
        )

    def __repr__(self) -> str:
        return f"CircuitBreaker({self.options!r}, name={self.name!r})"

    # The filter.

    async def around(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Let the call through while closed, refuse it while open."""
        circuit = self._circuit
        permit = circuit.admit(call.started)
        if type(permit) is not Permit or permit.transition is not None or self._listeners:
            return await self._observed(call, proceed, permit)
        try:
            reply = await proceed(call)
        except Exception as error:
            self._settle(permit, self._judge(error, call), call)
            raise
        except BaseException:
            self._settle(permit, UNKNOWN, call)
            raise
        circuit.settle(permit, GOOD, now=call.runtime.now())
        return reply

    async def _observed(self, call: Call, proceed: Proceed, permit: Permit | Rejected) -> Any:  # noqa: ANN401
        self._clock = call.runtime.now
        if isinstance(permit, Rejected):
            # `started` may be old after a back-off: ask again at this moment before refusing.
            permit = self._circuit.admit(call.runtime.now())
            if isinstance(permit, Rejected):
                raise self.rejection(permit, call.operation)
        if permit.transition is not None:
            self._announce(OPEN, permit.transition)
        for listener in self._listeners:
            listener.before_call(self, call.operation)  # type: ignore[arg-type]  # the function is not ours to know
        try:
            reply = await proceed(call)
        except Exception as error:
            verdict = self._judge(error, call)
            self._settle(permit, verdict, call)
            for listener in self._listeners:
                if verdict.blame is Blame.BAD:
                    listener.failure(self, error)
            raise
        except BaseException:
            self._settle(permit, UNKNOWN, call)
            raise
        self._settle(permit, GOOD, call)
        for listener in self._listeners:
            listener.success(self)
        return reply

    def rejection(self, rejected: Rejected, operation: str) -> CircuitOpenError:
        """Return the error for a refused call: a new one each time, so that tracebacks do not pile up on it."""
        who = self.name or operation or "the call"
        message = f"circuit for {who} is {self._circuit.state}; next probe in {rejected.retry_after:.1f} s"
        return CircuitOpenError(message, service=who, retry_after=rejected.retry_after)

    def _judge(self, error: Exception, call: Call) -> Verdict:
        outcome = Err(error)
        if self.excluded is not None and self.excluded.matches(outcome):
            return UNKNOWN
        if not self.is_system_error(error):  # exclusions added later, the pybreaker way
            return UNKNOWN
        return judge_bare(outcome, call)

    def _settle(self, permit: Permit, verdict: Verdict, call: Call) -> None:
        before = self._circuit.state
        for transition in self._circuit.settle(permit, verdict, now=call.runtime.now()):
            self._announce(before, transition)

    def _announce(self, before: str, transition: Transition) -> None:
        if self._listeners:
            old = self._create_new_state(before)
            new = self._create_new_state(transition.state)
            for listener in self._listeners:
                listener.state_change(self, old, new)

    # pybreaker's surface, answered by our machine.

    @property
    def current_state(self) -> str:
        """``closed``, ``open`` or ``half-open``."""
        return self._circuit.state if hasattr(self, "_circuit") else CLOSED

    @property
    def fail_counter(self) -> int:
        """Failures since the last success."""
        return self._circuit.failures_in_a_row

    def __call__(self, fn: Callable[P, T], /) -> Callable[P, T]:  # type: ignore[override]
        """Decorate a function or coroutine function."""
        return Policy.__call__(self, fn)

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:  # type: ignore[override]
        """Call a plain function through the circuit; no lock is held meanwhile."""
        return Policy.call(self, fn, *args, **kwargs)

    async def acall(self, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a coroutine function through the circuit."""
        return await Policy.acall(self, fn, *args, **kwargs)

    def call_async(self, fn: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - pybreaker's name, for Tornado
        """Call a coroutine function through the circuit: pybreaker's name for `acall`."""
        return self.acall(fn, *args, **kwargs)

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        """Run the block of a ``with`` statement through the circuit, in sync code or around awaits."""
        now = BLOCKING.now
        permit = self._circuit.admit(now())
        if isinstance(permit, Rejected):
            raise self.rejection(permit, "")
        call = Call(BLOCKING, None, now())
        try:
            yield
        except Exception as error:
            self._settle(permit, self._judge(error, call), call)
            raise
        except BaseException:
            self._settle(permit, UNKNOWN, call)
            raise
        self._settle(permit, GOOD, call)

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

    def _force(self, state: str) -> None:
        before = self._circuit.state
        for transition in self._circuit.force(state, self._clock()):
            self._announce(before, transition)

    def fresh(self, *, sole: bool, draw: Callable[[], float]) -> Circuit:
        """Return a new circuit with these options: a ``Service`` uses a breaker as a template."""
        return Circuit(self.options, sole=sole, draw=draw)
