"""``host:port`` as people write it, taken apart and checked."""

from __future__ import annotations

import ipaddress
import re
from typing import TypeGuard

from resilience.core.endpoint import Address
from resilience.core.errors import ConfigurationError

MOST_PORTS = 65_535
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
LONGEST_NAME = 253
"""RFC 1035: 255 octets on the wire."""


def split(argument: str, value: object, expected: str, /) -> tuple[str, int | None]:
    """Return host (lower case, without brackets) and port, None when there is none.

    Raises ConfigurationError naming `argument` and what was `expected`, for whatever is not a host with a port or not.
    """
    if isinstance(value, Address):
        value = str(value)
    if not isinstance(value, str):
        raise ConfigurationError(argument, value, expected)
    literal = ip(value)
    if literal is not None:  # a bare IPv6 address is full of colons
        return literal, None
    if value.startswith("["):
        inside, bracket, rest = value[1:].partition("]")
        host = ip(inside)
        if not bracket or host is None or ":" not in host or (rest and not rest.startswith(":")):
            raise ConfigurationError(argument, value, expected)
        digits = rest[1:] if rest else None
    else:
        host, colon, after = value.partition(":")
        digits = after if colon else None
        host = host.lower()
        if not (ip(host) or _is_name(host)):
            raise ConfigurationError(argument, value, expected)
    if digits is None:
        return host, None
    if not (digits.isascii() and digits.isdigit() and is_port(int(digits))):
        raise ConfigurationError(argument, value, expected)
    return host, int(digits)


def ip(text: str, /) -> str | None:
    """Return the IP address in its canonical form, or None when it is none."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def is_port(value: object, /) -> TypeGuard[int]:
    """Tell whether this is a port number one can dial."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_PORTS


def _is_name(host: str) -> bool:
    # "10.0.0.999" or "10.0.1" is a slip of the pen, never a name: no top-level domain is all digits (RFC 3696).
    numeric = host.removesuffix(".").rpartition(".")[2].isdigit()
    return len(host) <= LONGEST_NAME and bool(_HOST.fullmatch(host)) and ".." not in host and not numeric
