"""What a guarded function does, call by call, and how the same story is told on each runtime."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Any, TypeAlias

from resilience.core.call import Ambient, ambient
from resilience.pipeline import Pipeline
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.blocking import BLOCKING, run_blocking
from resilience.runtimes.clock import StuckError
from resilience.runtimes.stand_in import here
from resilience.runtimes.stepping import cancelled_at
from resilience.runtimes.virtual import VirtualRuntime
from resilience.testing.virtual import virtual
from resilience.testing.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from resilience.core.ports import Policy

Step: TypeAlias = "tuple[float, str | type[Exception]]"
Seen: TypeAlias = "list[tuple[str, float]]"

STORIES: dict[str, tuple[Step, ...]] = {
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
_TOGETHER = 2
"""Calls at the same time."""
_RECOVERY = 3600.0
"""Seconds after a cancelled call in which any circuit, budget or limit should have recovered."""
_AGAIN = 20
"""Calls cancelled at the same suspension: as many places as that may be lost before one is missed."""
_MISTAKES = (TypeError, AttributeError, NameError, AssertionError, StuckError)
"""What no function raises here, and no policy means to raise."""
_STUCK = "everybody waits for something that does not come"
_OURS = str(Path(__file__).parents[1])


class Teller:
    """Tells stories about a policy, and notes what is wrong wherever that is the same on all runtimes."""

    def __init__(self, make: Callable[[], Policy]) -> None:
        self._make = make
        self.told = 0
        """Stories so far."""
        self.trouble: dict[str, tuple[str, list[str]]] = {}
        """What is wrong, and in which stories; each once, whatever objects it names."""

    def story(self, name: str, runtime: str) -> Seen:
        """Return what was seen when a story was told on a runtime."""
        seen = self._tell(name, runtime, _calls, STORIES[name])
        self.told += 1
        return seen

    def together(self, runtime: str) -> None:
        """Call it several times at once."""
        self._tell("calls at the same time", runtime, _at_once, STORIES["slow success"])
        self.told += 1

    def cancel(self, name: str, runtime: str, at: int) -> tuple[list[str], bool]:
        """Cancel calls at a suspension; return what is wrong then, and whether they had that many."""
        trouble: list[str] = []
        reached: list[bool] = []
        with virtual() as clock:
            watch = Watch()
            pipeline, untouched = self._around(watch), Pipeline(self._make())
            story = Story(STORIES[name], clock.now, {})
            main = partial(_cancelled, at, pipeline, untouched, story, trouble, reached)
            try:
                clock.run(main, backend=runtime)
            except StuckError:
                trouble.append("afterwards everybody waited for something that did not come")
        self.told += 1
        trouble += [wrong for wrong in watch.told() if wrong not in self.trouble]
        return trouble, bool(reached and reached[0])

    def _around(self, watch: Watch) -> Pipeline:
        return Pipeline(watch.outside, self._make(), watch.inside)

    def _tell(self, name: str, runtime: str, tell: Any, steps: tuple[Step, ...]) -> Seen:  # noqa: ANN401 - of both kinds
        watch = Watch(threads=runtime == "threads")
        pipeline = self._around(watch)
        mistakes: dict[str, str] = {}
        with virtual() as clock:  # around the simulator too: there it tells of waits that are none of its own
            simulator = Simulator()
            now = simulator.now if runtime == "simulator" else clock.now
            story = Story(steps, now, mistakes)
            try:
                if runtime == "threads":
                    _in_threads(clock, pipeline, story, together=tell is _at_once)
                elif runtime == "simulator":
                    simulator.tell(partial(tell, pipeline, story, simulator.sleep, simulator))
                else:
                    loop: Any = here(ANYIO)
                    clock.run(tell, pipeline, story, loop.pass_time, None, backend=runtime)
            except Exception as error:  # noqa: BLE001 - told
                story.end(error)
        for key, wrong in (*mistakes.items(), *((it, it) for it in watch.told())):
            stories = self.trouble.setdefault(key, (wrong, []))[1]
            if name not in stories:
                stories.append(name)
        return story.seen


class Story:
    """Notes what happens, in instants counted from its beginning."""

    def __init__(self, steps: tuple[Step, ...], now: Callable[[], float], mistakes: dict[str, str]) -> None:
        self._steps = steps
        self._left: list[Step] = []
        self._now = now
        self._began = now()
        self._mistakes = mistakes
        self.seen: Seen = []

    def begin(self) -> None:
        """Begin with the first step."""
        self._left = list(self._steps)

    def note(self, what: str) -> None:
        """Note something."""
        self.seen.append((what, self._now() - self._began))

    def end(self, error: Exception) -> None:
        """Note what a call came to, or all of them."""
        if isinstance(error, StuckError):
            self._mistakes[_STUCK] = _STUCK
            self.note(_STUCK)
            return
        if isinstance(error, _MISTAKES):
            place = _place(error)
            self._mistakes.setdefault(f"{type(error).__name__}{place}", f"it raises {ended(error)}{place}")
        self.note(ended(error))

    def step(self) -> Step:
        """Return what the function is to do."""
        self.note("called")
        return self._left.pop(0) if len(self._left) > 1 else self._left[0]


class Simulator(VirtualRuntime):
    """Virtual time in which a wait that is not the runtime's is told of, instead of being real."""

    mine = False
    """Is it its turn on a clock? There is none; for whoever looks."""

    @property
    def clock(self) -> Simulator:
        """Return what ``time`` asks inside a virtual block."""
        return self

    def wait(self, _until: float, /) -> None:
        """Refuse: ``time.sleep`` comes here."""
        message = "time.sleep stops all tasks at once: await call.runtime.sleep(seconds) instead"
        raise RuntimeError(message)

    def tell(self, main: Callable[[], Any]) -> None:
        """Run `main` here."""
        token = ambient.set(Ambient(runtime=self))
        try:
            self.run(main)
        except RuntimeError as error:
            raise (StuckError() if "everybody waits" in str(error) else error) from None
        finally:
            with suppress(RuntimeError):
                self.advance(0.0)  # what has been started and not begun
            ambient.reset(token)


