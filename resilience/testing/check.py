"""Run somebody's own policy everywhere, and tell where it does not do the same."""

from __future__ import annotations

import dataclasses
import importlib.util
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from resilience.core.call import Ambient, ambient
from resilience.core.errors import ConfigurationError
from resilience.pipeline import Pipeline
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.blocking import BLOCKING, run_blocking
from resilience.runtimes.clock import StuckError
from resilience.runtimes.stand_in import here
from resilience.runtimes.stepping import cancelled_at
from resilience.runtimes.virtual import VirtualRuntime
from resilience.testing.virtual import virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resilience.core.ports import Policy

Step: TypeAlias = "tuple[float, str | type[Exception]]"

_STORIES: dict[str, tuple[Step, ...]] = {
    "success": ((0.0, "reply"),),
    "slow success": ((0.5, "reply"),),
    "failure": ((0.1, ConnectionError),),
    "failure, then success": ((0.1, ConnectionError), (0.1, "reply")),
    "another failure": ((0.0, KeyError),),
}
"""What the guarded function does each time it is called: how long it takes, and what comes of it; the last repeats."""
_CALLS = 3
_PAUSE = 1.0
"""Calls in a story, and seconds between them."""
_RECOVERY = 3600.0
"""Seconds after a cancelled call in which any circuit, budget or limit should have recovered."""
_MOST = 200
"""Suspensions of one call at which it is cancelled."""


@dataclass(frozen=True, slots=True)
class PolicyCheck:
    """What :func:`check_policy` has looked at."""

    runtimes: tuple[str, ...]
    stories: tuple[str, ...]
    cancelled: int
    """Suspensions at which a call was cancelled."""


def check_policy(make: Policy | Callable[[], Policy]) -> PolicyCheck:
    """Run a policy in threads, on asyncio, on trio where it is installed, and on the simulator's virtual time.

    `make` returns a new policy each time; a policy that is a dataclass will do as it is. The same calls must come to
    the same ends at the same instants everywhere: successes, failures, several in a row. A call that is cancelled, at
    each of its suspensions in turn, must end so, and the policy must serve the next call. Takes no real time. Raises
    AssertionError listing what differs; ConfigurationError for what is no policy.
    """
    fresh = _factory(make)
    backends = ["asyncio", *(["trio"] if importlib.util.find_spec("trio") else [])]
    differences: list[str] = []
    for name, steps in _STORIES.items():
        told = {"threads": _in_threads(fresh, steps), "simulator": _in_simulator(fresh, steps)}
        told |= {backend: _on_loop(fresh, steps, backend) for backend in backends}
        expected = told["asyncio"]
        for runtime, seen in told.items():
            if seen != expected:
                differences.append(f"{name}: asyncio: {_shown(expected)}; {runtime}: {_shown(seen)}")
    cancelled = 0
    for backend in backends:
        for name in ("slow success", "failure, then success"):
            for at in range(1, _MOST + 1):
                trouble, reached = _cancel(fresh, _STORIES[name], backend, at)
                if not reached:
                    break
                cancelled += 1
                differences += [f"{name}, cancelled at suspension {at} on {backend}: {it}" for it in trouble]
    if differences:
        message = "the policy does not do the same everywhere:\n" + "\n".join(f"  {it}" for it in differences)
        raise AssertionError(message)
    return PolicyCheck(("threads", *backends, "simulator"), tuple(_STORIES), cancelled)


def _factory(make: object) -> Callable[[], Pipeline]:
    if not isinstance(make, type) and callable(getattr(make, "around", None)):
        if not dataclasses.is_dataclass(make):
            argument, expected = "make", "a function that returns a new policy each time (lambda: Policy(…))"
            raise ConfigurationError(argument, make, expected)
        make = partial(dataclasses.replace, cast("Any", make))
    if not callable(make):
        argument, expected = "make", "a policy, or a function that returns one"
        raise ConfigurationError(argument, make, expected)
    return lambda: Pipeline(cast("Policy", make()))


class _Story:
    """Notes what happens, in instants counted from its beginning."""

    def __init__(self, steps: tuple[Step, ...], now: Callable[[], float]) -> None:
        self._steps = steps
        self._left: list[Step] = []
        self._now = now
        self._began = now()
        self.seen: list[tuple[str, float]] = []

    def begin(self) -> None:
        self._left = list(self._steps)

    def note(self, what: str) -> None:
        self.seen.append((what, round(self._now() - self._began, 6)))

    def step(self) -> Step:
        self.note("called")
        return self._left.pop(0) if len(self._left) > 1 else self._left[0]


