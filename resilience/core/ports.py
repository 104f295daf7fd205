"""Every port of the house: the Protocols through which its rooms know each other.

Reading them in order follows a call: a policy filters it, the runtime waits for it, the resolver and the balancer find
an endpoint, the exchange sends it, the classifier judges what came back, listeners hear of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from resilience.core.attempt import Attempt
    from resilience.core.call import Call
    from resilience.core.endpoint import Address, Endpoint
    from resilience.core.events import Event
    from resilience.core.outcome import Err, Ok, Verdict
    from resilience.core.resolution import Resolution, Target

T = TypeVar("T")

Proceed: TypeAlias = "Callable[[Call], Awaitable[Any]]"
"""The rooms further in: ``await proceed(call)`` sends the call on and returns its reply."""


class Policy(Protocol):
    """A filter around calls, written once for threads, asyncio and trio.

    `around` awaits nothing but ``proceed(call)`` and ``call.runtime``; under the blocking runtime nothing suspends.
    """

    async def around(self, call: Call, proceed: Proceed, /) -> Any:  # noqa: ANN401 - the reply's type is the function's
        """Let the call through, refuse it, repeat it, or answer in its place."""
        ...


class Gate(Protocol):
    """A place to wait for one signal, which may come from any thread or task, before or after the wait begins."""

    async def wait(self, timeout: float, /) -> bool:
        """Wait at most `timeout` seconds (may be infinite); true once the gate is open."""
        ...

    def open(self) -> None:
        """Let the waiter go. Callable from any thread; a second call does nothing."""
        ...


class Started(Protocol):
    """Work under way beside whoever started it."""

    def stop(self) -> None:
        """Cancel it and do not wait for its clean-up; a thread cannot be stopped and is left to end by itself."""
        ...

    async def gone(self) -> None:
        """Wait until it has ended, clean-up included; in threads, which may never end, do not."""
        ...


class Runtime(Protocol):
    """The only thing that waits, races or reads a clock."""

    def now(self) -> float:
        """Return monotonic seconds."""
        ...

    def random(self) -> float:
        """Return a number in [0, 1)."""
        ...

    async def sleep(self, seconds: float, /) -> None:
        """Wait for `seconds`."""
        ...

    def limit(self, seconds: float, work: Callable[[], Awaitable[T]], /) -> Awaitable[T]:
        """Run `work` for at most `seconds`, then raise TimeoutError: for code that takes no limit itself."""
        ...

    async def first(self, *racers: Callable[[], Awaitable[T]]) -> T:
        """Run all racers at once and return the first result; the others are cancelled or abandoned."""
        ...

    def start(self, work: Callable[[], Awaitable[object]], /) -> Started:
        """Run `work` beside the caller, who need not wait for it; what it returns or raises is dropped."""
        ...

    def gate(self) -> Gate:
        """Return a new, closed gate."""
        ...

    def shield(self) -> AbstractAsyncContextManager[None]:
        """Guard clean-up that must finish even when the caller is being cancelled."""
        ...


class Handle(Protocol):
    """A background job that can be told to stop, or to run now."""

    def cancel(self) -> None:
        """Stop the job; it is not started again."""
        ...

    def hurry(self) -> None:
        """Run the job as soon as possible instead of waiting for its time."""
        ...


class Background(Protocol):
    """The library's one daemon thread for refreshes and probes; virtual in tests."""

    def every(self, seconds: Callable[[], float], job: Callable[[], Awaitable[None]], /, *, name: str) -> Handle:
        """Run `job` now and again, each time `seconds()` after it ended."""
        ...


class Resolver(Protocol):
    """Finds the addresses behind a name."""

    async def resolve(self, target: Target, /, *, deadline: float) -> Resolution:
        """Return what the name stands for now, or raise before `deadline` (an instant)."""
        ...


class Route(Protocol):
    """The way to an endpoint that is known by name only, or by several addresses."""

    async def addresses(self, runtime: Runtime, seconds: float, /) -> Sequence[Address]:
        """Return where to dial, in order, waiting at most `seconds` for a first answer.

        Raises ``Rerouted`` when the name turns out to stand for several endpoints: then one of those is to be picked.
        """
        ...


