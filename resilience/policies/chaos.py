"""Failures on purpose: so that what is to help against them is seen to help.

Nothing of it works unless the environment says ``RESILIENCE_CHAOS=1``: a slip of configuration must not become an
outage.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from resilience.core.errors import ConfigurationError, require
from resilience.core.units import seconds as in_seconds
from resilience.core.units import share, whole
from resilience.policies.matching import is_plain
from resilience.policies.policy import Policy

if TYPE_CHECKING:
    from datetime import timedelta

    from resilience.core.call import Call
    from resilience.core.ports import Proceed

VARIABLE = "RESILIENCE_CHAOS"

Fault = Exception | type[Exception] | Callable[[], Exception]


class _Nothing:
    """No answer given: None is one."""

    def __repr__(self) -> str:
        return "…"


_NOTHING: Any = _Nothing()


@dataclass(frozen=True, slots=True)
class Chaos(Policy):
    """Do something bad to a share of the calls.

    `rate`: the share, from 0 (never) to 1. What is done, at least one of: `latency`: seconds of waiting before the
    call, or a pair between whose values one is drawn. `fault`: an exception (raised is a copy each time, where it
    copies), a type of one that needs a message at most, or a function that makes one; raised in the place of the call,
    or with ``after=True`` when the call has been made. `answer`: a value, or a function that makes one, in the place of
    the call. `corrupt`: a function that makes a bad answer of the good one. `seed`: a whole number that fixes which
    calls are struck; without it the runtime's chance decides.

    Belongs innermost, so that every other policy has to deal with it. Raises ConfigurationError, also where the
    environment does not say ``RESILIENCE_CHAOS=1``.
    """

    rate: float
    latency: float | timedelta | tuple[float, float] | None = field(default=None, kw_only=True)
    fault: Fault | None = field(default=None, kw_only=True)
    after: bool = field(default=False, kw_only=True)
    answer: Any = field(default=_NOTHING, kw_only=True)
    corrupt: Callable[[Any], Any] | None = field(default=None, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    span: tuple[float, float] = field(init=False, repr=False, compare=False)
    draw: Callable[[], float] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the permission first, then the arguments."""
        permission = os.environ.get(VARIABLE)
        require(
            VARIABLE, permission, "1 in the environment, where failures on purpose are wanted", lambda it: it == "1"
        )
        share("rate", self.rate, zero=True)
        object.__setattr__(self, "span", _span(self.latency))
        expected = "an exception, its type where that needs a message at most, a plain function that makes one, or None"
        require("fault", self.fault, expected, _is_fault)
        require("after", self.after, "True or False", lambda it: isinstance(it, bool))
        expected = "a value, or a plain function that makes one"
        require("answer", self.answer, expected, lambda it: not callable(it) or is_plain(it))
        expected = "a plain function of the answer, or None"
        require("corrupt", self.corrupt, expected, lambda it: it is None or is_plain(it))
        set_ = {
            "fault": self.fault is not None,
            "answer": self.answer is not _NOTHING,
            "corrupt": self.corrupt is not None,
        }
        given = [name for name, is_set in set_.items() if is_set]
        if not given and self.latency is None:
            argument, expected = "fault", "something to do: latency, fault, answer or corrupt"
            raise ConfigurationError(argument, None, expected)
        if len(given) > 1:
            argument, expected = given[1], f"nothing beside {given[0]}: use several Chaos policies"
            raise ConfigurationError(argument, getattr(self, given[1]), expected)
        if self.seed is not None:
            whole("seed", self.seed, least=0)
            object.__setattr__(self, "draw", random.Random(self.seed).random)  # noqa: S311 - for repetition
        else:
            object.__setattr__(self, "draw", None)

    def strikes(self, draw: Callable[[], float], /) -> float | None:
        """Decide whether to strike the next call: after how many seconds, or None. `draw` returns numbers in [0, 1)."""
        if draw() >= self.rate:
            return None
        least, most = self.span
        return least + (most - least) * draw() if most > least else least

    async def around(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Let the call through, or strike."""
        wait = self.strikes(self.draw or call.runtime.random)
        if wait is None:
            return await proceed(call)
        if wait > 0:
            await call.runtime.sleep(wait)
        if self.fault is not None:
            if self.after:
                await proceed(call)
            raise _made(self.fault)
        if self.answer is not _NOTHING:
            return self.answer() if callable(self.answer) else self.answer
        reply = await proceed(call)
        return reply if self.corrupt is None else self.corrupt(reply)


def _span(latency: object) -> tuple[float, float]:
    if latency is None:
        return 0.0, 0.0
    if not isinstance(latency, tuple):
        exact = in_seconds("latency", latency, zero=True)
        return exact, exact
    expected = "seconds, or a pair of them, the second not below the first"
    pair = cast("tuple[object, ...]", latency)
    if len(pair) != 2:  # noqa: PLR2004
        argument = "latency"
        raise ConfigurationError(argument, pair, expected)
    least, most = (in_seconds("latency", value, zero=True) for value in pair)
    require("latency", pair, expected, lambda _: least <= most)
    return least, most


def _is_fault(value: object) -> bool:
    if isinstance(value, type):
        return issubclass(value, Exception) and isinstance(_of(value), Exception)
    return value is None or isinstance(value, Exception) or is_plain(value)


def _made(fault: Fault) -> Exception:
    if isinstance(fault, type):
        return _of(fault)
    return _another(fault) if isinstance(fault, Exception) else fault()


def _of(kind: type[Exception]) -> Exception:
    try:
        return kind()
    except TypeError:  # httpx's want a message
        return kind("failed on purpose")


def _another(fault: Exception) -> Exception:
    """Return a copy: one that is raised again and again gathers notes, and the frames of every call with its arguments.

    What does not copy into the same (its constructor takes something else than ``args``) is returned itself, without
    the frames of the time before.
    """
    with contextlib.suppress(Exception):  # whatever somebody's constructor does with arguments that are not for it
        made = copy(fault)
        if made is not fault and type(made) is type(fault) and made.args == fault.args:
            made.__cause__, made.__suppress_context__ = fault.__cause__, fault.__suppress_context__
            if hasattr(fault, "__notes__"):
                made.__notes__ = [*fault.__notes__]
            return made
    return fault.with_traceback(None)
