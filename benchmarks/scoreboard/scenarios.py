"""The scenarios: load, fault, and what counts as good. Every number of the comparison that is not a subject's is here."""

from __future__ import annotations

from dataclasses import dataclass

SEEDS = {"report": 20_261, "tuning": 7}
"""Schedules of calls are drawn from these. Whoever tunes a subject uses the second; the board shows the first."""
UNSAFE = 0.1
"""Share of the calls that are POSTs without an idempotency key: they must never reach servers twice."""
LAG_LIMIT = 0.005
"""The noise rule: a round is dropped when the generator's own lag has a 99th percentile above this, in seconds."""
DRAIN = 5.0
"""Seconds granted after the last call is due; what is still open then is lost."""
RECOVERED = 0.95
"""Share of the calls due in a window that must be good for the window to count as recovered."""
WINDOW = 0.5
"""Seconds of a window."""
SETTLED = 2.0
"""Seconds into a fault after which a subject should have settled: its p99 is taken again from there on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One fault under one load. Times are seconds from the first call."""

    name: str
    title: str
    acts: tuple[tuple[float, str], ...] = ()
    """What is done to the world, and when: names of methods of :class:`benchmarks.scoreboard.world.World`."""
    starts: float = 2.0
    """When the fault begins."""
    ends: float = 6.0
    """When it is over."""
    seconds: float = 8.0
    """For how long calls are made."""
    rate: float = 150.0
    """Calls a second, their distances drawn from an exponential distribution."""
    replicas: int = 3
    service_time: float = 0.01
    workers: int = 0
    """Requests a replica answers at the same time; 0: any number."""
    tiers: int = 1
    """Services in a row, each calling the next through the subject."""
    ttl: int = 5
    """Seconds for which the DNS answers may be kept."""
    hanging: float = 0.0
    """Calls a second that hang for as long as the subject lets them, from the fault's start to its end; not counted as calls."""
    objective: float = 0.1
    """A call is good when it is answered within so many seconds from the moment it was due."""
    attempt: float = 0.3
    """What subjects that can limit an attempt are told, in seconds."""
    total: float = 2.0
    """What subjects that can limit a call are told, in seconds."""
    recovers_from: str = "starts"
    """From which end of the fault the time to recover is counted."""


def _during(cause: str, mend: str = "mend") -> tuple[tuple[float, str], ...]:
    return ((2.0, cause), (6.0, mend))


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="healthy", title="nothing is wrong"),
        Scenario(name="killed", title="one of three is killed, and started again", acts=_during("kill", "start")),
        Scenario(name="hung", title="one of three accepts and never answers", acts=_during("hang", "resume")),
        Scenario(name="slow", title="one of three takes 20 times as long", acts=_during("slow")),
        Scenario(name="503-one", title="one of three answers 503 to 30 % of the requests", acts=_during("refuse_one")),
        Scenario(name="503-all", title="all three answer 503 to 30 % of the requests", acts=_during("refuse_all")),
        Scenario(
            name="reset", title="one of three resets connections once it has read the request", acts=_during("reset")
        ),
        Scenario(name="black-hole", title="packets to one of three vanish", acts=_during("black_hole", "clear")),
        Scenario(
            name="rolling",
            title="all three are replaced, one by one, under new addresses",
            acts=((2.0, "replace"), (3.5, "replace"), (5.0, "replace")),
        ),
        Scenario(
            name="dns-dead",
            title="the DNS server is silent, and one of three restarts",
            acts=((2.0, "silence"), (3.0, "restart"), (6.0, "speak")),
        ),
        Scenario(name="eleven", title="one of eleven is stuck", replicas=11, acts=_during("hang", "resume")),
        Scenario(
            name="hundred-hung",
            title="beside the calls 60 a second go to a path that never answers: 120 requests hang in the same client",
            hanging=60.0,
            attempt=2.0,
            acts=_during("hang_reports"),
        ),
        Scenario(
            name="tiers",
            title="three services in a row, and the last one answers 503 to everything",
            tiers=3,
            rate=50.0,
            seconds=12.0,
            acts=_during("refuse_everything"),
        ),
        Scenario(
            name="halved",
            title="capacity is halved for ten seconds under 0.9 of the load it could bear",
            rate=180.0,
            service_time=0.03,
            workers=2,
            objective=0.5,
            attempt=1.0,
            starts=3.0,
            ends=13.0,
            seconds=24.0,
            acts=((3.0, "halve"), (13.0, "mend")),
            recovers_from="ends",
        ),
    )
}
"""By name, in the order of the board."""

QUICK = ("healthy", "killed", "hung", "503-one", "reset")
"""The scenarios of ``--quick``."""
