"""What every policy can do besides filtering: decorate a function, or call one through itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from resilience.runtimes.entry import (
    chain_for,
    enter_async,
    enter_blocking,
    guard,
    outcome_async,
    outcome_blocking,
)
from resilience.runtimes.straight import DETOUR

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from resilience.core.call import Call
    from resilience.core.outcome import Err, Ok
    from resilience.core.ports import Proceed

P = ParamSpec("P")
T = TypeVar("T")


class Policy:
    """Base of policies: write `around`, and the rest is here.

    ::

        class Counted(resilience.Policy):
            calls = 0

            async def around(self, call, proceed):
                self.calls += 1
                return await proceed(call)

    `around` may await ``proceed(call)`` and what ``call.runtime`` offers, nothing else: then the same policy serves
    threads, asyncio and trio.
    """

    __slots__ = ()

    async def around(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401 - the reply's type is the function's
        """Filter one call; the default lets it through."""
        return await proceed(call)

    def __call__(self, fn: Callable[P, T], /) -> Callable[P, T]:
        """Decorate a function or coroutine function; name, docs, signature and types stay as they are.

        Raises ConfigurationError for generator functions and for what cannot be called.
        """
        return guard(self, fn)

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a plain function through this policy. Raises ConfigurationError for a coroutine function."""
        return enter_blocking(chain_for(self, blocking=True), fn, *args, **kwargs)

    async def acall(self, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a coroutine function through this policy, on asyncio or trio."""
        return await enter_async(chain_for(self, blocking=False), fn, *args, **kwargs)

    def outcome(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Ok[T] | Err:
        """Call a plain function through this policy and return ``Ok(value)`` or ``Err(error)`` instead of raising.

        ``Ok.failure`` is set where a fallback has answered. What is not an ``Exception`` is raised all the same, and so
        is a ConfigurationError.
        """
        return outcome_blocking(chain_for(self, blocking=True), fn, *args, **kwargs)

    async def aoutcome(
        self, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Ok[T] | Err:
        """Call a coroutine function through this policy and return ``Ok(value)`` or ``Err(error)``; see `outcome`."""
        return await outcome_async(chain_for(self, blocking=False), fn, *args, **kwargs)


class StraightPolicy(Policy):
    """Base of our own policies that mostly just look in before a call and out after it (``runtimes/straight.py``).

    `around` is made of their parts here, once; where only such policies stand in front of a function, the same parts
    are run without it. Each part does nothing until it is overridden: together they let a call pass, as `Policy` does.
    """

    __slots__ = ()

    def enter(self, call: Call, /) -> Any:  # noqa: ANN401, ARG002 - its own token
        """Look in: return a token for the way out, `DETOUR` to go the long way, or raise."""
        return None

    def leave(self, call: Call, token: Any, reply: Any, /) -> bool:  # noqa: ANN401, ARG002
        """Look out: true when the reply stands; false, with nothing done, when `answered` has to see it."""
        return True

    async def answered(self, call: Call, token: Any, reply: Any, proceed: Proceed, /) -> Any:  # noqa: ANN401, ARG002
        """Deal with a reply that does not stand yet; most policies take every reply."""
        return reply

    async def recover(self, call: Call, token: Any, error: BaseException, proceed: Proceed, /) -> Any:  # noqa: ANN401, ARG002
        """Deal with an error: raise it, or another, or answer."""
        raise error

    async def detour(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Go the long way."""
        return await proceed(call)

    async def around(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Filter one call."""
        token = self.enter(call)
        if token is DETOUR:
            return await self.detour(call, proceed)
        try:
            reply = await proceed(call)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the policy has to hear of it
            return await self.recover(call, token, error, proceed)
        return reply if self.leave(call, token, reply) else await self.answered(call, token, reply, proceed)

    around.straight = True  # type: ignore[attr-defined]  # the mark that runtimes/entry.py looks for
