"""Routes: which service answers a request, by what is asked for; canaries, blue and green, shadows. Pure decisions.

A route changes where a request is sent, not what it says: URL, ``Host``, the server name and the certificate asked for
stay those of the request.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from resilience.core.chance import fixed
from resilience.core.errors import ConfigurationError, require
from resilience.core.hostport import ip, split
from resilience.core.propagation import is_header_name
from resilience.core.units import share
from resilience.http.origins import DEFAULT_PORTS, checked_name
from resilience.http.replay import shareable
from resilience.http.whole import OPTIONS
from resilience.policies.budget import RetryBudget
from resilience.policies.matching import is_plain, several
from resilience.policies.successions import budget_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import httpx

    from resilience.policies.budget import Budget

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110 5.6.2: what a method is."""
_MAGIC = re.compile(r"[*?[]")
"""What `fnmatch` reads as more than itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Send requests that fit to the service `to`, or the share `weight` of them.

    `to`: ``host`` or ``host:port``, found among the client's `services` or resolved as any name; without a port, the
    request's. What has to fit: `host` (``host`` or ``host:port`` of the URL), `method` (one, or several), `path` (a
    pattern in which ``*`` stands for anything, ``/v2/*``, without a query; matched decoded), `header` (a name that
    must be there, or a mapping of names to patterns of values). What is left out fits.

    `weight`: share of the requests that fit which take the route, in (0, 1]; the others look further, and at last go
    where they would have gone. `sticky`: a header, or a function of the request, whose value decides who takes it:
    the same value always the same way, in every process, and whoever takes it still does when the weight grows.
    Without a value, or with an empty one, the call's ``key`` decides, else chance.

    `mirror`: the request goes on as if this route were not there, and a copy is sent here too, when its body is bytes
    or a form of bytes and text (no file, no generator); what becomes of the copy is ignored, it is never sent again,
    and `budget` pays for it. Raises ConfigurationError naming the argument.
    """

    to: str
    host: str | None = None
    method: str | Collection[str] | None = None
    path: str | None = None
    header: str | Mapping[str, str] | None = None
    weight: float = 1.0
    sticky: str | Callable[[httpx.Request], str | None] | None = None
    mirror: bool = False
    budget: RetryBudget = field(default_factory=RetryBudget)

    def __post_init__(self) -> None:
        """Check every argument."""
        _place("to", self.to)
        if self.host is not None:
            _place("host", self.host)
        if self.path is not None and not (isinstance(self.path, str) and self.path.startswith(("/", "*"))):
            raise ConfigurationError("path", self.path, 'a pattern that begins with "/" or "*"')  # noqa: EM101
        if self.path is not None and "?" in self.path:
            argument, expected = "path", 'a path only: no query ("?…"; a "?" that is part of the path is "%3F")'
            raise ConfigurationError(argument, self.path, expected)
        object.__setattr__(self, "weight", share("weight", self.weight))
        if self.method is not None:
            object.__setattr__(self, "method", _methods(self.method))
        object.__setattr__(self, "header", _headers(self.header))
        if self.sticky is not None and not is_plain(self.sticky) and not is_header_name(self.sticky):
            argument, expected = "sticky", "the name of a header, or a plain function of the request"
            raise ConfigurationError(argument, self.sticky, expected)
        require("mirror", self.mirror, "True or False", lambda it: isinstance(it, bool))
        if not isinstance(self.budget, RetryBudget):
            argument = "budget"
            raise ConfigurationError(argument, self.budget, "a RetryBudget")


class _Rule:
    """A route as it is asked: patterns compiled, its budget open."""

    __slots__ = ("_headers", "_host", "_path", "_port", "budget", "host", "port", "route")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.host, self.port = _place("to", route.to)
        self._host: str | None = None
        self._port: int | None = None
        if route.host is not None:
            host, self._port = _place("host", route.host)
            self._host = _alike(host)
        self._path = None if route.path is None else _pattern(route.path, unquote)
        headers = cast("Mapping[str, str]", route.header or {})
        self._headers = [(name, _pattern(pattern, str)) for name, pattern in headers.items()]
        self.budget: Budget = route.budget.fresh()

    def fits(self, request: httpx.Request) -> bool:
        """Tell whether the request is one that the route is for."""
        url, methods = request.url, self.route.method
        if methods is not None and request.method not in methods:
            return False
        if self._host is not None and self._host != _alike(url.raw_host.decode("ascii")):
            return False
        if self._port is not None and self._port != (url.port or DEFAULT_PORTS.get(url.scheme)):
            return False
        if self._path is not None and self._path(url.path) is None:
            return False
        values = ((request.headers.get(name), match) for name, match in self._headers)
        return all(value is not None and match(value) is not None for value, match in values)

    def takes(self, request: httpx.Request, draw: Callable[[], float]) -> bool:
        """Tell whether the request is within the share."""
        weight = self.route.weight
        if weight >= 1:
            return True
        key = self._key(request)
        return (draw() if key is None else fixed(f"{self.route.to} {key}")) < weight

    def _key(self, request: httpx.Request) -> str | None:
        sticky = self.route.sticky
        found: object = None
        if callable(sticky):
            found = sticky(request)
        elif sticky is not None:
            found = request.headers.get(sticky)
        # Who sends an empty one has none: all of those are not one user.
        if found is not None and (value := str(found)):
            return value
        options = request.extensions.get(OPTIONS)
        return (cast("dict[str, Any]", options).get("key") or None) if isinstance(options, dict) else None


