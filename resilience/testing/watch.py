"""Two rooms around somebody's policy, which see what it does with the calls that pass through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resilience.policies.policy import Policy

if TYPE_CHECKING:
    from resilience.core.call import Call
    from resilience.core.ports import Proceed


class Watch:
    """What has been seen; `outside` and `inside` are the rooms. `threads`: what is cut off goes on."""

    def __init__(self, *, threads: bool = False) -> None:
        self.threads = threads
        self.outside = Outside(self)
        self.inside = Inside(self)
        self.calls = 0
        self.under_way = 0
        self.made = 0
        """Sends that were asked for: ``proceed(call)``."""
        self.begun = 0
        """Those that were awaited."""
        self.ended = 0
        self.trouble: dict[str, None] = {}
        """What is wrong, each once."""

    def early(self) -> None:
        """Note that the policy has answered a call that was still being made."""
        # A later one may be answered with what is known, and made for the next; threads leave behind what they cut.
        if self.calls == 1 and not self.threads:
            self.trouble["it answers before proceed(call) has ended"] = None

    def told(self) -> list[str]:
        """Return what is wrong."""
        if self.made > self.begun:
            self.trouble["it calls proceed(call) and does not await it"] = None
        return list(self.trouble)


class Outside(Policy):
    """The room around the policy."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    async def around(self, call: Call, proceed: Proceed) -> Any:  # noqa: ANN401
        """Let it pass."""
        watch, deadline = self._watch, call.deadline
        watch.calls += 1
        watch.under_way += 1
        try:
            reply = await proceed(call)
        finally:
            watch.under_way -= 1
            if call.deadline != deadline:
                watch.trouble["it changes call.deadline and does not restore it"] = None
        if watch.begun and not watch.ended:
            watch.early()
        return reply


class Inside(Policy):
    """The room in the policy."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def around(self, call: Call, proceed: Proceed) -> Any:  # noqa: ANN401 - a coroutine, which may come to nothing
        """Let it pass."""
        self._watch.made += 1
        return self._awaited(call, proceed)

    async def _awaited(self, call: Call, proceed: Proceed) -> Any:  # noqa: ANN401
        watch = self._watch
        watch.begun += 1
        if not watch.under_way:
            watch.early()
        try:
            return await proceed(call)
        finally:
            watch.ended += 1
