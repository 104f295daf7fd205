"""``Transport`` and ``AsyncTransport``: httpx transports that send every request through the policies of its service.

Walk a call: the request's origin finds its :class:`Upstream` (made on first use), which makes the ``RoutedCall`` and
hands it to its chain — retry, then the room that picks an endpoint, then the exchange that sends.
"""

from __future__ import annotations

import math
import ssl
import threading
import warnings
from typing import TYPE_CHECKING, Any, cast

import httpx

from resilience.core.errors import ConfigurationError
from resilience.core.endpoint import Address
from resilience.core.resolution import Replica, Resolution, Target
from resilience.core.slots import Slots
from resilience.core.units import whole as whole_number
from resilience.http.exchange import AsyncExchange, BlockingExchange
from resilience.http.failures import failure, outcome_of, was_cut
from resilience.http.foreign import AsyncForeignExchange, BlockingForeignExchange
from resilience.http.listening import Listeners
from resilience.http.options import KEEPALIVE, PoolOptions
from resilience.http.pool import socket_options as reusable
from resilience.http.service import Service
from resilience.http.status import Description, Status, describe, snapshot
from resilience.http.upstream import Upstream
from resilience.http.whole import current, ended, record
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.background import BACKGROUND, Lease
from resilience.runtimes.blocking import BLOCKING, run_blocking

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from types import TracebackType
    from typing import Self

    from resilience.core.call import RoutedCall
    from resilience.core.ports import Listener, Proceed, Runtime
    from resilience.http.whole import Whole

# An origin that was not called for this long (seconds) is forgotten, and at most so many are kept.
IDLE = 300.0
MOST = 1000
# From this status on a call has failed.
FAILED = 500

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_SECURE = frozenset({"https", "wss"})


class Upstreams:
    """The services a transport has met, by origin."""

    def __init__(
        self,
        services: Mapping[str, Service] | None,
        defaults: Service | None,
        listeners: Iterable[Listener],
        runtime: Runtime,
    ) -> None:
        self.services = {_normal(name): _checked(name, service) for name, service in (services or {}).items()}
        self.defaults = Service() if defaults is None else _checked("defaults", defaults)
        self.listeners = Listeners(listeners)
        self.runtime = runtime
        self.by_origin: dict[tuple[str, str, int | None], Upstream] = {}
        self._lock = threading.Lock()

    def of(self, url: httpx.URL, make: Callable[[Target, Service], Upstream]) -> tuple[Upstream, list[Upstream]]:
        """Return the service behind a URL, and those that were dropped to make room for it."""
        key = (url.scheme, url.host, url.port)
        found = self.by_origin.get(key)
        if found is not None:
            return found, []
        port = url.port if url.port is not None else _DEFAULT_PORTS.get(url.scheme)
        if port is None or not url.host:
            message = f"{url.scheme}://{url.host or '(no host)'}: not a URL this transport can call"
            raise httpx.UnsupportedProtocol(message)
        target = Target(url.raw_host.decode("ascii").strip("[]"), port, url.scheme in _SECURE)
        service = self.services.get(str(target)) or self.services.get(target.host) or self.defaults
        with self._lock:
            found = self.by_origin.get(key)
            if found is not None:
                return found, []
            dropped = self._evict_locked()
            found = self.by_origin[key] = make(target, service)
        return found, dropped

    def _evict_locked(self) -> list[Upstream]:
        now = self.runtime.now()
        idle = [(u.used_at, key) for key, u in self.by_origin.items() if not u.busy]
        gone = [key for used_at, key in idle if now - used_at > IDLE]
        if len(self.by_origin) - len(gone) >= MOST:
            spare = sorted(set(idle) - {(self.by_origin[key].used_at, key) for key in gone})
            gone += [key for _, key in spare[: len(self.by_origin) - len(gone) - MOST + 1]]
        return [self.by_origin.pop(key) for key in gone]

    def status(self) -> Status:
        """Return a snapshot of every service met so far."""
        return snapshot(list(self.by_origin.values()), self.runtime.now())

    def describe(self) -> Description:
        """Return what is configured, and what is doubtful about it."""
        return describe(self.services, self.defaults, list(self.by_origin.values()))


def _normal(name: str) -> str:
    argument, expected = "services", "keys like 'host' or 'host:port'"
    if not isinstance(name, str) or not name or "/" in name or "@" in name:
        raise ConfigurationError(argument, name, expected)
    try:
        url = httpx.URL(f"http://{name}")
        host = url.raw_host.decode("ascii").strip("[]")
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ConfigurationError(argument, name, expected) from error
    if not host:
        raise ConfigurationError(argument, name, expected)
    # httpx drops the default port; here `web:80` and `web` are different keys.
    _, separator, port = name.rpartition(":")
    if separator and port.isdecimal() and not (":" in _ and not _.endswith("]")):
        if not 0 < int(port) < 65536:  # noqa: PLR2004
            raise ConfigurationError(argument, name, expected)
        return str(Target(host, int(port)))
    return host


def _checked(name: str, service: object) -> Service:
    if not isinstance(service, Service):
        argument = name if name == "defaults" else f"services[{name!r}]"
        raise ConfigurationError(argument, service, "a resilience.Service")
    return service


