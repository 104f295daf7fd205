"""What happens, and when: the faults of the demo, one after the other, in seconds from its start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resilience.cli.demo.world import World

RATE = 100.0
"""Calls a second on each side."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One fault: `short` fits into as many characters as it lasts seconds."""

    short: str
    title: str
    starts: float
    ends: float
    begin: str
    """Name of the :class:`World` method that causes it."""
    end: str
    """Name of the one that mends it."""
    color: str

    def act(self, world: World) -> None:
        """Cause the fault."""
        getattr(world, self.begin)()

    def mend(self, world: World) -> None:
        """End it."""
        getattr(world, self.end)()


@dataclass(frozen=True, slots=True)
class Script:
    """All scenes, and when the load ends."""

    scenes: tuple[Scene, ...]
    seconds: float

    def at(self, second: float) -> Scene | None:
        """Give the fault of a moment, if there is one."""
        return next((scene for scene in self.scenes if scene.starts <= second < scene.ends), None)


_PAUSE = 2.0
_PLOT = (
    ("killed", "servers a and b are killed: connections are refused", 6.0, "kill", "revive", "#d1495b"),
    ("hung", "servers c and d hang: they accept connections and never answer", 6.0, "hang", "resume", "#8d5bd6"),
    ("slowed", "servers e and f take half a second for every answer", 6.0, "slow", "speed_up", "#b9770e"),
    ("503", "servers a and b answer 503 to everything", 6.0, "refuse", "serve_again", "#d2691e"),
    ("replaced", "servers c and d are killed and replaced under new addresses", 8.0, "replace", "nothing", "#1f8a8a"),
    ("DNS down", "the DNS server is silent, and servers e and f restart", 8.0, "silence", "speak", "#4a6fa5"),
)


def script(pace: float = 1.0) -> Script:
    """Return the script; `pace` below 1 shortens it."""
    scenes: list[Scene] = []
    clock = 3.0 * pace
    for short, title, lasts, begin, end, color in _PLOT:
        scenes.append(Scene(short, title, clock, clock + lasts * pace, begin, end, color))
        clock += (lasts + _PAUSE) * pace
    return Script(tuple(scenes), clock)
