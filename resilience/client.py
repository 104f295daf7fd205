"""The two-line entry: httpx's clients, with policies.

``send`` holds whatever concerns a call as a whole, across redirect hops and authentication legs: its deadline, its
record, its one event. Everything else is httpx's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from resilience.core.call import NEVER
from resilience.core.errors import ConfigurationError
from resilience.http.arguments import kept_behind_a_proxy
from resilience.http.failures import outcome_of
from resilience.http.routes import Routes
from resilience.http.status import Description, Status
from resilience.http.transport import AsyncTransport, Transport
from resilience.http.transport_base import FAILED
from resilience.http.whole import OPTIONS, Whole, current, ended, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from resilience.core.ports import Listener
    from resilience.http.listening import Listeners
    from resilience.http.routes import Route
    from resilience.http.service import Service

_DEBUG, _INFO, _WARNING = 10, 20, 30


class _Told:
    """What both clients are told, until httpx's constructor asks for the transports, and what they can tell."""

    _services: Mapping[str, Service] | None
    _defaults: Service | None
    _listening: tuple[Listener, ...]
    _routing: tuple[Route, ...]
    _limits_given: httpx.Limits | None
    _main: Transport | AsyncTransport
    _transport: Any
    _mounts: Any
    _now: Callable[[], float]

    def _hear(
        self,
        services: Mapping[str, Service] | None,
        defaults: Service | None,
        listeners: Iterable[Listener],
        routes: Iterable[Route],
        httpx_arguments: Mapping[str, Any],
    ) -> None:
        """Keep the arguments; refuse those that contradict each other."""
        self._services, self._defaults = services, defaults
        try:
            self._listening = tuple(listeners)
        except TypeError as error:
            argument, expected = "listeners", "an iterable of callables that take one event"
            raise ConfigurationError(argument, listeners, expected) from error
        self._routing = Routes(routes).listed
        self._limits_given = httpx_arguments.get("limits")
        given = httpx_arguments.get("transport")
        if isinstance(given, Transport | AsyncTransport) and (
            services or defaults is not None or self._listening or self._routing
        ):
            expected = "a transport not ours beside services=, defaults=, listeners= or routes=: ours has its own"
            raise ConfigurationError("transport", given, expected)  # noqa: EM101 - the argument's name

    def _ours(self) -> list[Transport | AsyncTransport]:
        """Return the transports whose calls go through policies: the main one, the proxies', what the user mounted."""
        every = [self._transport, *self._mounts.values()]
        return list(dict.fromkeys(it for it in every if isinstance(it, Transport | AsyncTransport)))

    def status(self) -> Status:
        """Return a frozen snapshot of every service met so far; cheap, safe from anywhere."""
        return Status({name: it for ours in reversed(self._ours()) for name, it in ours.status().services.items()})

    def update(
        self,
        *,
        services: Mapping[str, Service] | None = None,
        defaults: Service | None = None,
        routes: Iterable[Route] | None = None,
    ) -> None:
        """Put new descriptions into force while calls go on; what is left out, or None, stays as it was.

        `services` takes the place of the whole mapping, `routes` of all routes. Endpoints that stay keep their
        circuits, latencies, connections and what is in flight, services their budgets; calls under way end under the
        old description. Raises ConfigurationError for whatever is wrong, and then changes nothing.
        """
        routing = None if routes is None else Routes(routes).listed
        every = self._ours()
        if len(every) > 1:  # what one of them refuses must not be in force at another
            for ours in every:
                ours._rehearse(services, defaults)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        for ours in every:
            ours.update(services=services, defaults=defaults, routes=routing)

    def describe(self) -> Description:
        """Return the policies of every service, outermost first, and every warning about them."""
        found = [ours.describe().services for ours in reversed(self._ours())]
        return Description({name: service for services in found for name, service in services.items()})


