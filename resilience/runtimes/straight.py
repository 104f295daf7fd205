"""The straight way through policies for blocking callers: no coroutine where nothing waits.

Most calls succeed at once. For those a policy has nothing to do between looking in (`enter`) and looking out
(`leave`), and a coroutine per policy, stepped once, would cost more than what the policies decide. A policy that has to
wait says `DETOUR` and goes the long way from there inwards; one that has to deal with a failure does so in `recover`.
Each policy's `around` is made of these same parts (``policies/policy.py``), so both ways do the same.
"""

from __future__ import annotations

from types import CoroutineType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from resilience.core.errors import ConfigurationError
from resilience.runtimes.blocking import run_blocking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resilience.core.call import Call
    from resilience.core.ports import Proceed


class Detour:
    """Says that a call has to go the long way; nothing has been done for it yet."""

    __slots__ = ()


DETOUR = Detour()


class StraightPolicy(Protocol):
    """The parts of a policy that may go the straight way."""

    def enter(self, call: Call, /) -> Any:  # noqa: ANN401 - its own token
        """Look in: return a token for the way out, `DETOUR`, or raise."""
        ...

    def leave(self, call: Call, token: Any, reply: Any, /) -> bool:  # noqa: ANN401
        """Look out: true when the reply stands; false, with nothing done, when `answered` has to see it."""
        ...

    async def answered(self, call: Call, token: Any, reply: Any, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Deal with a reply that does not stand yet."""
        ...

    async def recover(self, call: Call, token: Any, error: BaseException, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Deal with an error: raise it, or another, or answer."""
        ...

    async def around(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Filter one call, the long way."""
        ...


def step(policy: StraightPolicy, inner: Callable[[Call], Any], proceed: Proceed, /) -> Callable[[Call], Any]:
    """Put one policy in front of `inner`; `proceed` is the long way to the same rooms."""
    enter, leave = policy.enter, policy.leave

    def straight(call: Call) -> Any:  # noqa: ANN401 - what the function returns
        token = enter(call)
        if token is DETOUR:
            return run_blocking(policy.around(call, proceed))
        try:
            reply = inner(call)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the policy has to hear of it
            return run_blocking(policy.recover(call, token, error, proceed))
        return reply if leave(call, token, reply) else run_blocking(policy.answered(call, token, reply, proceed))

    return straight


# The function itself.


def invoke(call: Call, /) -> Any:  # noqa: ANN401 - what the function returns
    """Call the plain function of ``call.request``."""
    fn, args, kwargs = call.request
    reply = fn(*args, **kwargs)
    if type(reply) is CoroutineType:
        _refuse_coroutine(reply, call)  # pyright: ignore[reportUnknownArgumentType] - mypy knows it
    return reply


async def invoke_blocking(call: Call, /) -> Any:  # noqa: ANN401
    """Call the plain function of ``call.request``, as the innermost room of a chain."""
    return invoke(call)


def invoke_async(call: Call, /) -> Awaitable[Any]:
    """Begin the coroutine function of ``call.request``; the room outside awaits it."""
    fn, args, kwargs = call.request
    reply = fn(*args, **kwargs)
    if type(reply) is not CoroutineType and not hasattr(reply, "__await__"):
        argument, expected = "fn", "a coroutine function; use .call for plain functions"
        raise ConfigurationError(argument, call.operation, expected)
    return reply  # type: ignore[no-any-return]


def _refuse_coroutine(reply: CoroutineType[Any, Any, Any], call: Call) -> NoReturn:
    reply.close()  # of a lambda, say: it would count as a success, and never run
    argument, expected = (
        "fn",
        "a function that returns no coroutine; use .acall, or decorate the coroutine function itself",
    )
    raise ConfigurationError(argument, call.operation, expected)
