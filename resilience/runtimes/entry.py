"""The door: from a plain call of somebody's function into a chain of policies, and the deadline around it."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from resilience.core.call import NEVER, Ambient, Call, ambient
from resilience.core.errors import ConfigurationError, DeadlineExceededError, OverloadedError, ResilienceError
from resilience.core.outcome import Err, Ok, Sent
from resilience.core.units import seconds as in_seconds
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.blocking import BLOCKING, run_blocking
from resilience.runtimes.stand_in import replaced
from resilience.runtimes.straight import invoke, invoke_async, invoke_blocking, step

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from contextvars import Token
    from datetime import timedelta

    from resilience.core.ports import Policy, Proceed, Runtime
    from resilience.runtimes.straight import StraightPolicy

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

OWN = "resilience."


def link(policy: Policy, inner: Proceed, /) -> Proceed:
    """Put one policy in front of the rooms further in."""
    around = policy.around
    if type(policy).__module__.startswith(OWN):
        compose = getattr(policy, "chain", None)
        if compose is not None:  # a pipeline: its own policies, linked once, instead of a room around rooms
            return cast("Proceed", compose(inner))

        def proceed(call: Call) -> Any:  # noqa: ANN401 - an awaitable of the reply
            return around(call, inner)

    else:
        # Ours always pass the call on; in somebody's own policy a bare ``proceed()`` means "this same call".
        def proceed(call: Call) -> Any:  # noqa: ANN401
            def again(passed: Call = call) -> Any:  # noqa: ANN401
                return inner(passed)

            return around(call, again)

    return proceed


def is_async(fn: Callable[..., Any]) -> bool:
    """Tell whether calling `fn` gives a coroutine."""
    inner = fn
    while isinstance(inner, functools.partial):
        inner = inner.func
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(type(inner).__call__)


def refuse_generators(fn: Callable[..., Any]) -> None:
    """Raise ConfigurationError for what cannot be guarded as one call."""
    value: object = fn
    if not callable(value) or isinstance(value, staticmethod):
        argument, expected = "fn", "a function (a policy goes below @staticmethod and @classmethod)"
        raise ConfigurationError(argument, fn, expected)
    inner = fn
    while isinstance(inner, functools.partial):  # inspect looks through it at functions, not at objects with a __call__
        inner = inner.func
    if any(inspect.isgeneratorfunction(it) or inspect.isasyncgenfunction(it) for it in (inner, type(inner).__call__)):
        argument = "fn"
        raise ConfigurationError(
            argument,
            getattr(inner, "__qualname__", inner),
            "a function or coroutine function; a generator's work happens after the call has returned, where no "
            "policy can see it: guard the function that makes each item instead",
        )


def refuse_async(fn: Callable[..., Any]) -> None:
    """Raise ConfigurationError for a coroutine function."""
    if is_async(fn):
        argument = "fn"
        raise ConfigurationError(argument, getattr(fn, "__qualname__", fn), "a plain function; use .acall for async")


def request_of(call: Call) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """Return function, arguments and keyword arguments of a call; of one that is no function's, its name alone."""
    request = call.request
    return cast("Any", request) if isinstance(request, tuple) else (call.operation, (), {})


def flat(policy: Policy) -> tuple[Policy, ...]:
    """Return the policies that a call meets one after the other: a pipeline's own, in place of the pipeline."""
    if type(policy).__module__.startswith(OWN) and hasattr(policy, "chain"):
        return tuple(inner for part in cast("Sequence[Policy]", policy.policies) for inner in flat(part))  # type: ignore[attr-defined]
    return (policy,)


def _goes_straight(policy: Policy) -> bool:
    # The mark is on the `around` that is made of the parts: whoever overrides it means it.
    return getattr(type(policy).around, "straight", False)


def straight_for(policy: Policy) -> Callable[[Call], Any] | None:
    """Return the straight way to calling the plain function of ``call.request``; None where a policy needs more."""
    policies = flat(policy)
    if not all(_goes_straight(inner) for inner in policies):
        return None
    way: Callable[[Call], Any] = invoke
    chain: Proceed = invoke_blocking
    for inner in reversed(policies):
        way = step(cast("StraightPolicy", inner), way, chain)
        chain = link(inner, chain)
    return way


def chain_for(policy: Policy, *, blocking: bool) -> Proceed:
    """Return the chain that ends in calling the function held by ``call.request``."""
    return link(policy, invoke_blocking if blocking else invoke_async)