class Client(_Told, httpx.Client):
    """An ``httpx.Client`` whose calls survive killed, hung and overloaded replicas.

    `services` maps ``host`` or ``host:port`` to a :class:`Service`; `defaults` is for all other origins; `listeners`
    are called with each event; `routes` send some requests to another service. Every other argument is httpx's. Raises
    ConfigurationError for bad arguments.
    """

    def __init__(
        self,
        *,
        services: Mapping[str, Service] | None = None,
        defaults: Service | None = None,
        listeners: Iterable[Listener] = (),
        routes: Iterable[Route] = (),
        **httpx_arguments: Any,  # noqa: ANN401 - whatever httpx.Client takes
    ) -> None:
        self._hear(services, defaults, listeners, routes, httpx_arguments)
        super().__init__(**httpx_arguments)
        self._taking_part = frozenset(self._ours())
        self._now = self._main.now

    def _init_transport(  # type: ignore[override]  # by keyword, as httpx calls it
        self,
        *,
        transport: httpx.BaseTransport | None = None,
        **given: Any,  # noqa: ANN401
    ) -> httpx.BaseTransport:
        if isinstance(transport, Transport):
            self._main = transport
            return transport
        given["limits"] = self._limits_given
        self._main = Transport(
            services=self._services,
            defaults=self._defaults,
            listeners=self._listening,
            routes=self._routing,
            transport=transport,
            **given,
        )
        return self._main

    def _init_proxy_transport(  # type: ignore[override]  # by keyword, as httpx calls it
        self,
        proxy: httpx.Proxy,
        **given: Any,  # noqa: ANN401
    ) -> httpx.BaseTransport:
        # The proxy resolves and balances; the policies see one endpoint behind it. Slots bound what is in flight, so
        # httpx's own pool must never be the place where calls wait.
        given["limits"] = kept_behind_a_proxy(self._limits_given)
        inner = httpx.Client._init_proxy_transport(self, proxy, **given)  # noqa: SLF001 - listed in http/private.py
        return Transport(
            services=self._services,
            defaults=self._defaults,
            listeners=self._listening,
            routes=self._routing,
            transport=inner,
            limits=self._limits_given,
        )

    def send(self, request: httpx.Request, *, stream: bool = False, **how: Any) -> httpx.Response:  # noqa: ANN401
        """Send a request; see ``httpx.Client.send``. One deadline and one record cover all its hops."""
        whole = Whole(self._now(), NEVER, streamed=stream, transports=self._taking_part)
        token = current.set(whole)
        try:
            response = super().send(request, stream=stream, **how)
        except BaseException as error:
            if isinstance(error, httpx.RequestError):
                error.attempts = record(whole.calls).attempts  # type: ignore[attr-defined]
            tell(self._main.listeners, whole, self._now(), None, error)
            raise
        finally:
            current.reset(token)
        response.extensions[OPTIONS] = record(whole.calls)
        tell(self._main.listeners, whole, self._now(), response.status_code, None)
        return response


class AsyncClient(_Told, httpx.AsyncClient):
    """An ``httpx.AsyncClient`` whose calls survive killed, hung and overloaded replicas; see :class:`Client`."""

    def __init__(
        self,
        *,
        services: Mapping[str, Service] | None = None,
        defaults: Service | None = None,
        listeners: Iterable[Listener] = (),
        routes: Iterable[Route] = (),
        **httpx_arguments: Any,  # noqa: ANN401 - whatever httpx.AsyncClient takes
    ) -> None:
        self._hear(services, defaults, listeners, routes, httpx_arguments)
        super().__init__(**httpx_arguments)
        self._taking_part = frozenset(self._ours())
        self._now = self._main.now

    def _init_transport(  # type: ignore[override]  # by keyword, as httpx calls it
        self,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        **given: Any,  # noqa: ANN401
    ) -> httpx.AsyncBaseTransport:
        if isinstance(transport, AsyncTransport):
            self._main = transport
            return transport
        given["limits"] = self._limits_given
        self._main = AsyncTransport(
            services=self._services,
            defaults=self._defaults,
            listeners=self._listening,
            routes=self._routing,
            transport=transport,
            **given,
        )
        return self._main

    def _init_proxy_transport(  # type: ignore[override]  # by keyword, as httpx calls it
        self,
        proxy: httpx.Proxy,
        **given: Any,  # noqa: ANN401
    ) -> httpx.AsyncBaseTransport:
        given["limits"] = kept_behind_a_proxy(self._limits_given)
        inner = httpx.AsyncClient._init_proxy_transport(self, proxy, **given)  # noqa: SLF001
        return AsyncTransport(
            services=self._services,
            defaults=self._defaults,
            listeners=self._listening,
            routes=self._routing,
            transport=inner,
            limits=self._limits_given,
        )

    async def send(self, request: httpx.Request, *, stream: bool = False, **how: Any) -> httpx.Response:  # noqa: ANN401
        """Send a request; see ``httpx.AsyncClient.send``. One deadline and one record cover all its hops."""
        whole = Whole(self._now(), NEVER, streamed=stream, transports=self._taking_part)
        token = current.set(whole)
        try:
            response = await super().send(request, stream=stream, **how)
        except BaseException as error:
            if isinstance(error, httpx.RequestError):
                error.attempts = record(whole.calls).attempts  # type: ignore[attr-defined]
            tell(self._main.listeners, whole, self._now(), None, error)
            raise
        finally:
            current.reset(token)
        response.extensions[OPTIONS] = record(whole.calls)
        tell(self._main.listeners, whole, self._now(), response.status_code, None)
        return response


def tell(listeners: Listeners, whole: Whole, now: float, status: int | None, error: BaseException | None) -> None:
    """Emit the one `call` event, if anybody hears it."""
    if error is not None:
        outcome, level = outcome_of(error), _WARNING
    elif status is not None and status >= FAILED:
        outcome, level = "status", _WARNING
    else:
        outcome, level = "ok", _INFO if sum(len(call.attempts) for call in whole.calls) > 1 else _DEBUG
    if whole.calls and listeners.hears(level):
        listeners.emit(
            ended(
                whole.service, whole.calls, started=whole.started, now=now, outcome=outcome, status=status, error=error
            )
        )
