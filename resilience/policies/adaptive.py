"""A concurrency limit that finds itself."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from resilience.core.errors import OverloadedError, RejectedError, require
from resilience.core.outcome import UNKNOWN, Blame, Err, Ok
from resilience.policies.laws import Aimd, Sample
from resilience.policies.policy import Policy
from resilience.policies.verdicts import judge_bare, judge_cut

if TYPE_CHECKING:
    from resilience.core.call import Call
    from resilience.core.outcome import Verdict
    from resilience.core.ports import Proceed
    from resilience.policies.laws import Law


class Inside:
    """How many are inside, against a limit that moves. Pure bookkeeping under one lock; exact at any moment."""

    __slots__ = ("_limit", "_lock", "taken")

    def __init__(self, law: Law) -> None:
        self._lock = threading.Lock()
        self._limit = law.begin()
        self.taken = 0

    @property
    def limit(self) -> int:
        """How many may be inside now."""
        return math.floor(self._limit.limit)

    def take(self) -> int:
        """Let one in and return how many are inside then; 0 when there is no room."""
        with self._lock:
            if self.taken >= math.floor(self._limit.limit):
                return 0
            self.taken += 1
            return self.taken

    def give_back(self, sample: Sample | None, now: float, /) -> None:
        """Let one out; without a sample nothing is learnt from it."""
        with self._lock:
            self.taken -= 1
            if sample is not None:
                self._limit.learn(sample, now)


@dataclass(frozen=True, slots=True)
class AdaptiveLimit(Policy):
    """Let as many calls inside at once as the far side can take; `law` says how that is found out.

    `law`: :class:`Aimd` (the default; Netflix recommends it for clients), :class:`Gradient2`, or
    :class:`TargetLatency`, which is told what is slow; each with a floor and a ceiling. Learnt from are calls that were
    answered, failed or timed out; what was turned away or cut by the caller teaches nothing.
    Raises :class:`OverloadedError`, with nothing sent, when there is no room; and ConfigurationError.
    """

    law: Law = field(default_factory=Aimd)
    inside: Inside = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the law and begin."""
        require("law", self.law, "Aimd(…), Gradient2(…) or TargetLatency(…)", _is_law)
        object.__setattr__(self, "inside", Inside(self.law))

    async def around(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401
        """Hold a place while the call is inside."""
        inside, runtime = self.inside, call.runtime
        began = runtime.now()
        in_flight = inside.take()
        if not in_flight:
            message = f"{call.operation or 'the call'} would be one too many: {inside.limit} are in flight"
            raise OverloadedError(message, service=call.service or call.operation or None)
        verdict = UNKNOWN
        try:
            reply = await proceed(call)
            verdict = call.verdict or judge_bare(Ok(reply), call)
        except Exception as error:
            known = call.verdict
            verdict = judge_bare(Err(error), call) if known is None or isinstance(error, RejectedError) else known
            raise
        except BaseException as error:
            verdict = judge_cut(error, call, began)
            raise
        finally:
            now = runtime.now()
            inside.give_back(_sample(began, now, in_flight, verdict), now)
        return reply


def _sample(began: float, now: float, in_flight: int, verdict: Verdict) -> Sample | None:
    if verdict.blame is Blame.UNKNOWN:
        return None
    # 429 speaks well of a server's health, and says that it has enough.
    return Sample(began, now - began, in_flight, dropped=verdict.blame is Blame.BAD or verdict.retry)


def _is_law(value: object) -> bool:
    return not isinstance(value, type) and callable(getattr(value, "begin", None))