def guard(policy: Policy, fn: Callable[P, T], /) -> Callable[P, T]:
    """Return `fn` with `policy` around it: same name, docs, signature and kind (sync stays sync, async async)."""
    refuse_generators(fn)
    operation = getattr(fn, "__qualname__", type(fn).__name__)
    if is_async(fn):
        enter = chain_for(policy, blocking=False)
        coroutine_fn = cast("Callable[P, Coroutine[Any, Any, Any]]", fn)
        monotonic = ANYIO.now

        async def guarded_async(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401
            if ambient.get() is None:  # what `_call` does then, a function call shorter
                return await enter(Call(ANYIO, (coroutine_fn, args, kwargs), monotonic(), NEVER, operation))
            call = _call(ANYIO, (coroutine_fn, args, kwargs), operation)
            return await (enter(call) if call.deadline == NEVER else _in_time(enter, call))

        return cast("Callable[P, T]", _like(fn, guarded_async))

    straight = straight_for(policy)
    if straight is not None:
        now = BLOCKING.now

        def guarded_straight(*args: P.args, **kwargs: P.kwargs) -> T:
            if ambient.get() is None:  # what `_call` does then, a function call shorter
                return straight(Call(BLOCKING, (fn, args, kwargs), now(), NEVER, operation))  # type: ignore[no-any-return]
            return straight(_call(BLOCKING, (fn, args, kwargs), operation))  # type: ignore[no-any-return]

        return cast("Callable[P, T]", _like(fn, guarded_straight))
    enter = chain_for(policy, blocking=True)

    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        return run_blocking(cast("Coroutine[Any, Any, T]", enter(_call(BLOCKING, (fn, args, kwargs), operation))))

    return cast("Callable[P, T]", _like(fn, guarded))


def _like(fn: Callable[..., Any], wrapper: Callable[..., Any]) -> Callable[..., Any]:
    functools.update_wrapper(wrapper, fn)
    return wrapper


def _call(runtime: Runtime, request: Any, operation: str) -> Call:  # noqa: ANN401
    around = ambient.get()
    if around is None:
        return Call(runtime, request, runtime.now(), NEVER, operation)
    runtime = replaced(around, runtime)
    now = runtime.now()
    if around.deadline <= now:
        raise passed(operation, Sent.NO)
    return Call(runtime, request, now, around.deadline, operation)


async def _in_time(chain: Proceed, call: Call) -> Any:  # noqa: ANN401
    # A thread cannot be interrupted, a task can: so only here the surrounding deadline cuts the function itself.
    expired = False
    try:
        return await call.runtime.limit(call.remaining(), lambda: chain(call))
    except TimeoutError:
        expired = call.remaining() <= 0
        if not expired:  # the function's own
            raise
    raise late(call, f"the deadline around {call.operation} has passed")


def late(call: Call, message: str, *, sent: int = 0) -> ResilienceError:
    """Return the error for a call that was cut by a time limit: inside, or while it stood in line.

    `sent`: the attempts that had been made when the limit began.
    """
    service = call.operation or None
    if call.queueing and call.sent == sent:
        return OverloadedError(f"{service or 'the call'} stood in line until its time was up", service=service)
    return DeadlineExceededError(message, service=service)


def passed(operation: str, sent: Sent) -> DeadlineExceededError:
    """Return the error for a deadline of the surrounding code that has passed."""
    return DeadlineExceededError(f"the deadline around {operation} has passed", sent=sent, service=operation)


def enter_blocking(chain: Proceed, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a plain function through a chain, now."""
    refuse_generators(fn)
    refuse_async(fn)
    call = _call(BLOCKING, (fn, args, kwargs), getattr(fn, "__qualname__", type(fn).__name__))
    return run_blocking(cast("Coroutine[Any, Any, T]", chain(call)))


async def enter_async(
    chain: Proceed, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call a coroutine function through a chain, now."""
    refuse_generators(fn)
    call = _call(ANYIO, (fn, args, kwargs), getattr(fn, "__qualname__", type(fn).__name__))
    return cast("T", await (chain(call) if call.deadline == NEVER else _in_time(chain, call)))


def outcome_blocking(chain: Proceed, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Ok[T] | Err:
    """Call a plain function through a chain, and return what becomes of it; only a ConfigurationError is raised."""
    refuse_generators(fn)
    refuse_async(fn)
    try:
        call = _call(BLOCKING, (fn, args, kwargs), getattr(fn, "__qualname__", type(fn).__name__))
        value = run_blocking(cast("Coroutine[Any, Any, T]", chain(call)))
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001 - that is what an outcome is
        return Err(error)
    return Ok(value, call.covered)


async def outcome_async(
    chain: Proceed, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
) -> Ok[T] | Err:
    """Call a coroutine function through a chain, and return what becomes of it; see `outcome_blocking`."""
    refuse_generators(fn)
    try:
        call = _call(ANYIO, (fn, args, kwargs), getattr(fn, "__qualname__", type(fn).__name__))
        value = cast("T", await (chain(call) if call.deadline == NEVER else _in_time(chain, call)))
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001
        return Err(error)
    return Ok(value, call.covered)


def deadline(seconds: float | timedelta, /) -> Within:
    """Give every call made inside at most `seconds` from now; of nested deadlines the earlier one wins.

    Works in sync and in async code, and is inherited by tasks started inside. Yields the instant (monotonic seconds).
    Decorates functions and coroutine functions as well: each call has so much time. Raises ConfigurationError unless
    `seconds` is positive and finite.
    """
    return Within(in_seconds("seconds", seconds))


class Within:
    """What `deadline` returns: a stretch of code whose calls have so much time."""

    __slots__ = ("_limit", "_token")

    def __init__(self, limit: float, /) -> None:
        self._limit = limit
        self._token: Token[Ambient | None] | None = None

    def __enter__(self) -> float:
        if self._token is not None:
            message = "this deadline has been entered already: each needs a deadline(…) of its own"
            raise RuntimeError(message)
        outer = ambient.get() or Ambient()
        instant = min((outer.runtime or BLOCKING).now() + self._limit, outer.deadline)
        self._token = ambient.set(Ambient(instant, outer.runtime))
        return instant

    def __exit__(self, *_: object) -> None:
        token, self._token = self._token, None
        ambient.reset(cast("Token[Ambient | None]", token))

    def __call__(self, fn: Callable[P, T], /) -> Callable[P, T]:
        """Decorate a function or coroutine function. Raises ConfigurationError for a generator function."""
        refuse_generators(fn)
        limit = self._limit
        if is_async(fn):
            coroutine_fn = cast("Callable[P, Coroutine[Any, Any, Any]]", fn)

            async def within_async(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401
                with Within(limit):
                    return await coroutine_fn(*args, **kwargs)

            return cast("Callable[P, T]", _like(fn, within_async))

        def within(*args: P.args, **kwargs: P.kwargs) -> T:
            with Within(limit):
                return fn(*args, **kwargs)

        return cast("Callable[P, T]", _like(fn, within))
