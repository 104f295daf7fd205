"""What a transport is told, in httpx's own words: checked, and turned into what the pools and upstreams need."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import httpx

from resilience.core.endpoint import Address
from resilience.core.errors import ConfigurationError, require
from resilience.core.resolution import Replica, Resolution
from resilience.core.slots import Slots
from resilience.core.units import whole, within
from resilience.http.options import KEEPALIVE, PoolOptions
from resilience.http.pool import socket_options as reusable

if TYPE_CHECKING:
    from resilience.core.resolution import Target
    from resilience.http.service import Service


def pool_options(
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


def kept_behind_a_proxy(limits: httpx.Limits | None) -> httpx.Limits:
    """Return what httpx's own pool behind a proxy is to keep idle. Nobody waits in it: that is for our slots."""
    if limits is None:
        return httpx.Limits(keepalive_expiry=KEEPALIVE)
    return httpx.Limits(
        max_keepalive_connections=limits.max_keepalive_connections, keepalive_expiry=limits.keepalive_expiry
    )


def able(transport: Any, method: str) -> Any:  # noqa: ANN401 - somebody's transport
    """Return the transport if it can be called this way; else raise ConfigurationError."""
    if isinstance(transport, type) or not callable(getattr(transport, method, None)):
        argument, expected = "transport", f"a transport object with `{method}`"
        raise ConfigurationError(argument, transport, expected)
    return transport


def total_slots(limits: httpx.Limits | None) -> Slots | None:
    """Return the slots that all services of a client share; None when nobody has set a limit."""
    if limits is None:
        return None
    require("limits", limits, "httpx.Limits, or None", lambda it: isinstance(it, httpx.Limits))
    idle, expiry = limits.max_keepalive_connections, limits.keepalive_expiry
    if idle is not None:
        within("limits.max_keepalive_connections", idle, "a number from 0, or None", lambda it: it >= 0)
    if expiry is not None:
        within("limits.keepalive_expiry", expiry, "seconds from 0, or None", lambda it: it >= 0)
    most = limits.max_connections
    if most is None:
        return None
    return Slots(whole("limits.max_connections", most))


def known(service: Service, target: Target, *, foreign: bool) -> Resolution | None:
    """Return what is known of a service without asking anybody; None when its name has to be looked up."""
    if foreign:
        # Somebody else connects: one endpoint, by its name.
        replica = Replica(Address(target.host, target.port))
        return Resolution((replica,), math.inf, "literal", fleet=False, why="not ours to dial")
    immediate = getattr(service.discovery, "immediate", None)
    return None if immediate is None else immediate(target)
