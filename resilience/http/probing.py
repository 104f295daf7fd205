"""Active health checks: each endpoint is asked over a connection of its own, in the background.

Down means not ready. A pass lets probes into an open circuit at once, but never closes it: that is for real calls.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

import httpx

from resilience.core.attempt import Attempt
from resilience.core.call import RoutedCall
from resilience.core.errors import NoEndpointsError, Rerouted
from resilience.core.events import HealthChanged
from resilience.health.state import HealthState
from resilience.http.classify import classify
from resilience.http.options import PoolOptions
from resilience.http.pool import CALL
from resilience.http.pool_async import AsyncPool
from resilience.http.private import AsyncEndpointTransport
from resilience.http.together import Together
from resilience.runtimes.anyio import ANYIO

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from resilience.balancing.room import Room
    from resilience.core.endpoint import Endpoint
    from resilience.core.events import Event
    from resilience.core.ports import Handle, Runtime
    from resilience.core.resolution import Target
    from resilience.discovery.directory import Lease
    from resilience.health.check import HealthCheck

_OPTIONS = PoolOptions(max_idle=0)


class Prober:
    """Probes the endpoints of one service."""

    def __init__(
        self,
        target: Target,
        check: HealthCheck,
        lease: Lease,
        room: Room,
        ssl_context: ssl.SSLContext,
        emit: Callable[[Event], None],
        runtime: Runtime,
        *,
        changed: Callable[[Endpoint], None],
    ) -> None:
        self._check = check
        self._changed = changed
        self._lease = lease
        self._room = room
        self._ssl_context = ssl_context
        self._emit = emit
        self._clock = runtime
        self._service = str(target)
        scheme = "https" if target.tls else "http"
        self._url = httpx.URL(f"{scheme}://{target}{check.path}")
        self._probed: dict[Endpoint, tuple[HealthState, Handle]] = {}
        self._closed = False
        self._lock = threading.Lock()

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Probe these endpoints, and no others."""
        with self._lock:
            if self._closed:
                return
            gone = [self._probed.pop(endpoint) for endpoint in set(self._probed) - set(endpoints)]
            for endpoint in endpoints:
                if endpoint not in self._probed:
                    self._probed[endpoint] = self._begin(endpoint)
        for _, handle in gone:
            handle.cancel()

    def _begin(self, endpoint: Endpoint) -> tuple[HealthState, Handle]:
        state = HealthState(self._check, now=self._clock.now())
        state.healthy = endpoint.healthy  # one that left while it was not comes back so, until a probe passes
        wait, probe = partial(_wait, state, self._clock), partial(self._probe, endpoint, state)
        return state, self._lease.every(wait, probe, name=f"probe {endpoint.label}")

    def serve(self, room: Room, changed: Callable[[Endpoint], None]) -> None:
        """Go on for another room of the same service."""
        self._room, self._changed = room, changed

    def used(self, now: float) -> None:
        """Note a call: an idle service is probed less often."""
        for state, handle in list(self._probed.values()):
            if state.used(now):
                handle.hurry()

    def dial_failed(self, endpoint: Endpoint, now: float) -> None:
        """Probe an endpoint at once: a dial has failed."""
        probed = self._probed.get(endpoint)
        if probed is not None and probed[0].dial_failed(now):
            probed[1].hurry()

    def close(self) -> None:
        """Stop; whoever joins later, by a lookup that was under way, is not probed."""
        with self._lock:
            self._closed = True
            probed = list(self._probed.values())
            self._probed.clear()
        for _, handle in probed:
            handle.cancel()

    async def _probe(self, endpoint: Endpoint, state: HealthState) -> None:
        clock = self._clock
        if not state.is_due(clock.now()):
            return
        state.began(clock.now())
        known = True
        try:
            trouble = await self._ask(endpoint)
        except (Rerouted, NoEndpointsError):
            # A name that nobody can resolve now, or that stands for others: calls shall go on asking for it.
            known, trouble = False, None
        now = clock.now()
        if trouble is None:
            change = state.passed(now=now, random=clock.random())
        else:
            change = state.failed(now=now, random=clock.random())
        if change is not None:
            endpoint.mark(healthy=change)
            self._changed(endpoint)
            reason = trouble or f"{self._url.path} answers"  # a query may hold a secret
            self._emit(HealthChanged(self._service, endpoint.label, change, reason))
            self._room.line.stir()
        if known and trouble is None and endpoint.circuit is not None:
            for transition in endpoint.circuit.invite(now):
                self._room.changed(endpoint, transition)

    async def _ask(self, endpoint: Endpoint) -> str | None:
        """Send one probe; return what is wrong, or None."""
        seconds = float(self._check.timeout)  # type: ignore[arg-type]  # seconds since it was checked
        now = ANYIO.now()
        request = httpx.Request(
            "GET", self._url, headers={"user-agent": "resilience-health-check", "connection": "close"}
        )
        call = RoutedCall(ANYIO, request, now, now + seconds, "probe", True, classify)  # noqa: FBT003
        attempt = Attempt(1, endpoint, now, None, _nothing, _nothing)
        attempt.until = call.deadline
        call.attempts.append(attempt)
        request.extensions = {CALL: call}
        pool = AsyncPool(endpoint, self._ssl_context, _OPTIONS, Together(_OPTIONS, None))

        async def ask() -> int:
            async with AsyncEndpointTransport(pool, self._ssl_context) as transport:
                response = await transport.handle_async_request(request)
                await response.aclose()
                return response.status_code

        try:
            status = await ANYIO.limit(seconds, ask)
        except (Rerouted, NoEndpointsError):
            raise
        except TimeoutError:
            return f"no answer within {seconds:g} s"
        except Exception as error:  # noqa: BLE001 - whatever it is, the endpoint did not pass
            return type(error).__name__
        return None if self._check.accepts(status) else f"answered {status}"


def _wait(state: HealthState, clock: Runtime) -> float:
    return state.wait(clock.now())


def _nothing(*_: object) -> None:
    return