class Routes:
    """The routes of a client, in order; `draw` returns numbers in [0, 1)."""

    __slots__ = ("_draw", "_mirrors", "_rules", "listed")

    def __init__(self, routes: Iterable[Route], *, draw: Callable[[], float] = random.random) -> None:
        self.listed = _checked(routes)
        """What was given; empty: nobody has to ask."""
        self._draw = draw
        self._rules = [_Rule(route) for route in self.listed if not route.mirror]
        self._mirrors = [_Rule(route) for route in self.listed if route.mirror]

    def renewed(self, routes: Iterable[Route], now: float, /) -> Routes:
        """Return other routes in the place of these: what copies to a service have spent stays spent."""
        made = Routes(routes, draw=self._draw)
        left = {rule.route.to: rule.budget for rule in reversed(self._mirrors)}
        for rule in made._mirrors:
            known = left.pop(rule.route.to, None)
            if known is not None:
                rule.budget = budget_after(known, rule.route.budget, now)
        return made

    def of(self, request: httpx.Request, /) -> tuple[str, int | None] | None:
        """Return the host and port of the service that the first route which takes the request names; None for none."""
        for rule in self._rules:
            if rule.fits(request) and rule.takes(request, self._draw):
                return rule.host, rule.port
        return None

    def mirrors(self, request: httpx.Request, now: float, /) -> list[tuple[str, int | None]]:
        """Return where copies of the request go: within each route's share, and as long as its budget pays.

        Nowhere when the body cannot be sent by two at the same time; then no budget pays either.
        """
        found: list[tuple[str, int | None]] = []
        for rule in self._mirrors:
            if rule.fits(request):
                rule.budget.deposit(now)
                if rule.takes(request, self._draw) and shareable(request) and rule.budget.try_withdraw(now):
                    found.append((rule.host, rule.port))
        return found


def _place(argument: str, value: str) -> tuple[str, int | None]:
    """Return host and port as they stand in a URL: other alphabets in their spelling for DNS, as names of services."""
    expected = 'a service: "host" or "host:port"'
    foreign = isinstance(value, str) and not value.isascii()
    return split(argument, checked_name(value, argument, expected) if foreign else value, expected)


def _alike(host: str) -> str:
    """Return the one spelling of a URL's host: IPv6 addresses in short, names without the dot of the root."""
    return (ip(host) or host) if ":" in host else host.removesuffix(".")


def _pattern(given: str, read: Callable[[str], str]) -> Callable[[str], re.Match[str] | None]:
    """Return what matches a pattern in which `*` is anything, and all else itself, as `read` reads it."""
    parts = (_MAGIC.sub(r"[\g<0>]", read(part)) for part in given.split("*"))  # `read` may yield a `*`, of "%2A"
    return re.compile(translate("*".join(parts))).match


def _checked(routes: object) -> tuple[Route, ...]:
    argument, expected = "routes", "an iterable of resilience.Route"
    try:
        found = tuple(cast("Iterable[object]", routes))
    except TypeError:
        raise ConfigurationError(argument, routes, expected) from None
    for route in found:
        if not isinstance(route, Route):
            raise ConfigurationError(argument, route, expected)
    return cast("tuple[Route, ...]", found)


def _methods(given: object) -> frozenset[str]:
    shown = given
    listed: object = [given] if isinstance(given, str) else given
    found = several(cast("object", listed)) or () if isinstance(listed, Collection) else ()
    if not found or not all(isinstance(method, str) and _TOKEN.fullmatch(method) for method in found):
        argument, expected = "method", 'a method ("GET"), or several'
        raise ConfigurationError(argument, shown, expected)
    return frozenset(cast("str", method).upper() for method in found)


def _headers(given: object) -> Mapping[str, str] | None:
    if given is None:
        return None
    found = {given: "*"} if isinstance(given, str) else given
    pairs = list(cast("Mapping[object, object]", found).items()) if isinstance(found, Mapping) else []
    if not pairs or not all(is_header_name(name) and isinstance(value, str) for name, value in pairs):
        argument, expected = "header", "the name of a header, or a mapping of names to patterns"
        raise ConfigurationError(argument, given, expected)
    return {cast("str", name).lower(): cast("str", value) for name, value in pairs}
