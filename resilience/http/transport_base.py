"""What the two transports share: everything but their awaits."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from resilience.core.slots import Slots
from resilience.http.arguments import known
from resilience.http.failures import outcome_of
from resilience.http.routed import connects_itself
from resilience.http.routes import Routes
from resilience.http.upstream import Upstream
from resilience.http.ways import addressed, places, shadowed
from resilience.http.whole import current, ended
from resilience.runtimes.background import BACKGROUND, Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import httpx

    from resilience.core.call import RoutedCall
    from resilience.core.ports import Runtime
    from resilience.core.resolution import Target
    from resilience.http.listening import Listeners
    from resilience.http.origins import Upstreams
    from resilience.http.routes import Route
    from resilience.http.service import Service
    from resilience.http.status import Description, Status
    from resilience.http.whole import Whole

# From this status on a call has failed.
FAILED = 500


class _TransportBase:  # pyright: ignore[reportUnusedClass] - of both transports
    """What the two transports share: everything but their awaits."""

    _upstreams: Upstreams
    _runtime: Runtime
    _held: Lease | None = None
    _exchange: Any
    _below: object = None
    """Somebody else's transport, around which the policies run."""
    _total: Slots | None
    _routes: Routes
    _close: Any
    """Closes one service: a function, or one to be awaited."""
    _anew: Callable[[Slots | None], Any] | None = None
    """Makes another exchange like the first; None around somebody else's transport."""
    _inherited: tuple[Any, ...] = ()
    """What a parent process was using: kept, since clean-up on its event loop would act on what a fork shares."""

    def _lease(self) -> Lease:
        """Return this transport's share of the background thread; taken when the first name has to be looked up."""
        held = self._held
        if held is None:
            background = getattr(self._runtime, "background", BACKGROUND)  # a virtual runtime has its own
            held = self._held = background.acquire(self)
        return held

    def _end_lease(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.release()

    def _begin_anew(self) -> None:
        """Forget the services, and stop what goes on in the background for them."""
        self._upstreams.forget()
        self._end_lease()

    def _in_child(self) -> None:
        """Begin anew in a forked child: connections are the parent's, and slots and locks its other threads'."""
        for upstream in self._upstreams.forget():
            upstream.close()
        if self._total is not None:
            self._total = Slots(self._total.limit)
        if self._anew is not None:
            self._inherited += (self._exchange,)
            self._exchange.leave_behind()
            self._exchange = self._anew(self._total)

    def _whole(self) -> Whole | None:
        """Return the call of the client around, unless that is a client of somebody else's.

        Else whatever is started inside a call — an ASGI app, a hook, their background tasks — would share its deadline.
        """
        whole = current.get()
        return whole if whole is not None and self in whole.transports else None

    @property
    def now(self) -> Callable[[], float]:
        """The clock that its calls go by."""
        return self._runtime.now

    @property
    def listeners(self) -> Listeners:
        """Who hears of what happens to its calls."""
        return self._upstreams.listeners

    def update(
        self,
        *,
        services: Mapping[str, Service] | None = None,
        defaults: Service | None = None,
        routes: Iterable[Route] | None = None,
    ) -> None:
        """Put new descriptions into force while calls go on, as :meth:`Client.update` does, and with its errors."""
        given = None if routes is None else Routes(routes).listed
        self._upstreams.update(services, defaults, self._make)
        if given is not None:  # not before nothing can be refused any more: the copies' budgets get their new rates
            self._routes = self._routes.renewed(given, self._runtime.now())

    def _rehearse(self, services: Mapping[str, Service] | None, defaults: Service | None) -> None:
        """Raise the ConfigurationError of an update that would be refused, and change nothing."""
        self._upstreams.rehearse(services, defaults)

    def _routed(self, request: httpx.Request) -> tuple[httpx.URL, httpx.Request, httpx.URL | None]:
        """Follow the routes, and send off the shadows; return the service's URL, the request, and what it asks.

        The last is the request's own URL, None where that is the service's.
        """
        url, shadows = places(self._routes, request, self._runtime.now())
        for place, copy in shadows:
            self._runtime.start(partial(self._shadow, place, copy))
        if url == request.url:
            return url, request, None
        return url, request if self._below is None else addressed(request, url), request.url

    async def _shadow(self, url: httpx.URL, request: httpx.Request) -> None:
        asked = None if url == request.url else request.url
        upstream, dropped = self._upstreams.of(url, self._make, asked)
        for old in dropped:
            closing = self._close(old)
            if closing is not None:  # on an event loop
                await closing
        told = request if self._below is None else addressed(request, url)
        await shadowed(told, upstream, self._exchange.discard)

    def _make(self, target: Target, service: Service, old: Upstream | None = None) -> Upstream:
        resolution = known(service, target, foreign=connects_itself(self._below, service))
        return Upstream(
            target,
            service,
            resolution,
            self._lease,
            self._exchange,
            self._upstreams.listeners,
            self._runtime,
            total=self._total,
            old=old,
        )

    def status(self) -> Status:
        """Return a frozen snapshot of every service met so far; cheap, safe from any thread."""
        return self._upstreams.status()

    def describe(self) -> Description:
        """Return the policies of every service, outermost first, and every warning about them."""
        return self._upstreams.describe()

    def _tell(self, upstream: Upstream, call: RoutedCall, *, status: int | None, error: BaseException | None) -> None:
        """Emit the `call` event of one hop of a transport used alone."""
        listeners = self._upstreams.listeners
        now = call.runtime.now()
        if error is not None:
            outcome = outcome_of(error)
        else:
            outcome = "status" if status is not None and status >= FAILED else "ok"
        event_level = 10 if outcome == "ok" and len(call.attempts) == 1 else 30
        if listeners.hears(event_level):
            listeners.emit(
                ended(upstream.name, [call], started=call.started, now=now, outcome=outcome, status=status, error=error)
            )
