"""Run somebody's own policy everywhere, and tell where it does not do the same."""

from __future__ import annotations

import dataclasses
import importlib.util
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from resilience.core.errors import ConfigurationError
from resilience.pipeline import Pipeline
from resilience.runtimes.watched import BlockedError, watched
from resilience.testing.stories import STORIES, Teller

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilience.core.ports import Policy
    from resilience.testing.stories import Seen

_CANCELLED = ("slow success", "failure, then success")
"""Stories in which calls are cancelled."""
_MOST = 200
"""Suspensions of one call at which it is cancelled."""
_CLOSE = 1e-5
"""Seconds that are no difference: the instants of ``virtual()`` are multiples of 2 ** -26 s, the simulator's are not.
To round both would not do: those on either side of a half would be told apart."""
_FOREIGN = (
    "event loop",
    "unrecognized yield",
    "not of the virtual runtime",
    "suspended in blocking code",
    "create_future",
)
"""Words of what is raised where something is awaited that is not the runtime's."""


@dataclass(frozen=True, slots=True)
class PolicyCheck:
    """What :func:`check_policy` has looked at."""

    runtimes: tuple[str, ...]
    stories: tuple[str, ...]
    cancelled: int
    """Suspensions at which calls were cancelled."""


def check_policy(make: Policy | Callable[[], Policy]) -> PolicyCheck:
    """Run a policy in threads, on asyncio, on trio where it is installed, and on the simulator's virtual time.

    `make` returns a new policy each time; a policy that is a dataclass will do as it is. The same calls must come to
    the same ends at the same instants everywhere: successes, failures, several in a row. Calls at the same time must
    not block each other for good. A call that is cancelled, at each of its suspensions in turn, must end so, and the
    policy must serve the next call as if nothing had been. ``proceed(call)`` is awaited, ``call.deadline`` restored.
    Takes no real time. Raises AssertionError listing what is wrong; ConfigurationError for what is no policy.
    """
    factory = _factory(make)
    Pipeline(factory())  # what is no policy is refused here
    teller = Teller(factory)
    try:
        cancelled, backends, differences = watched(partial(_look, teller), lambda: teller.told)
    except BlockedError as error:
        message = f"the policy blocks its thread for good at {error}: does it hold a lock while the call goes on?"
        raise AssertionError(message) from None
    wrong = [*(f"{it} ({', '.join(stories)})" for it, stories in teller.trouble.values()), *differences]
    if wrong:
        foreign = any(word in it for it in wrong for word in _FOREIGN)
        hint = ["it awaits something besides proceed(call) and what call.runtime offers"] if foreign else []
        message = "the policy does not do the same everywhere, or not what it should:\n"
        raise AssertionError(message + "\n".join(f"  {it}" for it in (*hint, *wrong)))
    return PolicyCheck(("threads", *backends, "simulator"), tuple(STORIES), cancelled)


def _factory(make: object) -> Callable[[], Policy]:
    if not isinstance(make, type) and callable(getattr(make, "around", None)):
        if not dataclasses.is_dataclass(make):
            argument, expected = "make", "a function that returns a new policy each time (lambda: Policy(…))"
            raise ConfigurationError(argument, make, expected)
        make = partial(dataclasses.replace, cast("Any", make))
    if not callable(make):
        argument, expected = "make", "a policy, or a function that returns one"
        raise ConfigurationError(argument, make, expected)
    return cast("Callable[[], Policy]", make)


def _look(teller: Teller) -> tuple[int, tuple[str, ...], list[str]]:
    backends = ("asyncio", *(("trio",) if importlib.util.find_spec("trio") else ()))
    runtimes = ("simulator", "threads", *backends)
    differences: list[str] = []
    for name in STORIES:
        told = {runtime: teller.story(name, runtime) for runtime in runtimes}
        expected = told["asyncio"]
        for runtime, seen in told.items():
            if not _same(seen, expected):
                differences.append(f"{name}: asyncio: {_shown(expected)}; {runtime}: {_shown(seen)}")
    for runtime in runtimes:
        teller.together(runtime)
    cancelled = 0
    for backend in backends:
        for name in _CANCELLED:
            for at in range(1, _MOST + 1):
                trouble, reached = teller.cancel(name, backend, at)
                if not reached:
                    break
                cancelled += 1
                differences += [f"{name}, cancelled at suspension {at} on {backend}: {it}" for it in trouble]
    return cancelled, backends, differences


def _same(seen: Seen, expected: Seen) -> bool:
    return [what for what, _ in seen] == [what for what, _ in expected] and all(
        abs(when - instant) <= _CLOSE for (_, when), (_, instant) in zip(seen, expected, strict=True)
    )


def _shown(seen: Seen) -> str:
    return ", ".join(f"{what} at {when:g}" for what, when in seen)