def _result(outcome: str | type[Exception]) -> str:
    if isinstance(outcome, str):
        return outcome
    raise outcome


def _ended(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _in_threads(fresh: Callable[[], Pipeline], steps: tuple[Step, ...]) -> list[tuple[str, float]]:
    with virtual() as clock:
        pipeline, story = fresh(), _Story(steps, clock.now)
        runtime: Any = here(BLOCKING)

        def function() -> str:
            seconds, outcome = story.step()
            run_blocking(runtime.pass_time(seconds))
            return _result(outcome)

        for _ in range(_CALLS):
            story.begin()
            try:
                story.note(repr(pipeline.call(function)))
            except Exception as error:  # noqa: BLE001 - compared with what the others get
                story.note(_ended(error))
            clock.advance(_PAUSE)
        return _named(story)


async def _tell(pipeline: Pipeline, story: _Story, wait: Any) -> None:  # noqa: ANN401 - a runtime's own sleep
    async def function() -> str:
        seconds, outcome = story.step()
        await wait(seconds)
        return _result(outcome)

    for _ in range(_CALLS):
        story.begin()
        try:
            story.note(repr(await pipeline.acall(function)))
        except Exception as error:  # noqa: BLE001 - compared with what the others get
            story.note(_ended(error))
        await wait(_PAUSE)


def _on_loop(fresh: Callable[[], Pipeline], steps: tuple[Step, ...], backend: str) -> list[tuple[str, float]]:
    with virtual() as clock:
        story = _Story(steps, clock.now)
        runtime: Any = here(ANYIO)
        clock.run(_tell, fresh(), story, runtime.pass_time, backend=backend)
        return _named(story)


def _in_simulator(fresh: Callable[[], Pipeline], steps: tuple[Step, ...]) -> list[tuple[str, float]]:
    runtime = VirtualRuntime()
    story = _Story(steps, runtime.now)
    token = ambient.set(Ambient(runtime=runtime))
    try:
        runtime.run(partial(_tell, fresh(), story, runtime.sleep))
    except RuntimeError as error:
        story.note(_ended(error))
    finally:
        ambient.reset(token)
    return _named(story)


def _cancel(fresh: Callable[[], Pipeline], steps: tuple[Step, ...], backend: str, at: int) -> tuple[list[str], bool]:
    """Cancel one call at a suspension; return what is wrong then, and whether it had that many."""
    trouble: list[str] = []
    reached: list[bool] = []

    async def main() -> None:
        pipeline, story = fresh(), _Story(steps, clock.now)
        story.begin()

        async def function() -> str:
            seconds, outcome = story.step()
            await runtime.pass_time(seconds)
            return _result(outcome)

        suspensions, ended, error = await cancelled_at(at, partial(pipeline.acall, function))
        reached.append(suspensions >= at)
        if suspensions < at:  # it had ended before, in its own way
            return
        if error is not None:
            trouble.append(f"it raised {_ended(error)} in the place of the cancellation")
        elif not ended:
            trouble.append("it went on as if nothing had happened")
        await runtime.pass_time(_RECOVERY)
        try:
            reply = await pipeline.acall(_reply)
        except Exception as error:  # noqa: BLE001 - told
            trouble.append(f"the next call came to {_ended(error)}")
        else:
            trouble.extend(_unlike(reply))

    with virtual() as clock:
        runtime: Any = here(ANYIO)
        try:
            clock.run(main, backend=backend)
        except StuckError:
            trouble.append("afterwards everybody waited for something that did not come")
    return trouble, bool(reached and reached[0])


async def _reply() -> str:
    return "reply"


def _unlike(reply: object) -> Iterator[str]:
    if reply != "reply":
        yield f"the next call came to {reply!r}"


def _named(story: _Story) -> list[tuple[str, float]]:
    # A function's name is in some messages, and differs from runtime to runtime.
    names = ("_in_threads.<locals>.function", "_tell.<locals>.function")
    seen: list[tuple[str, float]] = []
    for what, when in story.seen:
        for name in names:
            what = what.replace(name, "function")  # noqa: PLW2901 - each in turn
        seen.append((what, when))
    return seen


def _shown(seen: list[tuple[str, float]]) -> str:
    return ", ".join(f"{what} at {when:g}" for what, when in seen)
