"""Run the whole: the world, both callers, the script; draw while it lasts, then write what is left of it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from rich.live import Live

from resilience.cli.demo.contest import Contest
from resilience.cli.demo.page import page
from resilience.cli.demo.picture import draw
from resilience.cli.demo.scenes import script as the_script
from resilience.cli.demo.screen import frame
from resilience.cli.demo.sides import OURS, PLAIN
from resilience.cli.demo.table import errors, table
from resilience.cli.demo.tally import rows
from resilience.cli.demo.world import World

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console

    from resilience.cli.demo.scenes import Scene, Script

_FRAME = 0.25
"""Seconds between two pictures."""


def show(*, pace: float, out: Path, console: Console) -> int:
    """Run the demo, write its files to `out`; return 1 when our client lost a call it should have saved, else 0."""
    script = the_script(pace)
    with World() as world, Contest(world, script.seconds) as contest:
        with Live(console=console, auto_refresh=False, transient=True) as screen:
            _play(script, world, contest, screen)
        contest.finish()
        reads = world.reads()
    return _close(script, contest, reads, out, console)


def _play(script: Script, world: World, contest: Contest, screen: Live) -> None:
    console = screen.console
    cues = list(_cues(script))
    while (contest.now < script.seconds or cues) and not contest.broken:
        while cues and cues[0][0] <= contest.now:
            _, scene, begins = cues.pop(0)
            if begins:
                scene.act(world)
                if not console.is_terminal:
                    console.print(f"{scene.starts:4.0f} s  {scene.title}")
            else:
                scene.mend(world)
        if console.is_terminal:
            sides = (contest.plain, contest.ours)
            names = [server.name for server in world.fleet]
            screen.update(frame(script, contest.now, sides, world.moods, names, console.width), refresh=True)
        time.sleep(_FRAME)


def _cues(script: Script) -> Iterator[tuple[float, Scene, bool]]:
    for scene in script.scenes:
        yield scene.starts, scene, True
        yield scene.ends, scene, False


def _close(script: Script, contest: Contest, reads: Counter[str], out: Path, console: Console) -> int:
    plain, ours = sides = (contest.plain, contest.ours)
    found = rows(script, plain, ours)
    sends = [reads[tally.side] / max(1, tally.between(0).sent) for tally in sides]
    out.mkdir(parents=True, exist_ok=True)
    draw(script, sides, out / "demo.png")
    (out / "demo.html").write_text(page(script, sides, found, sends), encoding="utf-8")
    raw = {tally.side: [[c.scheduled, c.latency, c.lag, c.error, c.server] for c in tally.calls] for tally in sides}
    (out / "demo.json").write_text(json.dumps(raw), encoding="utf-8")
    console.print(table(found, sends, console.width))
    console.print(f"lost by {PLAIN} httpx: {errors(plain.errors())}", highlight=False)
    console.print(f"lost by {OURS}: {errors(ours.errors())}", highlight=False)
    console.print(
        f"\nwritten: {out / 'demo.html'}, {out / 'demo.png'}, {out / 'demo.json'} (every call)", highlight=False
    )
    lost = ours.between(0).lost
    excused = lost - len(ours.unexcused())
    if excused:
        stall = max(tally.longest_stall for tally in sides)
        told = f"{excused} of the calls that resilience lost are not held against it"
        console.print(f"{told}: the machine itself stood still, for up to {stall:.1f} s", style="yellow")
    if lost > excused:
        console.print(f"resilience lost {lost - excused} calls it should have saved", style="bold red")
        return 1
    return 0
