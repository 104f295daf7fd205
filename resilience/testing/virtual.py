"""Run code on a clock that jumps instead of waiting, and that cannot hang."""

from __future__ import annotations

import functools
import inspect
import math
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from resilience.core.errors import ConfigurationError, require
from resilience.core.units import seconds as in_seconds
from resilience.runtimes.blocking import run_blocking
from resilience.runtimes.clock import DAY, Clock
from resilience.runtimes.clock_threads import begin
from resilience.runtimes.clock_world import World
from resilience.runtimes.entry import is_async, refuse_async, refuse_generators

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from datetime import timedelta
    from types import TracebackType

    from resilience.runtimes.clock_threads import ClockGate

T = TypeVar("T")

_BACKENDS = ("asyncio", "trio")


class VirtualThread(Generic[T]):
    """A function under way in a thread of the clock's."""

    def __init__(self, world: World, function: Callable[[], T]) -> None:
        self._world = world
        self._gates: list[ClockGate] = []
        self._ended: list[tuple[T | None, BaseException | None]] = []

        async def work() -> T:
            return function()

        def note(value: T | None, error: BaseException | None) -> None:
            self._ended.append((value, error))
            for gate in self._gates:
                gate.open()

        begin(world.clock, work, note)

    @property
    def done(self) -> bool:
        """Has it returned, or raised?"""
        return bool(self._ended)

    def result(self) -> T:
        """Let time pass until it has ended; return what it returned, or raise what it raised."""
        if not self._ended:
            gate = self._world.gate()  # of this caller: others may wait for the same thread
            self._gates.append(gate)
            run_blocking(gate.wait(math.inf))
        value, error = self._ended[0]
        if error is not None:
            raise error
        return cast("T", value)


class VirtualClock:
    """The clock of a :func:`virtual` block: what it says, and how to make it go on."""

    def __init__(self, world: World, backend: str) -> None:
        self._world = world
        self._clock = world.clock
        self._backend = backend

    def now(self) -> float:
        """Return the time in seconds; inside, ``time.monotonic()`` says the same."""
        return self._clock.now()

    @property
    def elapsed(self) -> float:
        """Virtual seconds since the block began, to the microsecond."""
        return self._clock.elapsed

    @property
    def slept(self) -> tuple[float, ...]:
        """What policies have waited between attempts or for their turn, in order; seconds as they were asked for."""
        return tuple(self._clock.slept)

    def advance(self, seconds: float | timedelta, /) -> None:
        """Let `seconds` pass (from 0), and with them whatever is due in the background. In async code: just sleep."""
        self._clock.wait(self._clock.now() + in_seconds("seconds", seconds, zero=True))

    def run(self, function: Callable[..., Awaitable[T]], /, *args: Any, backend: str | None = None) -> T:  # noqa: ANN401
        """Run an async function on a new event loop of this clock and return its result.

        `backend`: ``asyncio`` or ``trio``; without it, the one of the block.
        """
        if not callable(cast("object", function)):
            argument, expected = "function", "an async function; not what it returns: clock.run(main, argument)"
            raise ConfigurationError(argument, function, expected)
        chosen = self._backend if backend is None else backend
        require("backend", chosen, f"one of {', '.join(_BACKENDS)}", _BACKENDS.__contains__)
        return self._world.run(functools.partial(function, *args), chosen)

    def start(self, function: Callable[..., T], /, *args: Any) -> VirtualThread[T]:  # noqa: ANN401
        """Begin a plain function in a thread of this clock's: it runs whenever the others wait."""
        refuse_generators(function)
        refuse_async(function)
        return VirtualThread(self._world, functools.partial(function, *args))


class virtual:  # noqa: N801 - reads as a statement: `with virtual():`
    """Run the code inside on virtual time: sleeps, timeouts and backoffs are over at once, in their order.

    As a ``with`` block, in plain code or in a task of asyncio's, it gives the :class:`VirtualClock`. As a decorator it
    makes a plain function of an async one, run on `backend` (``asyncio`` or ``trio``), and fills in an argument called
    ``clock``. `seed` decides about jitter; after `limit` virtual seconds (a day) a program that does nothing but wait
    counts as stuck. Then, and when everybody waits for something that cannot come, ``StuckError`` is raised.

    Policies, clients made inside or outside, ``time.sleep``, ``time.monotonic``, events and queues of threads,
    ``asyncio``'s and, with ``backend="trio"``, trio's timers follow the clock. Real sockets, locks and threads that
    others began do not.
    """

    def __init__(self, *, seed: int = 0, limit: float | timedelta = DAY, backend: str = "asyncio") -> None:
        require("seed", seed, "a whole number", lambda value: isinstance(value, int))
        require("backend", backend, f"one of {', '.join(_BACKENDS)}", _BACKENDS.__contains__)
        self._seed = seed
        self._limit = in_seconds("limit", limit, infinite=True)
        self._backend = backend
        self._worlds: list[World] = []

    def __enter__(self) -> VirtualClock:
        world = World(Clock(seed=self._seed, limit=self._limit))
        world.enter()
        self._worlds.append(world)
        return VirtualClock(world, self._backend)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        stuck = self._worlds.pop().leave(error)
        if stuck is not None:
            raise stuck from None

    @overload
    def __call__(self, function: Callable[..., Coroutine[Any, Any, T]], /) -> Callable[..., T]: ...

    @overload
    def __call__(self, function: Callable[..., T], /) -> Callable[..., T]: ...

    def __call__(self, function: Callable[..., Any], /) -> Callable[..., Any]:
        """Decorate a function, plain or async; what comes out is plain. Raises ConfigurationError for generators."""
        refuse_generators(function)
        signature = inspect.signature(function)
        told = "clock" in signature.parameters

        def on_virtual_time(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            with virtual(seed=self._seed, limit=self._limit, backend=self._backend) as clock:
                call = functools.partial(function, *args, **kwargs, **({"clock": clock} if told else {}))
                return clock.run(call) if is_async(function) else call()

        functools.update_wrapper(on_virtual_time, function)
        del on_virtual_time.__wrapped__  # type: ignore[attr-defined]  # pytest would look behind it for fixtures
        left = [parameter for name, parameter in signature.parameters.items() if name != "clock"]
        on_virtual_time.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        return on_virtual_time
