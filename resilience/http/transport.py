"""``Transport`` and ``AsyncTransport``: httpx transports that send every request through the policies of its service.

Walk a call: the request's origin finds its :class:`Upstream` (made on first use), which makes the ``RoutedCall`` and
hands it to its chain — retry, then the room that picks an endpoint, then the exchange that sends.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import httpx

from resilience.http.arguments import pool_options, total_slots
from resilience.http.exchange import AsyncExchange, BlockingExchange
from resilience.http.failures import failure, was_cut
from resilience.http.origins import Upstreams
from resilience.http.private import retries_below
from resilience.http.routed import async_around, blocking_around
from resilience.http.routes import Routes
from resilience.http.transport_base import FAILED, _TransportBase  # pyright: ignore[reportPrivateUsage]
from resilience.http.whole import record
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.background import BACKGROUND
from resilience.runtimes.blocking import BLOCKING, run_blocking
from resilience.runtimes.stand_in import here

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping
    from types import TracebackType
    from typing import Self

    from resilience.core.ports import Listener
    from resilience.http.routes import Route
    from resilience.http.service import Service
    from resilience.http.upstream import Upstream


class Transport(_TransportBase, httpx.BaseTransport):
    """An ``httpx.HTTPTransport`` with policies, for people who keep their own ``httpx.Client``; also under ``mounts``.

    Takes `services`, `defaults`, `listeners` and `routes` as :class:`Client` does, and httpx's own transport arguments.
    `transport` puts the policies around another transport; discovery and our pool are off then.
    """

    def __init__(
        self,
        *,
        services: Mapping[str, Service] | None = None,
        defaults: Service | None = None,
        listeners: Iterable[Listener] = (),
        routes: Iterable[Route] = (),
        transport: httpx.BaseTransport | None = None,
        verify: ssl.SSLContext | str | bool = True,
        cert: Any = None,  # noqa: ANN401 - httpx's CertTypes is private
        trust_env: bool = True,
        http1: bool = True,
        http2: bool = False,
        limits: httpx.Limits | None = None,
        uds: str | None = None,
        local_address: str | None = None,
        retries: int = 0,
        socket_options: Any = None,  # noqa: ANN401
    ) -> None:
        self._runtime = here(BLOCKING)
        self._upstreams = Upstreams(services, defaults, listeners, self._runtime)
        self._routes = Routes(routes, draw=self._runtime.random)
        self._total = total_slots(limits)
        options = pool_options(
            http1=http1,
            http2=http2,
            limits=limits,
            uds=uds,
            local_address=local_address,
            socket_options=socket_options,
            retries=retries,
        )
        if transport is None:
            context = httpx.create_ssl_context(verify=verify, cert=cert, trust_env=trust_env)
            self._anew = partial(BlockingExchange, context, options)
            self._exchange = self._anew(self._total)
        else:
            self._exchange = blocking_around(transport)
        self._below = transport
        self._upstreams.stacked = retries_below(transport)
        BACKGROUND.after_fork(self._in_child)

    def __enter__(self) -> Self:
        """Enter the transport below, which may get ready there."""
        enter = getattr(self._below, "__enter__", None)
        if enter is not None:
            enter()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Do as `close` does; whoever is below leaves as it has entered."""
        leave = getattr(self._below, "__exit__", None)
        if leave is None:
            self.close()
            return
        self._begin_anew()
        leave(exc_type, exc_value, traceback)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request through the policies of its service."""
        url, asked = request.url, None
        if self._routes.listed:
            url, request, asked = self._routed(request)
        upstream, dropped = self._upstreams.of(url, self._make, asked)
        for old in dropped:
            self._close(old)
        for endpoint in upstream.roster.leaving():
            self._exchange.close_endpoint(endpoint)
        whole = self._whole()
        call, chain = upstream.call_for(request, whole)
        try:
            response: httpx.Response = run_blocking(upstream.enter(call, chain))
        except BaseException as error:
            raised = error
            if isinstance(error, Exception):
                upstream.failed.step()
                raised = failure(error, whole.calls if whole else [call], cut=was_cut(call))
            if whole is None:
                self._tell(upstream, call, status=None, error=raised)
            if raised is error:
                raise
            raise raised from raised.__cause__
        if response.status_code >= FAILED:
            upstream.failed.step()
        if whole is None:
            response.extensions["resilience"] = record([call])
            self._tell(upstream, call, status=response.status_code, error=None)
        return response

    def _close(self, upstream: Upstream) -> None:
        upstream.close()
        for endpoint in upstream.roster.disband():
            self._exchange.close_endpoint(endpoint)

    def close(self) -> None:
        """Close the connections, and stop what goes on in the background. Used again, it begins anew."""
        self._begin_anew()
        self._exchange.close()


class AsyncTransport(_TransportBase, httpx.AsyncBaseTransport):
    """An ``httpx.AsyncHTTPTransport`` with policies, on asyncio and trio; see :class:`Transport`."""

    def __init__(
        self,
        *,
        services: Mapping[str, Service] | None = None,
        defaults: Service | None = None,
        listeners: Iterable[Listener] = (),
        routes: Iterable[Route] = (),
        transport: httpx.AsyncBaseTransport | None = None,
        verify: ssl.SSLContext | str | bool = True,
        cert: Any = None,  # noqa: ANN401
        trust_env: bool = True,
        http1: bool = True,
        http2: bool = False,
        limits: httpx.Limits | None = None,
        uds: str | None = None,
        local_address: str | None = None,
        retries: int = 0,
        socket_options: Any = None,  # noqa: ANN401
    ) -> None:
        self._runtime = here(ANYIO)
        self._upstreams = Upstreams(services, defaults, listeners, self._runtime)
        self._routes = Routes(routes, draw=self._runtime.random)
        self._total = total_slots(limits)
        options = pool_options(
            http1=http1,
            http2=http2,
            limits=limits,
            uds=uds,
            local_address=local_address,
            socket_options=socket_options,
            retries=retries,
        )
        if transport is None:
            context = httpx.create_ssl_context(verify=verify, cert=cert, trust_env=trust_env)
            self._anew = partial(AsyncExchange, context, options)
            self._exchange = self._anew(self._total)
        else:
            self._exchange = async_around(transport)
        self._below = transport
        self._upstreams.stacked = retries_below(transport)
        BACKGROUND.after_fork(self._in_child)

    async def __aenter__(self) -> Self:
        """Enter the transport below, which may get ready there."""
        enter = getattr(self._below, "__aenter__", None)
        if enter is not None:
            await enter()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Do as `aclose` does; whoever is below leaves as it has entered."""
        leave = getattr(self._below, "__aexit__", None)
        if leave is None:
            await self.aclose()
            return
        self._begin_anew()
        await leave(exc_type, exc_value, traceback)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request through the policies of its service."""
        url, asked = request.url, None
        if self._routes.listed:
            url, request, asked = self._routed(request)
        upstream, dropped = self._upstreams.of(url, self._make, asked)
        for old in dropped:
            await self._close(old)
        for endpoint in upstream.roster.leaving():
            await self._exchange.close_endpoint(endpoint)
        whole = self._whole()
        call, chain = upstream.call_for(request, whole)
        try:
            response: httpx.Response = await upstream.enter(call, chain)
        except BaseException as error:
            raised = error
            if isinstance(error, Exception):
                upstream.failed.step()
                raised = failure(error, whole.calls if whole else [call], cut=was_cut(call))
            if whole is None:
                self._tell(upstream, call, status=None, error=raised)
            if raised is error:
                raise
            raise raised from raised.__cause__
        if response.status_code >= FAILED:
            upstream.failed.step()
        if whole is None:
            response.extensions["resilience"] = record([call])
            self._tell(upstream, call, status=response.status_code, error=None)
        return response

    async def _close(self, upstream: Upstream) -> None:
        upstream.close()
        for endpoint in upstream.roster.disband():
            await self._exchange.close_endpoint(endpoint)

    async def aclose(self) -> None:
        """Close the connections, and stop what goes on in the background. Used again, it begins anew."""
        self._begin_anew()
        await self._exchange.close()
