"""What was tried for one call, compared with what should have been."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, cast

import httpx

from resilience.core.errors import ConfigurationError
from resilience.core.outcome import Ok
from resilience.testing.steps import Answer, Hang, error_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resilience.core.attempt import AttemptRecord

Expected: TypeAlias = (
    "int | str | type[BaseException] | BaseException | Answer | Ok[Any] | Hang | httpx.Response | None"
)
"""What became of an attempt: a status, an exception by name or type, as a script has it; None for anything."""
_EXPECTED = (
    "a status, the name or type of an exception, None, or a step of a script that says what comes of it: Answer(…), "
    "Ok(body), Hang(), an exception, an httpx.Response"
)


def assert_attempts(outcome: object, expected: Sequence[Expected | tuple[str | None, Expected]], /) -> None:
    """Check what was tried for a call: `expected` has an entry for each attempt, in order.

    `outcome`: the response, or the exception that came instead. Each entry is ``(endpoint, what became of it)``, or the
    latter alone: a status, an exception (by name, by type, or as scripts say it: ``ConnectionRefused``, ``Hang()``), an
    ``Answer(…)`` or ``Ok(…)``, of which only the status counts; None stands for anything. Raises AssertionError showing
    both; ConfigurationError for an outcome without a record, and for what is no such entry.
    """
    attempts = attempts_of(outcome)
    wanted = [entry if isinstance(entry, tuple) else (None, entry) for entry in expected]
    pairs = zip(attempts, wanted, strict=False)
    if len(attempts) == len(wanted) and all(_matches(attempt, *entry) for attempt, entry in pairs):
        return
    seen = "".join(f"\n  {_shown(attempt)}" for attempt in attempts) or "\n  nothing"
    told = "".join(f"\n  {entry!r}" for entry in expected) or "\n  nothing"
    message = f"attempts:{seen}\nexpected:{told}"
    raise AssertionError(message)


def attempts_of(outcome: object, /) -> Sequence[AttemptRecord]:
    """Return the record of the attempts that a response or an exception carries."""
    extensions: Any = getattr(outcome, "extensions", None)
    record: Any = cast("dict[str, Any]", extensions).get("resilience") if isinstance(extensions, dict) else outcome
    attempts = getattr(record, "attempts", None)
    if attempts is None:
        argument, expected = "outcome", "a response of a resilience client, or an exception that one has raised"
        raise ConfigurationError(argument, outcome, expected)
    return cast("Sequence[AttemptRecord]", attempts)


def _matches(attempt: AttemptRecord, endpoint: str | None, outcome: Expected) -> bool:
    if endpoint is not None and attempt.endpoint != endpoint:
        return False
    if outcome is None:
        return True
    status = _status(outcome)
    if status is not None:
        return attempt.status == status and attempt.error is None
    return attempt.error in _names(outcome)


def _status(outcome: object) -> int | None:
    if isinstance(outcome, Answer):
        return outcome.status
    if isinstance(outcome, httpx.Response):
        return outcome.status_code
    if isinstance(outcome, Ok):
        return 200
    return outcome if isinstance(outcome, int) else None


def _names(outcome: object) -> set[str]:
    if isinstance(outcome, str):
        return {outcome}
    if isinstance(outcome, Hang):
        return {"ConnectTimeout" if outcome.phase == "connect" else "ReadTimeout"}
    kind: object = type(outcome) if isinstance(outcome, BaseException) else outcome
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        argument = "expected"
        raise ConfigurationError(argument, outcome, _EXPECTED)
    names = {kind.__name__}
    if issubclass(kind, Exception):
        names.add(type(error_of(cast("Any", outcome), None)).__name__)
    return names


def _shown(attempt: AttemptRecord) -> str:
    return repr((attempt.endpoint, attempt.error or attempt.status))
