"""What every policy can do besides filtering: decorate a function, or call one through itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from resilience.runtimes.entry import chain_for, enter_async, enter_blocking, guard

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from resilience.core.call import Call
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
