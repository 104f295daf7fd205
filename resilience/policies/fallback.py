"""An answer of one's own where the call has none."""

from __future__ import annotations

import inspect
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from resilience.core.errors import ConfigurationError, require
from resilience.core.outcome import Err
from resilience.core.units import seconds as in_seconds
from resilience.core.units import whole
from resilience.policies.matching import Matcher, matcher
from resilience.policies.policy import Policy
from resilience.runtimes.entry import request_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from datetime import timedelta

    from resilience.core.call import Call
    from resilience.core.ports import Proceed

# Answers kept, for as many different arguments, so that memory is bounded: our choice.
_MOST: Final = 1024


class _Nothing:
    """No value given: None is one."""

    def __repr__(self) -> str:
        return "…"


_NOTHING: Any = _Nothing()


class LastGood:
    """The latest good answer for each of the latest `most` keys. Pure: `now` comes in as an argument."""

    __slots__ = ("_answers", "_lock", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()

    def keep(self, key: Hashable, answer: object, now: float, /) -> None:
        """Keep an answer, and forget the one that was longest without a new one when there are too many."""
        with self._lock:
            self._answers[key] = (now, answer)
            self._answers.move_to_end(key)
            if len(self._answers) > self._most:
                self._answers.popitem(last=False)

    def get(self, key: Hashable, now: float, longest: float, /) -> tuple[Any] | None:
        """Return the answer, in a tuple, unless it is older than `longest` seconds."""
        with self._lock:
            kept = self._answers.get(key)
        return (kept[1],) if kept is not None and now - kept[0] <= longest else None


@dataclass(frozen=True, slots=True)
class Fallback(Policy):
    """Answer in the place of a call that failed: with its last good answer, with what a function returns, or a value.

    `value`: anything. `function`: called with the exception, and with the call's own arguments if it takes more than
    one; a coroutine function in async code only. `last_good`: seconds for which the latest good answer to the same
    arguments (which must be hashable) may stand in for a new one; tried first. `most`: answers kept (from 1; 1024).
    `on`: exception types or predicates; without it every ``Exception`` but :class:`ConfigurationError`.

    The answer is marked: `outcome` returns it with the failure it stands for. An answer that is kept is the same object
    each time. Raises ConfigurationError.
    """

    value: Any = field(default=_NOTHING)
    function: Callable[..., Any] | None = field(default=None, kw_only=True)
    last_good: float | timedelta | None = field(default=None, kw_only=True)
    most: int = field(default=_MOST, kw_only=True)
    on: Any = field(default=None, kw_only=True)
    wanted: Matcher | None = field(init=False, repr=False, compare=False)
    kept: LastGood = field(init=False, repr=False, compare=False)
    takes: int = field(init=False, repr=False, compare=False)
    """How much the function is called with: 0 nothing, 1 the exception, 2 the arguments too."""
    named: frozenset[str] = field(init=False, repr=False, compare=False)
    """The arguments it has a default for and takes by name only; not those that functools.partial has filled in."""

    def __post_init__(self) -> None:
        """Check the arguments and take over their plain forms."""
        if self.value is _NOTHING and self.function is None and self.last_good is None:
            argument, expected = "value", "a value, a function, or last_good=seconds"
            raise ConfigurationError(argument, self.value, expected)
        if self.value is not _NOTHING and self.function is not None:
            argument, expected = "function", "one of value and function, not both"
            raise ConfigurationError(argument, self.function, expected)
        require("function", self.function, "a function, or None", lambda it: it is None or callable(it))
        takes, named = (0, frozenset[str]()) if self.function is None else _takes(self.function)
        object.__setattr__(self, "takes", takes)
        object.__setattr__(self, "named", named)
        if self.last_good is not None:
            object.__setattr__(self, "last_good", in_seconds("last_good", self.last_good, infinite=True))
        object.__setattr__(self, "kept", LastGood(whole("most", self.most)))
        object.__setattr__(self, "wanted", matcher("on", self.on))

    async def around(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Let the call through, and answer for it if it fails."""
        call.covered = None  # of an attempt before this one
        try:
            reply = await proceed(call)
        except Exception as error:
            found = await self._instead(call, error)
            if found is None:
                raise
            call.covered = error
            return found[0]
        if self.last_good is not None:
            key = _key(call)
            if key is not None:
                self.kept.keep(key, reply, call.runtime.now())
        return reply

    async def _instead(self, call: Call, error: Exception) -> tuple[Any] | None:
        if isinstance(error, ConfigurationError) or not (self.wanted is None or self.wanted.matches(Err(error))):
            return None
        key = None if self.last_good is None else _key(call)
        if key is not None:
            found = self.kept.get(key, call.runtime.now(), self.last_good)  # type: ignore[arg-type]  # a float now
            if found is not None:
                return found
        if self.function is None:
            return None if self.value is _NOTHING else (self.value,)
        _, args, kwargs = request_of(call)
        given = (error, *args) if self.takes > 1 else (error,)[: self.takes]
        if self.takes < 2:  # noqa: PLR2004
            kwargs = {name: value for name, value in kwargs.items() if name in self.named}
        answer = self.function(*given, **kwargs)
        return (await answer if inspect.isawaitable(answer) else answer,)


def _key(call: Call) -> Hashable | None:
    """Return what tells this call from others of the same policy; None when that cannot be told."""
    if not isinstance(call.request, tuple):
        return None
    fn, args, kwargs = request_of(call)
    key = (fn, args, tuple(sorted(kwargs.items())))
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _takes(function: Callable[..., Any]) -> tuple[int, frozenset[str]]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # something built in: the exception is the least surprising
        return 1, frozenset()
    if any(parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD} for parameter in parameters):
        return 2, frozenset()
    named = frozenset(it.name for it in parameters if it.kind is it.KEYWORD_ONLY and it.default is not it.empty)
    filled = function.keywords.keys() if isinstance(function, partial) else frozenset[str]()
    return min(2, len(parameters) - len(named)), named - filled
