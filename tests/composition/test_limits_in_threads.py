"""64 threads and thousands of calls through each kind of limit: never more inside, or per second, than it says."""

import itertools
import math
from collections import Counter

import pytest

from resilience import AdaptiveLimit, Aimd, Bulkhead, Gradient2, RateLimit, Throttle
from resilience.core.call import Ambient, ambient
from resilience.policies.rate_limit import Bucket, Turn
from resilience.runtimes.blocking import BlockingRuntime
from tests.composition.every_policy import Covered
from tests.composition.hammering import THREADS, TOTAL, Inside, hammer, work_in

pytestmark = pytest.mark.timeout(0)  # the watchdog knows better: it sees whether anything goes on

covered = Covered()


bulkheads = {
    "refusing": {"limit": 2},
    "waiting": {"limit": 8, "queue": THREADS},
    "short line": {"limit": 4, "queue": 8},
    "priority": {"limit": 4, "queue": 8, "priority": lambda number: number % 3},
    "newest first": {"limit": 4, "queue": 8, "lifo_after": 1e-9},
}


@covered(Bulkhead)
@pytest.mark.parametrize("kind", bulkheads)
def test_bulkhead(kind):
    bulkhead = Bulkhead(**bulkheads[kind])
    inside = Inside(limit=bulkhead.limit, yields=8)
    counts = hammer(bulkhead(work_in(inside)))
    inside.check()
    assert inside.met
    assert counts["reply"] + counts["ConnectionError"] == inside.entered
    assert counts["OverloadedError"] == TOTAL - inside.entered
    assert (counts["OverloadedError"] == 0) is (bulkhead.queue >= THREADS)
    assert bulkhead.slots.taken == 0
    assert not bulkhead.slots.line.waiters


@covered(AdaptiveLimit)
@pytest.mark.parametrize("law", [Aimd(initial=4, least=2, most=8), Gradient2(initial=4, least=2, most=8, window=1e-3)])
def test_adaptive_limit(law):
    policy, inside = AdaptiveLimit(law), Inside(limit=law.most, yields=8)
    limits = set()
    function = work_in(inside)

    @policy
    def watched(number):
        limits.add(policy.inside.limit)
        return function(number)

    counts = hammer(watched)
    inside.check()
    assert inside.met
    assert counts["reply"] + counts["ConnectionError"] == inside.entered
    assert counts["OverloadedError"] == TOTAL - inside.entered > 0
    assert policy.inside.taken == 0
    assert limits <= set(range(law.least, law.most + 1))
    assert len(limits) > 1, "it did move"


@covered(Throttle)
def test_throttle():
    policy, inside = Throttle(k=1.1, window=36_000.0), Inside()

    @policy
    def function(number):
        with inside:
            if number % 4:
                raise ConnectionError
            return number

    counts = hammer(function)
    inside.check()
    assert counts["reply"] + counts["ConnectionError"] == inside.entered
    assert counts["OverloadedError"] == TOTAL - inside.entered
    asked, accepted, open_ = (sum(getattr(policy.acceptance, name)) for name in ("_asked", "_accepted", "_open"))
    assert (asked, accepted, open_) == (TOTAL, counts["reply"], 0)
    assert counts["OverloadedError"] > 0


class Noted(Bucket):
    """A bucket that keeps the turns it has given."""

    def __init__(self, *args):
        super().__init__(*args)
        self.turns = []

    def take(self, now, longest, /):
        turn = super().take(now, longest)
        if isinstance(turn, Turn):
            self.turns.append(turn.at)
        return turn


def noting(policy):
    object.__setattr__(policy, "bucket", Noted(policy.rate, policy.burst))
    return policy


@covered(RateLimit)
def test_rate_limit_in_any_span_of_time():
    rate, burst = 100.0, 100  # of 16,000 calls most are refused, however slow the machine
    policy, inside = noting(RateLimit(rate, burst=burst)), Inside()
    counts = hammer(policy(work_in(inside)))
    inside.check()
    assert counts["OverloadedError"] == TOTAL - inside.entered > 0
    turns = sorted(policy.bucket.turns)
    assert len(turns) == inside.entered
    # From the i-th turn to the j-th there are j - i + 1, and may be burst + rate * (at_j - at_i).
    ahead, least = 0.0, math.inf
    for number, at in enumerate(turns):
        place = number - rate * (at - turns[0])
        least = min(least, place)
        ahead = max(ahead, place - least + 1)
    assert ahead <= burst + 1e-3


class StandingStill(BlockingRuntime):
    """Threads whose clock stands still: what they wait for is at once as good as over, but for every `cut`-th wait."""

    __slots__ = ("cut", "waits")

    def __init__(self, cut=0):
        self.cut, self.waits = cut, itertools.count(1)

    @staticmethod
    def now():
        return 1000.0

    async def sleep(self, seconds, /):
        if self.cut and next(self.waits) % self.cut == 0:
            raise TimeoutError


@pytest.mark.parametrize("cut", [0, 3])
def test_rate_limit_gives_every_turn_once(cut):
    """At an instant: all tokens, then a turn each 1/1024 s for a second. A turn that is given back is given again."""
    policy, entered = noting(RateLimit(1024.0, burst=64, wait=1.0)), Inside()
    around = Ambient(runtime=StandingStill(cut))
    guarded = policy(lambda number: entered.__enter__() or entered.__exit__() or number)

    def on_it(number):
        ambient.set(around)
        return guarded(number)

    counts = hammer(on_it)
    entered.check()
    expected = [1000.0] * 64 + [1000.0 + number / 1024 for number in range(1, 1025)]
    assert counts == {"reply": 1088, "OverloadedError": TOTAL - 1088 - counts["TimeoutError"]} | (
        {"TimeoutError": counts["TimeoutError"]} if cut else {}
    )
    assert entered.entered == 1088
    given = Counter(policy.bucket.turns)
    assert set(given) == set(expected)
    assert given.total() == 1088 + counts["TimeoutError"], "a turn is given again only when it was given back"
    assert policy.bucket._freed == []