def pool_options(  # noqa: PLR0913 - httpx's own arguments
    *,
    http1: bool,
    http2: bool,
    limits: httpx.Limits | None,
    uds: str | None,
    local_address: str | None,
    socket_options: Any,  # noqa: ANN401
    retries: int,
) -> PoolOptions:
    """Take over httpx's transport arguments."""
    if retries:
        warnings.warn(
            f"retries={retries} is ignored: Service.retry decides about retries, and knows what may be repeated",
            UserWarning,
            stacklevel=4,
        )
    if not http1 and not http2:
        argument, expected = "http1", "True, or http2=True"
        raise ConfigurationError(argument, http1, expected)
    max_idle = math.inf
    expiry: float | None = KEEPALIVE
    if limits is not None:
        expiry = limits.keepalive_expiry
        if limits.max_keepalive_connections is not None:
            max_idle = limits.max_keepalive_connections
    return PoolOptions(http1, http2, expiry, max_idle, uds, local_address, reusable(socket_options))


def total_slots(limits: httpx.Limits | None) -> Slots | None:
    """Return the slots that all services of a client share; None when nobody has set a limit."""
    most = None if limits is None else limits.max_connections
    if most is None:
        return None
    return Slots(whole_number("limits.max_connections", most))


def known(service: Service, target: Target, *, foreign: bool) -> Resolution | None:
    """Return what is known of a service without asking anybody; None when its name has to be looked up."""
    if foreign:
        # Somebody else connects: one endpoint, by its name.
        return Resolution((Replica(Address(target.host, target.port)),), math.inf, "literal", fleet=False, why="not ours to dial")
    immediate = getattr(service.discovery, "immediate", None)
    return None if immediate is None else immediate(target)  # type: ignore[no-any-return]


class _Base:
    """What the two transports share: everything but their awaits."""

    _upstreams: Upstreams
    _runtime: Runtime
    _held: Lease | None = None

    def _lease(self) -> Lease:
        """Return this transport's share of the background thread; taken when the first name has to be looked up."""
        if self._held is None:
            self._held = BACKGROUND.acquire(self)
        return self._held

    def _end_lease(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.release()

    def _whole(self) -> Whole | None:
        """Return the call of the client around, unless that is a client of somebody else's.

        Else whatever is started inside a call — an ASGI app, a hook, their background tasks — would share its deadline.
        """
        whole = current.get()
        return whole if whole is not None and self in whole.transports else None

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


class Transport(_Base, httpx.BaseTransport):
    """An ``httpx.HTTPTransport`` with policies, for people who keep their own ``httpx.Client``; also under ``mounts``.

    Takes `services`, `defaults` and `listeners` as :class:`Client` does, and httpx's own transport arguments.
    `transport` puts the policies around another transport; discovery and our pool are off then.
    """

    def __init__(  # noqa: PLR0913 - httpx's own arguments
        self,
        *,
        services: Mapping[str, Service] | None = None,
        defaults: Service | None = None,
        listeners: Iterable[Listener] = (),
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
        self._runtime = BLOCKING
        self._upstreams = Upstreams(services, defaults, listeners, BLOCKING)
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
            self._exchange: Any = BlockingExchange(context, options, self._total)
        else:
            self._exchange = BlockingForeignExchange(transport)
        self._foreign = transport is not None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request through the policies of its service."""
        upstream, dropped = self._upstreams.of(request.url, self._make)
        for old in dropped:
            self._close(old)
        while upstream.roster.departed:
            self._exchange.close_endpoint(upstream.roster.departed.popleft())
        whole = self._whole()
        call, chain = upstream.call_for(request, whole)
        try:
            response: httpx.Response = run_blocking(cast("Coroutine[Any, Any, Any]", upstream.enter(call, chain)))
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

    def _make(self, target: Target, service: Service) -> Upstream:
        resolution = known(service, target, foreign=self._foreign)
        return Upstream(
            target,
            service,
            resolution,
            self._lease,
            self._exchange,
            self._upstreams.listeners,
            BLOCKING,
            total=self._total,
        )

    def _close(self, upstream: Upstream) -> None:
        upstream.close()
        for endpoint in upstream.endpoints:
            self._exchange.close_endpoint(endpoint)

    def close(self) -> None:
        """Close the connections, and stop what goes on in the background."""
        self._end_lease()
        self._exchange.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.close()


class AsyncTransport(_Base, httpx.AsyncBaseTransport):
    """An ``httpx.AsyncHTTPTransport`` with policies, on asyncio and trio; see :class:`Transport`."""

    def __init__(  # noqa: PLR0913 - httpx's own arguments
        self,
        *,
        services: Mapping[str, Service] | None = None,
        defaults: Service | None = None,
        listeners: Iterable[Listener] = (),
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
        self._runtime = ANYIO
        self._upstreams = Upstreams(services, defaults, listeners, ANYIO)
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
            self._exchange: Any = AsyncExchange(context, options, self._total)
        else:
            self._exchange = AsyncForeignExchange(transport)
        self._foreign = transport is not None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request through the policies of its service."""
        upstream, dropped = self._upstreams.of(request.url, self._make)
        for old in dropped:
            await self._close(old)
        while upstream.roster.departed:
            await self._exchange.close_endpoint(upstream.roster.departed.popleft())
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

    def _make(self, target: Target, service: Service) -> Upstream:
        resolution = known(service, target, foreign=self._foreign)
        return Upstream(
            target,
            service,
            resolution,
            self._lease,
            self._exchange,
            self._upstreams.listeners,
            ANYIO,
            total=self._total,
        )

    async def _close(self, upstream: Upstream) -> None:
        upstream.close()
        for endpoint in upstream.endpoints:
            await self._exchange.close_endpoint(endpoint)

    async def aclose(self) -> None:
        """Close the connections, and stop what goes on in the background."""
        self._end_lease()
        await self._exchange.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()
