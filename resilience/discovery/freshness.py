"""When to ask again, and what to do with what was heard: pure decisions on one name's answers over time.

::

    answer with addresses        replace the set; ask again when its TTL ends, within [min_ttl, max_ttl], less jitter
    NXDOMAIN, or no address      an answer too: keep the last good set for three in a row, then empty it
    SERVFAIL, REFUSED, timeout,  no answer: keep the last good set for `stale_for`; back off from 1 to 60 s
    nonsense

Times are instants and seconds of the monotonic clock; `random` is a number in [0, 1).
"""

from __future__ import annotations

import enum
import math
import threading
from typing import TYPE_CHECKING

from resilience.discovery.failures import ABSENT

if TYPE_CHECKING:
    from resilience.discovery.failures import Kind

JITTER = 0.1
"""Share of a wait that is left to chance, so that clients started together do not ask together."""
ABSENCES = 3
"""Answers in a row saying that there is nothing, for which the last good set is kept (spurious ones: envoy#2691)."""
FIRST_BACKOFF = 1.0
"""Seconds; a failure is remembered at least so long (RFC 9520)."""
LAST_BACKOFF = 60.0
"""Seconds; in a long outage ten minutes see 15 attempts, fewer than the one per 30 s that RFC 8767 allows."""
HURRIED_BACKOFF = 30.0
"""Seconds between attempts in a long outage while dials fail (RFC 8767, section 5)."""
EARLY = 1.0
"""Seconds between attempts that failed dials have asked for."""
IDLE = 60.0
"""Seconds without a call after which nobody refreshes any more."""
PATIENCE = 0.25
"""Seconds a call waits for fresh answers after such a pause: below what a user notices, above most lookups."""


class Change(enum.Enum):
    """What to do with the set of addresses."""

    REPLACE = "replace"
    KEEP = "keep"
    EMPTY = "empty"


class Freshness:
    """What is known of one name's answers: when the next is due, and whether the last good ones still stand.

    Give `used`, `dial_failed` and `wait` whenever they happen, from any thread; `asked`, then `answered` or `failed`,
    around each lookup, one lookup at a time.
    """

    def __init__(self, *, min_ttl: float = 5.0, max_ttl: float = 30.0, stale_for: float = 86_400.0) -> None:
        self.min_ttl = min_ttl
        self.max_ttl = max_ttl
        self.stale_for = stale_for
        self.due = -math.inf
        """Instant of the next refresh."""
        self.failing: Kind | None = None
        """How the latest lookup failed; None when it gave addresses, or there was none."""
        self.failures = 0
        """Lookups in a row that gave no answer."""
        self.absences = 0
        """Answers in a row that there is nothing."""
        self._good_at = self._good_until = -math.inf
        self._has_good = False
        self._asked_at = -math.inf
        self._overtaken = False
        """A dial has failed since the latest lookup began: its answer may be older than what the dial found out."""
        self._early_at = -math.inf
        self._used_at = -math.inf
        self._waiting_until = -math.inf
        self._lock = threading.Lock()

    @classmethod
    def of(cls, resolver: object, /) -> Freshness:
        """Return one with the bounds that `resolver` names, as `Dns` does, or the defaults."""
        bounds = {name: getattr(resolver, name, None) for name in ("min_ttl", "max_ttl", "stale_for")}
        return cls(**{name: float(value) for name, value in bounds.items() if isinstance(value, int | float)})

    # What lookups bring.

    def asked(self, now: float, /) -> None:
        """Note that a lookup begins."""
        with self._lock:
            self._asked_at, self._overtaken = now, False

    def answered(self, ttl: float, /, *, now: float, random: float) -> Change:
        """Take an answer with addresses; an infinite `ttl` (a static list) is never asked for again."""
        self.failing, self.failures, self.absences = None, 0, 0
        lasts = ttl if math.isinf(ttl) else self._clamped(ttl)
        self._has_good, self._good_at, self._good_until = True, now, now + lasts
        self._plan(now + lasts * (1 - JITTER * random), again_at=None if math.isinf(ttl) else now)
        return Change.REPLACE

    def failed(self, kind: Kind, /, *, ttl: float | None = None, now: float, random: float) -> Change:
        """Take a failure; `ttl` is for how long an absence may be remembered, None when the answer did not say."""
        self.failing = kind
        if kind in ABSENT:
            self.failures = 0
            self.absences += 1
            # Never for no time at all: the answers for which the last good set is kept would be used up at once.
            self._plan(now + self._clamped(ttl or self.min_ttl or EARLY) * (1 - JITTER * random))
        else:
            self.failures += 1
            self._plan(now + self._backoff(LAST_BACKOFF) * (1 + JITTER * random))  # upwards: to be rare is the point
        if self.absences > ABSENCES or now > self._good_until + self.stale_for:
            self._has_good = False
        return Change.KEEP if self._has_good else Change.EMPTY

    def _backoff(self, longest: float) -> float:
        return min(longest, FIRST_BACKOFF * 2.0 ** min(self.failures - 1, 10))

    def _clamped(self, ttl: float) -> float:
        return min(max(ttl, self.min_ttl), self.max_ttl)

    def _plan(self, instant: float, *, again_at: float | None = None) -> None:
        """End a lookup, and plan the next; where a dial has overtaken it, for `again_at`."""
        with self._lock:
            self.due = instant
            if self._overtaken and again_at is not None:
                self.due = self._early_at = again_at
            self._waiting_until = -math.inf

    # What calls bring.

    def used(self, now: float, /) -> float:
        """Note a call; return for how many seconds it should wait for fresh answers: 0 nearly always.

        Above 0 the caller also hurries the refresh. Calls that come while others wait so, wait with them.
        """
        before, self._used_at = self._used_at, now
        if now < self.due:
            return 0.0
        if now - before > IDLE:
            with self._lock:
                self._waiting_until = now + PATIENCE
        return max(0.0, self._waiting_until - now)

    def dial_failed(self, now: float, /) -> bool:
        """Bring the next refresh forward, since an address may have moved; tell whether to hurry the refresh.

        At most one a second, however many dials fail; fewer while the nameservers fail or know of nothing.
        """
        with self._lock:
            instant = self._early_at + EARLY
            if self.failures:
                instant = self._asked_at + self._backoff(HURRIED_BACKOFF)
            elif self.absences:  # else dials would use up the answers for which the last good set is kept
                instant = self._asked_at + max(EARLY, self.min_ttl)
            instant = max(now, instant)
            if instant <= now:
                self._overtaken = True
            if instant >= self.due or math.isinf(self.due):
                return False
            self.due = self._early_at = instant
            return True

    # What the refresh asks.

    def is_due(self, now: float, /) -> bool:
        """Say whether to look up now: what a job asks first, whether it was woken by time or hurried."""
        return now >= self.due and now - self._used_at <= IDLE

    def wait(self, now: float, /) -> float:
        """Return the seconds until the next refresh; infinite once no call has come for a minute."""
        if now >= self.due and now - self._used_at > IDLE:
            return math.inf
        return max(0.0, self.due - now)

    def age(self, now: float, /) -> float:
        """Return the seconds since addresses were last heard of; infinite when none stand."""
        return now - self._good_at if self._has_good else math.inf
