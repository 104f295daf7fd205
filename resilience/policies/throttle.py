"""Hold back what would be refused anyway: client-side adaptive throttling, from Google's SRE book, chapter 21.

A backend that is overloaded spends its time on refusing. So each client refuses by itself, at random, so many of its
calls that the backend sees about `k` times what it accepts.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from resilience.core.errors import OverloadedError, RejectedError, require
from resilience.core.outcome import UNKNOWN, Blame, Err, Ok
from resilience.core.units import ranged, share
from resilience.core.units import seconds as in_seconds
from resilience.policies.policy import Policy
from resilience.policies.verdicts import judge_bare, judge_cut

if TYPE_CHECKING:
    from datetime import timedelta

    from resilience.core.call import Call
    from resilience.core.ports import Proceed

_SLICES = 12


class Acceptance:
    """How many calls were made, and how many accepted, within the window. Pure: `now` comes in as an argument.

    A call counts from the moment it is made (go-zero counted at the end, and so never saw what hung). While it is under
    way it is taken to be accepted for a twelfth to a sixth of the window: else a burst after a pause would refuse
    itself.
    """

    __slots__ = ("_accepted", "_asked", "_k", "_lock", "_most", "_open", "_slice", "_width")

    def __init__(self, k: float, window: float, most: float) -> None:
        self._k = k
        self._most = most
        self._width = max(window / _SLICES, 1e-6)
        self._lock = threading.Lock()
        self._slice = 0
        self._asked = [0] * _SLICES
        self._accepted = [0] * _SLICES
        self._open = [0] * _SLICES
        """Of those asked in that slice, the ones that are not over."""

    def ask(self, now: float, draw: float, /) -> int | None:
        """Count a call; return the slice it is counted in, or None when it is refused. `draw` is in [0, 1)."""
        with self._lock:
            number = self._turn_locked(now)
            refused = draw < self._refusal_locked()
            self._asked[number % _SLICES] += 1
            if refused:
                return None
            self._open[number % _SLICES] += 1
            return number

    def settle(self, number: int, blame: Blame, now: float, /) -> None:
        """Take note of how a call ended: accepted, refused, or nothing that says either: then it does not count."""
        with self._lock:
            latest = self._turn_locked(now)
            if number > latest - _SLICES:  # else it is forgotten already
                self._open[number % _SLICES] -= 1
                if blame is Blame.UNKNOWN:
                    self._asked[number % _SLICES] -= 1
                elif blame is Blame.GOOD:
                    self._accepted[number % _SLICES] += 1

    def refusal(self, now: float, /) -> float:
        """Return the share of calls that would be refused now."""
        with self._lock:
            self._turn_locked(now)
            return self._refusal_locked()

    def _refusal_locked(self) -> float:
        young = self._open[self._slice % _SLICES] + self._open[(self._slice - 1) % _SLICES]
        asked, accepted = sum(self._asked), sum(self._accepted) + young
        return min(self._most, max(0.0, (asked - self._k * accepted) / (asked + 1)))

    def _turn_locked(self, now: float) -> int:
        number = int(now / self._width)
        for passed in range(max(self._slice + 1, number - _SLICES + 1), number + 1):
            at = passed % _SLICES
            self._asked[at] = self._accepted[at] = self._open[at] = 0
        self._slice = max(self._slice, number)
        return self._slice


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle(Policy):
    """Refuse by chance, ``max(0, (calls - k * accepted) / (calls + 1))``, when too few of the latest were accepted.

    `k`: above 1, up to 100 (2, the SRE book's): the backend is asked for up to `k` times what it accepts. `window`:
    seconds (120, the SRE book's); longer than a call takes. `most`: the largest share that is refused (0.8, Envoy's),
    so that recovery is seen. Accepted is what the far side is not to blame for; calls that say nothing do not count.

    Raises :class:`OverloadedError`, with nothing sent, and ConfigurationError.
    """

    k: float = 2.0
    window: float | timedelta = 120.0
    most: float = 0.8
    acceptance: Acceptance = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the numbers and begin with a clean slate."""
        ranged("k", self.k, "a number above 1, up to 100", lambda k: not isinstance(k, bool) and 1 < k <= 100)  # noqa: PLR2004
        window = in_seconds("window", self.window)
        object.__setattr__(self, "window", window)
        require("most", share("most", self.most), "a number above 0, below 1", lambda most: most < 1)
        object.__setattr__(self, "acceptance", Acceptance(self.k, window, self.most))

    async def around(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Refuse the call, or let it through and see how it ends."""
        runtime = call.runtime
        since = runtime.now()
        asked = self.acceptance.ask(since, runtime.random())
        if asked is None:
            who = call.operation or "the call"
            message = f"{who} was held back: its backend accepts too few of the calls of the last {self.window:g} s"
            raise OverloadedError(message, service=call.service or call.operation or None)
        verdict = UNKNOWN
        try:
            reply = await proceed(call)
            verdict = call.verdict or judge_bare(Ok(reply), call)
        except Exception as error:
            rejected = isinstance(error, RejectedError)
            verdict = call.verdict if call.verdict and not rejected else judge_bare(Err(error), call)
            raise
        except BaseException as error:
            verdict = judge_cut(error, call, since)
            raise
        finally:
            # 429 speaks well of a server's health and is a refusal all the same.
            blame = Blame.BAD if verdict.blame is Blame.GOOD and verdict.retry else verdict.blame
            self.acceptance.settle(asked, blame, runtime.now())
        return reply
