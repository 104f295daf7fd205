"""A row: what one cell showed, from every call's latency and every request the servers read. Pure."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.scoreboard.scenarios import LAG_LIMIT, RECOVERED, SETTLED, WINDOW, Scenario

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.scoreboard.schedule import Due


class Seen(NamedTuple):
    """A request a server has read; `id` is the number of the call, or empty."""

    method: str
    path: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that was recorded of one cell. Seconds."""

    due: Sequence[Due]
    latencies: Sequence[float | None]
    """From the moment a call was due to its end; None: it had not ended."""
    errors: Mapping[str, str]
    """By the number of the call, what it failed of; what is not named here went well."""
    requests: Sequence[Seen]
    """What the last tier's servers have read."""
    above: Sequence[Sequence[str]]
    """The ids that each tier above them has read, one entry per tier."""
    connections: int
    lags: Sequence[float]
    cpu: float
    waited: float
    proxy_cpu: float


class Ended(NamedTuple):
    """One call: when it was due, how long it took (for ever: infinity), whether it went well."""

    number: int
    at: float
    latency: float
    ok: bool
    kind: str

    @property
    def unsafe(self) -> bool:
        """Whether it was a POST."""
        return self.kind == "unsafe"


def row(scenario: Scenario, evidence: Evidence) -> dict[str, Any]:
    """Sum one cell up. Latencies in milliseconds, shares from 0 to 1, over the repeatable calls unless named otherwise."""
    ended = [
        Ended(n, due.at, math.inf if latency is None else latency, str(n) not in evidence.errors, due.kind)
        for n, (due, latency) in enumerate(zip(evidence.due, evidence.latencies, strict=True))
    ]
    gets = [call for call in ended if call.kind == "safe"]
    during = [call for call in gets if scenario.starts <= call.at < scenario.ends]
    settled = [call for call in during if call.at >= scenario.starts + SETTLED]
    posts = [call for call in ended if call.unsafe]
    lag = quantile(evidence.lags, 0.99)
    return {
        "kept": lag <= LAG_LIMIT,
        "lag_p99": ms(lag),
        "calls": len(ended),
        "success": share(call.ok for call in gets),
        "within": share(good(call, scenario.objective) for call in gets),
        "lost": sum(not call.ok for call in gets),
        "during": {
            "success": share(call.ok for call in during),
            "within": share(good(call, scenario.objective) for call in during),
        },
        "p50": ms(quantile([call.latency for call in gets], 0.5)),
        "p99": ms(quantile([call.latency for call in gets], 0.99)),
        "settled_p99": ms(quantile([call.latency for call in settled], 0.99)),
        "posts": len(posts),
        "posts_lost": sum(not call.ok for call in posts),
        **_sends(scenario, ended, evidence),
        "recovered": recovered(gets, scenario),
        "connections": evidence.connections,
        "cpu": ms(evidence.cpu / len(ended)),
        "proxy_cpu": ms(evidence.proxy_cpu / len(ended)),
        "waited": ms(evidence.waited / len(ended)),
        "errors": dict(Counter(evidence.errors.values()).most_common(5)),
        "windows": windows(gets, scenario),
    }


def _sends(scenario: Scenario, ended: Sequence[Ended], evidence: Evidence) -> dict[str, Any]:
    reads = Counter(seen.id for seen in evidence.requests if seen.id)
    tiers = [reads, *(Counter(ids) for ids in evidence.above)]
    hit = [str(call.number) for call in ended if scenario.starts <= call.at < scenario.ends]
    unsafe = {str(call.number) for call in ended if call.unsafe}
    copies = (max(tier[n] for tier in tiers) for n in unsafe)
    return {
        "sends": round(max(tier.total() for tier in tiers) / len(ended), 4),
        "sends_during": round(max(sum(tier[n] for n in hit) for tier in tiers) / max(1, len(hit)), 4),
        "duplicated": sum(count > 1 for count in copies),
    }


def good(call: Ended, objective: float) -> bool:
    """Tell whether a call was answered, and in time."""
    return call.ok and call.latency <= objective


def windows(calls: Sequence[Ended], scenario: Scenario) -> list[list[float | int | None]]:
    """Per window: calls due, answered, answered in time, median and 99th percentile of their latencies."""
    found = []
    for index in range(math.ceil(scenario.seconds / WINDOW)):
        inside = [call for call in calls if index * WINDOW <= call.at < (index + 1) * WINDOW]
        latencies = [call.latency for call in inside]
        found.append(
            [
                len(inside),
                sum(call.ok for call in inside),
                sum(good(call, scenario.objective) for call in inside),
                ms(quantile(latencies, 0.5)),
                ms(quantile(latencies, 0.99)),
            ]
        )
    return found


def recovered(calls: Sequence[Ended], scenario: Scenario) -> float | None:
    """Seconds from the fault (its start or its end, as the scenario says) to the end of the last window that was not good.

    0 when there was none, None when the last window of the run was not good: it never recovered.
    """
    since = scenario.ends if scenario.recovers_from == "ends" else scenario.starts
    bad = 0.0
    for index, (due, _, good_, _, _) in enumerate(windows(calls, scenario)):
        end = (index + 1) * WINDOW
        if end > since and due and (good_ or 0) < RECOVERED * due:
            bad = end
    if bad >= scenario.seconds:
        return None
    return max(0.0, bad - since)


def quantile(values: Sequence[float], q: float) -> float:
    """Nearest rank: a value that occurred; NaN when there are none."""
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)] if values else math.nan


def share(flags: Any) -> float:  # noqa: ANN401 - any iterable of flags
    """Share of the true ones, 0-1; 1 when there are none."""
    found = list(flags)
    return round(sum(found) / len(found), 5) if found else 1.0


def ms(seconds: float) -> float | None:
    """Milliseconds, to the hundredth; None for what never ended, or was never measured."""
    return round(seconds * 1000, 2) if math.isfinite(seconds) else None
