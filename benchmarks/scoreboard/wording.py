"""How numbers are written: the same in Markdown and on the page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from benchmarks.scoreboard.standing import WIDEST
from benchmarks.scoreboard.subjects import OURS

if TYPE_CHECKING:
    from benchmarks.scoreboard.board import Section
    from benchmarks.scoreboard.standing import Standing

HEADER = (
    "subject",
    "answered %",
    "in time %",
    "p50 ms",
    "p99 ms",
    "p99 ms, settled",
    "sends ÷ call",
    "during fault",
    "POSTs lost",
    "POSTs twice",
    "recovered s",
    "CPU ms/call",
    "connections",
    "rounds",
)
MEANING = {
    "answered %": "GETs answered below 500, of all GETs",
    "in time %": "the same within the objective, counted from the moment the call was due",
    "p99 ms, settled": "of calls due from two seconds after the fault's start to its end",
    "sends ÷ call": "requests the servers read ÷ calls made, over the whole cell; of several tiers, the most",
    "during fault": "the same of the calls due during the fault",
    "POSTs lost": "a POST without an idempotency key may be lost: it must not be sent twice",
    "recovered s": "from the fault's start (halved: its end) to the end of the last half second with less than 95 % in time",
    "CPU ms/call": "of the client's process; of the proxy's behind the plus",
    "rounds": "that count, and in brackets those the noise rule dropped; ~ before a name: all were dropped, for orientation only",
}

FIRST = (
    "nobody has more calls in time, by more than the A/A spread, for as many sends or fewer. The A/A spread is the most that one "
    "subject and its twin were apart in a round, in points of a hundred; where it is above "
    f"{100 * WIDEST:g} points nobody is called first"
)
TOO_WIDE = "spread too wide to rank"
AGAIN = (
    "Any cell can be run again, beside the one on record: a scenario, a subject, a round. That needs Linux, root or unprivileged user "
    "namespaces, and the environment, which `make .venv/bench.stamp` makes without running anything (`make scoreboard` makes it, "
    "installs haproxy and nginx when it is root on Debian, and runs all that is not on record)."
)


def percent(share: float) -> str:
    """`99.87`, and 100 only when it is."""
    text = f"{100 * share:.2f}"
    return "99.99" if text == "100.00" and share < 1 else text


def number(value: float, digits: int = 1) -> str:
    """A number, `never` for infinity."""
    if math.isnan(value):
        return "–"
    return "never" if math.isinf(value) else f"{value:.{digits}f}"


def line(it: Standing, section: Section) -> list[str]:
    """One line of a scenario's table, without the name's decoration."""
    cpu = number(it.cpu, 2) + (f" + {number(it.proxy_cpu, 2)}" if it.proxy_cpu else "")
    rounds = f"{it.rounds}" if not it.dropped else f"{0 if it.noisy else it.rounds} ({it.dropped})"
    star = " ★" if section.first(it.subject) and not it.noisy else ""
    return [
        f"{'~ ' if it.noisy else ''}{it.subject}",
        percent(it.success),
        percent(it.within) + star,
        number(it.p50),
        number(it.p99),
        number(it.settled_p99),
        f"{it.sends:.3f}",
        f"{it.sends_during:.3f}",
        f"{it.posts_lost} of {it.posts}",
        str(it.duplicated),
        number(it.recovered),
        cpu,
        number(it.connections, 0),
        rounds,
    ]


def about(section: Section) -> str:
    """Load and fault in one line."""
    s = section.scenario
    hanging = f", {s.hanging:g} more that hang" if s.hanging else ""
    workers = f" with {s.workers} workers each" if s.workers else ""
    fault = "" if s.name == "healthy" else f"fault from {s.starts:g} to {s.ends:g} s; "
    return (
        f"{s.rate:g} calls a second for {s.seconds:g} s{hanging}; {s.replicas} replicas{workers}, "
        f"{s.service_time * 1000:g} ms a request; {fault}objective {s.objective * 1000:g} ms; told: "
        f"{s.attempt:g} s an attempt, {s.total:g} s a call; A/A spread {100 * section.noise:.2f} points"
        f"{'' if section.controlled else ' (no control in a round that was kept: the least there is)'}"
    )


def rounds(section: Section) -> str:
    """Rounds and A/A spread, for the headline: `6, 0.20`."""
    apart = f"{100 * section.noise:.2f}" if section.controlled else "no control"
    return f"{section.rounds}, {apart}"


def again(section: Section) -> str:
    """A command that runs one cell again, as it can be pasted."""
    subject = OURS if OURS in section.standings else next(iter(section.standings))
    return f".venv/bin/python -m benchmarks scoreboard --cell '{section.scenario.name}/{subject}/1'"