class Balancer(Protocol):
    """Chooses one endpoint among many; never blocks."""

    def update(self, endpoints: Sequence[Endpoint], /) -> None:
        """Take over a new set of endpoints; state of those that stay is kept."""
        ...

    def pick(self, call: Call, usable: Callable[[Endpoint], bool], /) -> Endpoint | None:
        """Return a usable endpoint, preferably one the call has not tried; None when none is usable."""
        ...


class Exchange(Protocol):
    """Sends one attempt to one endpoint."""

    async def send(self, request: Any, call: Call, attempt: Attempt, /) -> Any:  # noqa: ANN401 - the protocol's types
        """Send the request to ``attempt.endpoint`` and return the reply at its headers, or with its body."""
        ...

    async def discard(self, reply: Any, /) -> bool:  # noqa: ANN401
        """Drop a reply that will hardly be handed out, keeping its connection where that is cheap; was it kept too?"""
        ...


class Classifier(Protocol):
    """Turns what became of an attempt into the one verdict."""

    def __call__(self, outcome: Ok[Any] | Err, call: Call, /) -> Verdict:
        """Judge the latest attempt of `call`."""
        ...


class Listener(Protocol):
    """Hears of events; called synchronously, must not block. What it raises is logged once and dropped."""

    def __call__(self, event: Event, /) -> None:
        """Hear of one event."""
        ...


class Permit(Protocol):
    """A circuit's leave for one call."""

    @property
    def probe(self) -> bool:
        """Is this call testing whether a half-open circuit may close?"""
        ...


class Rejected(Protocol):
    """A circuit's refusal."""

    @property
    def retry_after(self) -> float:
        """Seconds until it is worth asking again."""
        ...


class Circuit(Protocol):
    """What an endpoint needs to know of its circuit."""

    sole: bool
    """The endpoint is its service's only one: there is nowhere else to go."""
    relents_at: float
    """When it has been open for as long as is configured: what is left of its wait then is back-off."""

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``half-open``."""
        ...

    @property
    def binding(self) -> bool:
        """Whether calls go by the state; a circuit in shadow only tells of it."""
        ...

    def would_admit(self, now: float, /) -> bool:
        """Say whether `admit` would let a call through, without changing anything."""
        ...

    def retry_after(self, now: float, /) -> float:
        """Seconds until a probe is let through; 0 when calls are admitted."""
        ...

    def admit(self, now: float, /) -> Any:  # noqa: ANN401 - Permit | Rejected of the circuit's own making
        """Hand out a permit, or refuse."""
        ...

    def settle(self, permit: Any, verdict: Verdict, /, *, now: float) -> Sequence[Any]:  # noqa: ANN401
        """Count a verdict, once per permit; return the transitions it caused."""
        ...

    def drain(self) -> Sequence[Any]:
        """Return the transitions that nobody has been told of yet: those that asking has caused."""
        ...

    def invite(self, now: float, /, reason: str = ...) -> Sequence[Any]:
        """Move an open circuit on to half-open at once: the endpoint was seen alive, or there is nowhere else to go."""
        ...


class AdaptiveSlots(Protocol):
    """What moves the limit of an endpoint's slots with what is learnt of the endpoint."""

    @property
    def binds(self) -> bool:
        """Tell whether the limit is below what the endpoint is allowed in any case."""
        ...

    def learn(self, attempt: Attempt, verdict: Verdict, now: float, /) -> bool:
        """Take note of an attempt that has been judged; true when the limit has moved."""
        ...


class Wire(Protocol):
    """What our own network stream knows of one attempt: the proof of what was sent, and why it was cut."""

    until: float
    """The instant at which it gives up; set anew when the headers are there."""

    @property
    def written(self) -> int:
        """Bytes handed to the network in this attempt."""
        ...

    @property
    def received(self) -> int:
        """Bytes that came back in this attempt."""
        ...

    @property
    def reused(self) -> bool:
        """Did the attempt ride a connection that had served another before?"""
        ...

    @property
    def cut(self) -> bool:
        """Was it the deadline, not one of httpx's own limits, that ended it?"""
        ...

    @property
    def late(self) -> bool:
        """Did its limit act late, because our own loop or machine stood still?"""
        ...
