"""The two sides of the comparison: the same URL, the same workers, the same seconds a call may take."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.resolver
import httpx

import resilience
from resilience.cli.demo.world import NAME

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 2.0
"""Seconds a call may take on either side."""
ATTEMPT = 0.3
"""Seconds of one attempt, on the side that makes several."""
WORKERS = 3
"""Clients on either side, as the workers of a service have one each."""

PLAIN, OURS = "plain", "resilience"
CODE = {
    PLAIN: f"httpx.AsyncClient(timeout={PATIENCE:g})",
    OURS: f"resilience.AsyncClient(), attempt_timeout={ATTEMPT:g}, total_timeout={PATIENCE:g}",
}
CAPTION = (
    f"Each side is {WORKERS} clients, as {WORKERS} workers of a service would have, all calling http://{NAME}/items. "
    f"httpx.AsyncClient(timeout={PATIENCE:g}) is httpx as it comes: its connection pool, its dialling of one address "
    "after the other, and names looked up as glibc does it (no cache, 5 s, twice), but at the demo's DNS server, which "
    "rotates its answers. resilience.AsyncClient gets the name from the same server. Both have "
    f"{PATIENCE:g} s per call, all calls are GETs, and a call counts as lost when it raises or is answered 5xx."
)


def plain() -> httpx.AsyncClient:
    """Return httpx as it comes."""
    return httpx.AsyncClient(timeout=PATIENCE)


def ask_the_demo(dns_address: str) -> None:
    """Make this process look the service's name up at the demo's DNS server, as glibc would with resolv.conf."""
    host, _, port = dns_address.partition(":")
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = [host]
    resolver.port = int(port)
    socket.getaddrinfo = _like_glibc(resolver, socket.getaddrinfo)


def ours(dns_address: str) -> resilience.AsyncClient:
    """Return our client for the same name."""
    service = resilience.Service(
        discovery=resilience.Dns(nameservers=[dns_address]),
        attempt_timeout=ATTEMPT,
        total_timeout=PATIENCE,
    )
    return resilience.AsyncClient(timeout=PATIENCE, services={NAME: service})


def _like_glibc(resolver: dns.resolver.Resolver, system: Callable[..., Any]) -> Callable[..., Any]:
    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the socket module's own
        if host not in {NAME, NAME.encode()}:
            return system(host, port, *args, **kwargs)
        try:
            answer = resolver.resolve(NAME, "A", lifetime=10.0)
        except dns.resolver.NXDOMAIN as error:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from error
        except dns.exception.DNSException as error:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution") from error
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (record.address, int(port)))
            for record in answer
        ]

    return getaddrinfo