def ended(error: Exception) -> str:
    """Return a failure in words."""
    return f"{type(error).__name__}: {error}"


def _place(error: Exception) -> str:
    places = [frame for frame in extract_tb(error.__traceback__) if not frame.filename.startswith(_OURS)]
    return f" ({places[-1].filename}:{places[-1].lineno})" if places else ""


def _result(outcome: str | type[Exception]) -> str:
    if isinstance(outcome, str):
        return outcome
    raise outcome


def _in_threads(clock: Any, pipeline: Pipeline, story: Story, *, together: bool) -> None:  # noqa: ANN401 - of virtual()
    runtime: Any = here(BLOCKING)

    def function() -> str:
        seconds, outcome = story.step()
        run_blocking(runtime.pass_time(seconds))
        return _result(outcome)

    function.__qualname__ = "function"

    def call() -> None:
        try:
            story.note(repr(pipeline.call(function)))
        except StuckError:
            raise
        except Exception as error:  # noqa: BLE001 - compared with what the others get
            story.end(error)

    if together:
        story.begin()
        for thread in [clock.start(call) for _ in range(_TOGETHER)]:
            thread.result()
        return
    for _ in range(_CALLS):
        story.begin()
        call()
        clock.advance(_PAUSE)


def _function(story: Story, wait: Any) -> Callable[[], Coroutine[Any, Any, str]]:  # noqa: ANN401 - a runtime's own sleep
    """Return what is called: the same for all calls of a story, as in threads, for policies that know it again."""

    async def function() -> str:
        seconds, outcome = story.step()
        await wait(seconds)
        return _result(outcome)

    function.__qualname__ = "function"
    return function


async def _call(pipeline: Pipeline, story: Story, function: Callable[[], Coroutine[Any, Any, str]]) -> None:
    try:
        story.note(repr(await pipeline.acall(function)))
    except StuckError:
        raise
    except Exception as error:  # noqa: BLE001 - compared with what the others get
        story.end(error)


async def _calls(pipeline: Pipeline, story: Story, wait: Any, _simulator: Simulator | None) -> None:  # noqa: ANN401
    function = _function(story, wait)
    for _ in range(_CALLS):
        story.begin()
        await _call(pipeline, story, function)
        await wait(_PAUSE)


async def _at_once(pipeline: Pipeline, story: Story, wait: Any, simulator: Simulator | None) -> None:  # noqa: ANN401
    function = _function(story, wait)
    story.begin()
    runtime = simulator or here(ANYIO)
    for started in [runtime.start(partial(_call, pipeline, story, function)) for _ in range(_TOGETHER)]:
        await started.gone()


async def _cancelled(
    at: int, pipeline: Pipeline, untouched: Pipeline, story: Story, trouble: list[str], reached: list[bool]
) -> None:
    runtime: Any = here(ANYIO)

    function = _function(story, runtime.pass_time)
    for number in range(_AGAIN):
        story.begin()
        cut = await cancelled_at(at, partial(pipeline.acall, function))
        if number == 0:
            reached.append(cut.suspensions >= at)
            if cut.suspensions < at:  # it had ended before, in its own way
                return
            if cut.heard and cut.raised is not None:
                trouble.append(f"it raised {ended(cut.raised)} in the place of the cancellation")
            elif cut.heard and not cut.ended:
                trouble.append("it went on as if nothing had happened")
    await runtime.pass_time(_RECOVERY)
    came, expected = await _came_to(pipeline), await _came_to(untouched)
    if came != expected:
        trouble.append(f"the next call came to {came} instead of {expected}")


async def _came_to(pipeline: Pipeline) -> str:
    try:
        return repr(await pipeline.acall(_reply))
    except StuckError:
        raise
    except Exception as error:  # noqa: BLE001 - told
        return ended(error)


async def _reply() -> str:
    return "reply"
