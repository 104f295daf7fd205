"""The replicas stand in DNS: each address one of a fleet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from resilience.core.endpoint import Address
from resilience.core.errors import require
from resilience.core.hostport import LONGEST_NAME, ip, is_port, split
from resilience.core.units import seconds

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    from resilience.core.resolution import Resolution, Target

_RECORDS = ("auto", "A", "AAAA", "SRV")
_DNS_PORT = 53
_LONGEST_LABEL = 63
_STRANGE = re.compile(r"[\s:/?#@\[\]\\]")
"""What shows that it is a URL or an address with a port."""


@dataclass(frozen=True, slots=True)
class Dns:
    """Ask DNS for the replicas: each address is one, balanced and followed as the records change.

    `name`: what to ask for; None: the host of the URL. `port`: of A and AAAA records; None: that of the URL; SRV
    records bring their own. `record`: ``"auto"`` (SRV for names such as ``_http._tcp.web``, else A and AAAA), ``"A"``,
    ``"AAAA"`` or ``"SRV"``. With both families IPv4 is used, IPv6 when none of those is ready. `nameservers`:
    ``["10.0.0.53", "127.0.0.1:5353"]``, asked in this order, for absolute names only and without a look at the hosts
    file; None: as this machine is configured. A TTL is taken as at least `min_ttl` and at most `max_ttl` seconds
    (Consul answers 0, Docker 600); when nameservers fail, the last good answer stands for `stale_for` seconds more.

    Raises ConfigurationError naming the argument.
    """

    name: str | None = None
    port: int | None = None
    record: Literal["auto", "A", "AAAA", "SRV"] = "auto"
    nameservers: Iterable[str] | None = None
    min_ttl: float | timedelta = 5.0
    max_ttl: float | timedelta = 30.0
    stale_for: float | timedelta = 86_400.0

    def __post_init__(self) -> None:
        """Check every argument; durations become seconds."""
        if self.name is not None:
            require("name", self.name, "a DNS name, absolute or relative", _is_name)
        if self.port is not None:
            require("port", self.port, "a port from 1 to 65535, or None for that of the URL", is_port)
        require("record", self.record, f"one of {', '.join(_RECORDS)}", lambda record: record in _RECORDS)
        if self.nameservers is not None:
            object.__setattr__(self, "nameservers", _servers(self.nameservers))
        object.__setattr__(self, "min_ttl", shortest := seconds("min_ttl", self.min_ttl, zero=True))
        object.__setattr__(self, "max_ttl", longest := seconds("max_ttl", self.max_ttl, infinite=True))
        object.__setattr__(self, "stale_for", seconds("stale_for", self.stale_for, zero=True, infinite=True))
        if longest < shortest:
            require("max_ttl", longest, f"at least min_ttl, {shortest:g} s", lambda _: False)

    async def resolve(self, target: Target, /, *, deadline: float) -> Resolution:
        """Return the replicas; raise :class:`ResolutionError` before `deadline`. To be awaited on an event loop."""
        from resilience.discovery import by_dns  # noqa: PLC0415 - dnspython is loaded by those who use it

        servers = None if self.nameservers is None else [_server(text) for text in self.nameservers]
        question = by_dns.Question(self.name or target.host, self.port or target.port, self.record)
        return await by_dns.resolve(question, servers, deadline=deadline)


def _server(text: str) -> Address:
    expected = 'an iterable of at least one "address" or "address:port" ("[v6]:port"); addresses, not names'
    host, port = split("nameservers", text, expected)
    require("nameservers", text, expected, lambda _: ip(host) is not None)
    return Address(host, port or _DNS_PORT)


def _servers(given: object) -> tuple[str, ...]:
    expected = 'a list of at least one "address" or "address:port"'
    require("nameservers", given, expected, lambda value: not isinstance(value, str | bytes))
    try:
        listed = tuple(cast("Iterable[str]", given))
    except TypeError:
        listed = ()
    require("nameservers", given, expected, lambda _: bool(listed))
    return tuple(str(_server(text)) for text in listed)


def _is_name(value: object) -> bool:
    if not isinstance(value, str) or len(value.removesuffix(".")) > LONGEST_NAME:
        return False
    labels = value.removesuffix(".").split(".")
    return all(0 < len(label.encode()) <= _LONGEST_LABEL for label in labels) and not _STRANGE.search(value)
