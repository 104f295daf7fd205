"""What a load run measured: one sample a call, and what is usually asked of them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Report", "Sample"]


@dataclass(frozen=True, slots=True, order=True)
class Sample:
    """One call.

    Attributes:
        scheduled: when it was due, in seconds from the start of the run.
        latency: seconds from then to its end, whatever made it late.
        lag: seconds the generator itself started it late; part of ``latency``.
        ok: whether it returned.
        error: what it raised instead, as ``"Type: text"``.
        label: the text it returned, if it returned text.

    """

    scheduled: float
    latency: float
    lag: float
    ok: bool
    error: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A run: ``rate`` calls a second for ``seconds``, samples in the order in which they were due."""

    rate: float
    seconds: float
    samples: tuple[Sample, ...]

    def between(self, since: float = 0.0, until: float = math.inf) -> Report:
        """Give the part of the run whose calls were due in [since, until), in seconds from its start."""
        return Report(self.rate, self.seconds, tuple(s for s in self.samples if since <= s.scheduled < until))

    @property
    def failed(self) -> tuple[Sample, ...]:
        """The calls that failed."""
        return tuple(sample for sample in self.samples if not sample.ok)

    @property
    def success_ratio(self) -> float:
        """Share of the calls that returned, 0-1; 1 when there were none."""
        return 1 - len(self.failed) / len(self.samples) if self.samples else 1.0

    def quantile(self, q: float, *, since: float = 0.0, until: float = math.inf) -> float:
        """Give the latency, in seconds, within which the share ``q`` (0-1) of the calls ended, failed ones included.

        Nearest rank, hence a latency that occurred; NaN when there were no calls.
        """
        return _quantile([s.latency for s in self.samples if since <= s.scheduled < until], q)

    @property
    def lag_p99(self) -> float:
        """The generator's own lateness, in seconds: beyond 5 ms the run says more about the machine."""
        return _quantile([sample.lag for sample in self.samples], 0.99)

    def shares(self, *, since: float = 0.0, until: float = math.inf) -> dict[str, float]:
        """Give each label's share of the labelled calls, 0-1, labels sorted."""
        labels = [s.label for s in self.samples if s.label is not None and since <= s.scheduled < until]
        return {label: number / len(labels) for label, number in sorted(Counter(labels).items())}

    def errors(self) -> dict[str, int]:
        """Count the failures by their text, the most frequent first."""
        return dict(Counter(sample.error or "" for sample in self.failed).most_common())


def _quantile(values: Sequence[float], q: float) -> float:
    if not 0 <= q <= 1:
        message = f"q={q!r}: must be between 0 and 1"
        raise ValueError(message)
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)]
