"""Trust no answer: what is not as expected is a failure like any other, inside the attempt that brought it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, cast

from resilience.core.call import RoutedCall
from resilience.core.errors import BadAnswerError, ConfigurationError, require
from resilience.core.outcome import Ok
from resilience.core.units import whole
from resilience.policies.matching import is_plain, several
from resilience.policies.models import fits, is_model, parses
from resilience.policies.policy import Policy
from resilience.policies.verdicts import judge_bare, judge_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from resilience.core.call import Call
    from resilience.core.ports import Proceed

_LOWEST, _HIGHEST = 100, 599  # RFC 9110 15
_FIRST_ERROR = 400
_BODILESS = frozenset({204, 304})  # RFC 9110 6.4.1
_MEDIA_TYPE = re.compile(r"[^\s/;]+/[^\s/;]+")  # RFC 9110 8.3.1, with wildcards; an answer's parameters are left out


@dataclass(frozen=True, slots=True)
class Broken:
    """An answer breaks a rule: which, and in words how. `retry_after` in seconds, where the answer asks for it."""

    why: str
    how: str
    cause: Exception | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard(Policy):
    """Refuse answers that are not as expected, with :class:`BadAnswerError`: they are blamed and repeated.

    Of responses: `status`: the statuses that are good (a number, a range, or several; without it all are let through,
    for others to judge). `content_type`: media types, with ``*`` as a wildcard (``application/*json``). `max_bytes`:
    the largest body, decompressed (from 0). `json`: the body must be JSON. `model`: a pydantic model or msgspec struct
    that the JSON must fit. Rules of the body pass over error statuses (400 and above), bodiless answers, and what a
    client's caller streams.

    Of any value: `model` (the value must fit), and `check`: a plain function that returns False, or raises, for what is
    bad; in a client it sees the response with its body, unless that is streamed. Belongs innermost, inside retry and
    circuit. Raises ConfigurationError.
    """

    status: int | Iterable[int] | None = None
    content_type: str | Iterable[str] | None = None
    max_bytes: int | None = None
    json: bool = False
    model: Any = None
    check: Callable[[Any], object] | None = None
    statuses: frozenset[int] | None = field(init=False, repr=False, compare=False)
    types: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the arguments and take over their plain forms."""
        object.__setattr__(self, "statuses", None if self.status is None else _statuses(self.status))
        object.__setattr__(self, "types", () if self.content_type is None else _types(self.content_type))
        if self.max_bytes is not None:
            whole("max_bytes", self.max_bytes, least=0)
        require("json", self.json, "True or False", lambda it: isinstance(it, bool))
        require("model", self.model, "a pydantic model or a msgspec struct", lambda it: it is None or is_model(it))
        # What a coroutine function returns is no answer, and is never False.
        require("check", self.check, "a plain function, or None", lambda it: it is None or is_plain(it))
        rules = (self.statuses, self.types or None, self.max_bytes, self.json or None, self.model, self.check)
        require("status", None, "at least one rule", lambda _: any(rule is not None for rule in rules))

    async def around(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Let the call through and look at what it brings."""
        most = math.inf if self.max_bytes is None else self.max_bytes
        if self.max_bytes is not None or self.json or self.model is not None or self.check is not None:
            call.must_read = max(call.must_read, most, 1)
        reply = await proceed(call)
        seen = reply if call.show is None else call.show(reply)
        broken = self.judge_head(seen)
        content: bytes | None = None
        if broken is None and call.read is not None and self._reads(seen):
            content = await call.read(reply, most)
            broken = self._too_large() if content is None else None
        # What a client's caller streams is not looked into.
        streamed = isinstance(call, RoutedCall) and not call.buffered
        broken = broken or (self._ask(seen) if streamed else self.judge(seen, content))
        if broken is None:
            return reply
        if call.discard is not None:
            await call.discard(reply)
        message = f"the answer to {call.operation or 'the call'} was refused: {broken.how}"
        error = BadAnswerError(
            message,
            why=broken.why,
            service=call.operation or None,
            retry_after=broken.retry_after,
            causes=() if broken.cause is None else (broken.cause,),
        )
        if judge_bare(Ok(reply), call).final:  # whichever rule it has broken
            error.final = True
        raise error

    # The rules. Pure.

    def judge_head(self, reply: Any, /) -> Broken | None:  # noqa: ANN401
        """Look at status and content type."""
        status = getattr(reply, "status_code", None)
        if not isinstance(status, int):
            return None
        if self.statuses is not None and status not in self.statuses:
            return Broken("status", f"status {status}", retry_after=judge_status(status, _headers(reply)).retry_after)
        if self.types and _has_body(reply):
            given = _headers(reply).get("content-type", "").partition(";")[0].strip().lower()
            if not any(fnmatchcase(given, wanted) for wanted in self.types):
                return Broken("content_type", f"content type {given or 'missing'}")
        return None

    def judge(self, reply: Any, content: bytes | None = None, /) -> Broken | None:  # noqa: ANN401
        """Look at body or value, and ask `check`; `content` is a body that the reply itself has not read."""
        status = getattr(reply, "status_code", None)
        broken = self._judge_body(reply, content) if isinstance(status, int) else self._judge_value(reply)
        return broken or self._ask(reply)

    def _judge_body(self, reply: Any, content: bytes | None) -> Broken | None:  # noqa: ANN401
        if not self._reads(reply):
            return None
        if content is None:
            content = cast("bytes", reply.content)
        if self.max_bytes is not None and len(content) > self.max_bytes:
            return self._too_large()
        if not _has_body(reply) or not (self.json or self.model is not None):
            return None
        try:
            if self.model is not None:
                parses(self.model, content)
            else:
                json.loads(content)
        except Exception as error:  # noqa: BLE001 - models say no in words of their own
            why = "json" if self.model is None else "model"
            return Broken(why, f"the body is not {'JSON' if self.model is None else self.model.__name__}", error)
        return None

    def _judge_value(self, value: Any) -> Broken | None:  # noqa: ANN401
        if self.model is None:
            return None
        try:
            fits(self.model, value)
        except Exception as error:  # noqa: BLE001
            return Broken("model", f"it is no {self.model.__name__}", error)
        return None

    def _ask(self, reply: Any) -> Broken | None:  # noqa: ANN401
        if self.check is None:
            return None
        try:
            said = self.check(reply)
        except Exception as error:  # noqa: BLE001 - this is how it says no
            return Broken("check", f"{type(error).__name__}: {error}", error)
        # A check made of assertions returns None.
        return None if said is None or said else Broken("check", "the check said no")

    def _reads(self, reply: Any) -> bool:  # noqa: ANN401
        """Tell whether a rule needs the body."""
        return self.max_bytes is not None or ((self.json or self.model is not None) and _has_body(reply))

    def _too_large(self) -> Broken:
        return Broken("max_bytes", f"its body is larger than {self.max_bytes} bytes")


def _headers(reply: Any) -> Any:  # noqa: ANN401
    return getattr(reply, "headers", None) or {}


def _has_body(reply: Any) -> bool:  # noqa: ANN401
    """Tell whether an answer brings what was asked for: no error does, nor what is bodiless, as all that HEAD gets."""
    status = reply.status_code
    if status >= _FIRST_ERROR or status in _BODILESS:
        return False
    try:
        return bool(reply.request.method != "HEAD")
    except (AttributeError, RuntimeError):  # it does not know what it answers: httpx says so in this way
        return True


def _statuses(value: object) -> frozenset[int]:
    argument, expected = "status", f"statuses from {_LOWEST} to {_HIGHEST}: a number, a range, or several"
    found = cast("tuple[int, ...]", (value,) if isinstance(value, int) else several(value) or ())
    if not found or not all(isinstance(it, int) and _LOWEST <= it <= _HIGHEST for it in found):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(argument, value, expected)
    return frozenset(found)


def _types(value: object) -> tuple[str, ...]:
    argument, expected = "content_type", "media types without parameters, such as 'application/json' or 'text/*'"
    found = (value,) if isinstance(value, str) else several(value) or ()
    if not found or not all(isinstance(it, str) and _MEDIA_TYPE.fullmatch(it) for it in found):
        raise ConfigurationError(argument, value, expected)
    return tuple(it.lower() for it in cast("tuple[str, ...]", found))
