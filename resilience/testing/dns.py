"""A resolver that finds what a script says, lookup by lookup or as time goes by."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# What users script is checked at run time; httpx declares `extensions` as a bare dict.

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, cast, get_args

from resilience.core.endpoint import Address
from resilience.core.errors import ConfigurationError
from resilience.core.hostport import split
from resilience.core.resolution import Replica, Resolution
from resilience.core.units import seconds as in_seconds
from resilience.discovery.failures import Kind, ResolutionError
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.stand_in import here

if TYPE_CHECKING:
    from datetime import timedelta

    from resilience.core.resolution import Target

Found: TypeAlias = "Iterable[str] | str | Exception"
"""What a lookup finds: ``host:port`` addresses, a kind of failure (``servfail``, ``nxdomain`` …), or an exception."""

_KINDS = get_args(Kind)
_EXPECTED = (
    f"a list of 'address' or 'address:port', one of {', '.join(_KINDS)}, or an exception; for each lookup in a list, "
    "or by the seconds from which it holds in a mapping that begins with 0"
)


class ScriptedDns:
    """``Service(discovery=ScriptedDns(…))``: a list is gone through lookup by lookup, and its last answer repeats.

    A mapping ``{0: ["10.0.0.1:8080"], 30: "servfail"}`` is gone through by time: 30 s after the first lookup, and from
    then on, lookups fail. `ttl` is what the answers may be kept for; a lookup takes `after` seconds. `min_ttl`,
    `max_ttl` and `stale_for` as in ``Dns``. Raises ConfigurationError.
    """

    def __init__(
        self,
        answers: Iterable[Found] | Mapping[float, Found],
        *,
        ttl: float | timedelta = 5.0,
        after: float | timedelta = 0.0,
        min_ttl: float | timedelta = 5.0,
        max_ttl: float | timedelta = 30.0,
        stale_for: float | timedelta = 86_400.0,
    ) -> None:
        self.ttl = in_seconds("ttl", ttl, zero=True)
        self.after = in_seconds("after", after, zero=True)
        self.min_ttl = in_seconds("min_ttl", min_ttl, zero=True)
        self.max_ttl = in_seconds("max_ttl", max_ttl, infinite=True)
        self.stale_for = in_seconds("stale_for", stale_for, zero=True, infinite=True)
        self.lookups = 0
        """How many there were so far."""
        self._by_time = isinstance(answers, Mapping)
        if isinstance(answers, Mapping):
            given = cast("Mapping[float, Any]", answers)
            self._times = [in_seconds("answers", at, zero=True) for at in given]
            listed = list(given.values())
        else:
            if isinstance(answers, str | bytes) or not isinstance(answers, Iterable):
                _refuse(answers)
            listed = list(answers)
            self._times = [0.0]
        if not listed or self._times != sorted(self._times) or self._times[0]:
            _refuse(answers)
        self._answers = [_checked(found) for found in listed]
        self._since: float | None = None

    def __repr__(self) -> str:
        return f"ScriptedDns({len(self._answers)} answers, {'by time' if self._by_time else 'by lookup'})"

    async def resolve(self, target: Target, /, *, deadline: float) -> Resolution:  # noqa: ARG002 - it has its own time
        """Return what the script says now, or raise."""
        number = self.lookups
        self.lookups += 1
        if self.after:
            await ANYIO.sleep(self.after)
        if self._by_time:
            now = here(ANYIO).now()
            self._since = now if self._since is None else self._since
            passed = now - self._since
            number = sum(1 for at in self._times if at <= passed) - 1
        found = self._answers[min(number, len(self._answers) - 1)]
        if isinstance(found, Exception):
            raise found
        if isinstance(found, str):
            raise ResolutionError(str(target), cast("Kind", found))
        replicas = (Replica(Address(host, port or target.port)) for host, port in found)
        return Resolution(tuple(replicas), self.ttl, "dns", fleet=True, why="scripted")


def _checked(found: object) -> str | Exception | tuple[tuple[str, int | None], ...]:
    if isinstance(found, Exception) or found in _KINDS:
        return cast("str | Exception", found)
    if isinstance(found, str | bytes) or not isinstance(found, Iterable):
        _refuse(found)
    return tuple(split("answers", address, _EXPECTED) for address in cast("Iterable[object]", found))


def _refuse(value: object) -> None:
    argument = "answers"
    raise ConfigurationError(argument, value, _EXPECTED)
