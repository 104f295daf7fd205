"""``CircuitBreaker``: a ``pybreaker.CircuitBreaker`` around our own state machine.

Names, listeners and the error class are pybreaker's. The guarded call never runs under its lock, the breaker works the
same in threads and in tasks, and half-open admits `probes` calls, not everybody.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar, cast

import pybreaker

from resilience.core.call import NEVER, Ambient, Call, ambient
from resilience.core.errors import CircuitOpenError, ConfigurationError, require
from resilience.core.outcome import GOOD, UNKNOWN, Blame, Err, Verdict
from resilience.core.units import seconds as in_seconds
from resilience.core.units import share, whole
from resilience.policies.deep_circuit import Mode, circuit_for
from resilience.policies.facade import Facade, Place
from resilience.policies.matching import Listed, listed, matcher, several
from resilience.policies.permits import CLOSED, OPEN, CircuitOptions, Permit, Rejected
from resilience.policies.policy import Policy, StraightPolicy
from resilience.policies.verdicts import judge_bare, judge_cut
from resilience.runtimes.blocking import BLOCKING
from resilience.runtimes.entry import request_of
from resilience.runtimes.straight import DETOUR

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
    from datetime import timedelta

    from resilience.core.outcome import Ok
    from resilience.core.ports import Proceed
    from resilience.policies.circuit import Circuit
    from resilience.runtimes.straight import Detour

P = ParamSpec("P")
T = TypeVar("T")

# Not by its constructor, which sets every field: to refuse has to be cheap, and is what circuits are for.
_made = CircuitOpenError.__new__


class CircuitBreaker(StraightPolicy, Facade):
    """Stop calling what keeps failing; ask again, gently, later.

    Opens when, of at least `minimum_calls` (from 1; 10) within `window` seconds (10), `failure_ratio` (0–1; 0.5) or
    more failed, or after `consecutive_failures` (from 1; 5, Envoy) in a row. Stays open for `open_for` seconds (1,
    linkerd), doubling with jitter up to `max_open_for` (60, linkerd) while probes fail. `probes` (from 1; 1) calls are
    let through when it is half-open, and must all succeed. `exclude`: exception types, status codes, or predicates of
    exceptions, that say nothing about the far side. `listeners`: ``pybreaker.CircuitBreakerListener``. `name`: shown in
    errors and to listeners.

    `slow_after`: seconds after which a call counts as slow, over or not; opens when `slow_ratio` (above 0, up to 1;
    0.5) of at least `minimum_calls` were slow. `slow_start`: for so many seconds after closing, the number of calls in
    flight grows from `probes` with each success. `shadow`: let everything pass, and only tell what would be done.

    Raises :class:`CircuitOpenError` while open. The call that trips it gets its own exception.
    """

    def __init__(
        self,
        *,
        failure_ratio: float = 0.5,
        minimum_calls: int = 10,
        window: float | timedelta = 10.0,
        consecutive_failures: int = 5,
        open_for: float | timedelta = 1.0,
        max_open_for: float | timedelta = 60.0,
        probes: int = 1,
        exclude: Listed | Iterable[Listed] = (),
        listeners: Sequence[pybreaker.CircuitBreakerListener] = (),
        name: str | None = None,
        slow_after: float | timedelta | None = None,
        slow_ratio: float = 0.5,
        slow_start: float | timedelta | None = None,
        shadow: bool = False,
    ) -> None:
        options = CircuitOptions(
            failure_ratio=share("failure_ratio", failure_ratio),
            minimum_calls=whole("minimum_calls", minimum_calls),
            window=in_seconds("window", window),
            consecutive_failures=whole("consecutive_failures", consecutive_failures),
            open_for=in_seconds("open_for", open_for),
            max_open_for=in_seconds("max_open_for", max_open_for),
            probes=whole("probes", probes),
            slow_after=None if slow_after is None else in_seconds("slow_after", slow_after),
            slow_ratio=share("slow_ratio", slow_ratio),
            slow_start=None if slow_start is None else in_seconds("slow_start", slow_start),
        )
        require("shadow", shadow, "True or False", lambda value: isinstance(value, bool))
        if options.max_open_for < options.open_for:
            argument, expected = "max_open_for", f"seconds not below open_for={options.open_for:g}"
            raise ConfigurationError(argument, max_open_for, expected)
        require("name", name, "a string, or None", lambda value: value is None or isinstance(value, str))
        self.options = options
        self._described = Mode.SHADOW if shadow else Mode.NORMAL
        self._place = Place(circuit_for(options, draw=self._draw, mode=self._described), BLOCKING)
        self._said = ("", NEVER, NEVER, "", "")
        """The latest refusal's text, the waits it is true of, and of whom and when: written anew when those change."""
        super().__init__(
            fail_max=options.consecutive_failures,
            reset_timeout=options.open_for,
            success_threshold=options.probes,
            exclude=cast("Any", listed("exclude", exclude)),
            listeners=_listening(listeners),
            name=name,
            throw_new_error_on_trip=False,
        )
        matcher("exclude", self._excluded_exceptions)  # refuses now what it could not judge by later

    def __repr__(self) -> str:
        return f"CircuitBreaker({self.options!r}, name={self.name!r})"

    def enter(self, call: Call, /) -> Permit | Detour:
        """Let the call through while closed."""
        permit = self._place.circuit.admit_closed()
        if permit is None or self._listeners:
            return DETOUR
        if call.deadline != NEVER:
            # Only where a deadline may cut the call does it matter when this attempt began; else no clock is read.
            permit.since = since = call.runtime.now()
            call.left_behind = partial(self._left_behind, permit, call, since)
        return permit

    def leave(self, call: Call, token: Permit, reply: object, /) -> bool:  # noqa: ARG002 - any reply is a success
        """Count a success, as of when the call began: no clock is read for it."""
        circuit = self._place.circuit
        if not circuit.succeeded(token, call.started):
            circuit.settle(token, GOOD, now=call.started)
        return True

    async def recover(self, call: Call, token: Permit, error: BaseException, proceed: Proceed, /) -> NoReturn:  # noqa: ARG002
        """Count a failure."""
        self._ended(token, call, call.started if token.since is None else token.since, error)
        raise error

    async def detour(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Ask for a probe's permit, or refuse; and tell the listeners, where there are any."""
        permit = self._begin(call)
        since = call.runtime.now()
        call.left_behind = partial(self._left_behind, permit, call, since)
        try:
            reply = await proceed(call)
        except BaseException as error:
            self._ended(permit, call, since, error)
            raise
        self._ended(permit, call, since, None)
        return reply

    def _begin(self, call: Call) -> Permit:
        self._place.runtime = call.runtime
        now = call.runtime.now()
        if call.hedging and self._circuit.state is not CLOSED and self.mode == Mode.NORMAL.value:
            raise self.rejection(self._circuit.retry_after(now), call.operation)  # hedges never probe
        permit = self._circuit.admit(now)
        for transition in self._circuit.drain():
            self._announce(CLOSED, transition)
        if isinstance(permit, Rejected):
            raise self.rejection(permit.retry_after, call.operation)
        fn, args, kwargs = request_of(call)
        try:
            if permit.transition is not None:
                self._announce(OPEN, permit.transition)
            for listener in list(self._listeners):
                listener.before_call(self, fn, *args, **kwargs)
        except BaseException:  # a listener may veto the call, but not keep the permit
            self._settle(permit, UNKNOWN, call)
            raise
        return permit

    def _ended(self, permit: Permit, call: Call, since: float, error: BaseException | None) -> None:
        verdict = UNKNOWN
        try:
            verdict = GOOD if error is None else self._judge(error, call, since)
        finally:  # whatever a predicate of the user's raises, the permit is given back
            self._settle(permit, verdict, call)
        for listener in list(self._listeners):
            if verdict.blame is Blame.GOOD:
                listener.success(self)
            elif verdict.blame is Blame.BAD and error is not None:
                listener.failure(self, error)

    def _left_behind(self, permit: Permit, call: Call, since: float) -> None:
        # Under a Timeout, in a thread that nothing can stop: judged now, as a task would be that is cut.
        self._settle(permit, judge_cut(TimeoutError(), call, since), call)

    def rejection(self, wait: float, operation: str) -> CircuitOpenError:
        """Return the error for a refused call: a new one each time, so that tracebacks do not pile up on it."""
        who = self._name or operation or "the call"
        state = self._place.circuit.state
        if wait == NEVER:
            return CircuitOpenError(f"circuit for {who} is forced open", service=who)
        text, least, most, whose, when = self._said
        if not least < wait <= most or who != whose or state is not when:
            # A float's text costs more than all the rest, and reads the same for a tenth of a second.
            tenths = round(wait * 10.0)
            then = "starting slowly; try again" if state is CLOSED else f"{state}; next probe"
            text = f"circuit for {who} is {then} in {tenths / 10.0:.1f} s"
            self._said = text, (tenths - 0.5) / 10.0, (tenths + 0.5) / 10.0, who, state
        error = _made(CircuitOpenError, text)
        error.service = who
        error.retry_after = wait
        return error

    def _judge(self, error: BaseException, call: Call, since: float) -> Verdict:
        if not isinstance(error, Exception):
            return judge_cut(error, call, since)
        if not self.is_system_error(error):
            return UNKNOWN
        return judge_bare(Err(error), call)

    def _settle(self, permit: Permit, verdict: Verdict, call: Call) -> None:
        before = self._circuit.state
        for transition in self._circuit.settle(permit, verdict, now=call.runtime.now()):
            self._announce(before, transition)

    def __call__(self, fn: Callable[P, T], /) -> Callable[P, T]:  # type: ignore[override]
        """Decorate a function or coroutine function."""
        return Policy.__call__(self, fn)

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:  # type: ignore[override]
        """Call a plain function through the circuit; no lock is held meanwhile."""
        return Policy.call(self, fn, *args, **kwargs)

    def call_async(self, func: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - pybreaker's, for Tornado
        """Call a coroutine function through the circuit: pybreaker's name for `acall`."""
        return self.acall(func, *args, **kwargs)

    def outcome(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Ok[T] | Err:
        """Call a plain function through the circuit and return what becomes of it; see :meth:`Policy.outcome`.

        While the circuit is open nothing is raised, and nothing but the refusal is made: no way to ask is cheaper.
        """
        refused = self.refusal(fn)
        return super().outcome(fn, *args, **kwargs) if refused is None else Err(refused)

    async def aoutcome(
        self, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Ok[T] | Err:
        """Call a coroutine function through the circuit and return what becomes of it; see `outcome`."""
        refused = self.refusal(fn)
        return await super().aoutcome(fn, *args, **kwargs) if refused is None else Err(refused)

    def refusal(self, fn: Callable[..., Any]) -> CircuitOpenError | None:
        """Return the error that a call of `fn` would be refused with now; None when it would be let in."""
        circuit = self._place.circuit
        if circuit.state is CLOSED:
            return None
        around = ambient.get()
        wait = circuit.refuses(BLOCKING.now() if around is None or around.runtime is None else around.runtime.now())
        return self.rejection(wait, "" if self._name else getattr(fn, "__qualname__", "")) if wait > 0 else None

    @contextlib.contextmanager
    def calling(self) -> Generator[None]:
        """Run the block of a ``with`` statement through the circuit, in sync code or around awaits."""
        around = ambient.get() or Ambient()
        runtime = around.runtime or BLOCKING
        call = Call(runtime, (self.calling, (), {}), runtime.now(), around.deadline)
        permit = self._begin(call)
        since = call.runtime.now()
        try:
            yield
        except BaseException as error:
            self._ended(permit, call, since, error)
            raise
        self._ended(permit, call, since, None)

    @property
    def _by_hand(self) -> Mode | None:
        """The mode that somebody has put it into, where it was described with another."""
        mode = Mode(self.mode)
        return None if mode is self._described else mode

    def fresh(self, *, draw: Callable[[], float]) -> Circuit:
        """Return a new circuit with these options: a ``Service`` uses a breaker as a template."""
        return circuit_for(self.options, draw=draw, mode=Mode(self.mode))


def _listening(listeners: Sequence[pybreaker.CircuitBreakerListener]) -> tuple[pybreaker.CircuitBreakerListener, ...]:
    expected, kind = "pybreaker.CircuitBreakerListener objects", pybreaker.CircuitBreakerListener
    found = several(listeners)  # once: there are those that can be gone through once
    if found is None or not all(isinstance(value, kind) for value in found):
        argument = "listeners"
        raise ConfigurationError(argument, listeners, expected)
    return cast("tuple[pybreaker.CircuitBreakerListener, ...]", found)
