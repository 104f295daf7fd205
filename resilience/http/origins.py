"""The services a transport has met, by origin; and who is named how."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import httpx

from resilience.core.errors import ConfigurationError
from resilience.core.resolution import Target
from resilience.http.heritage import rehearse
from resilience.http.listening import Listeners
from resilience.http.service import Service
from resilience.http.status import Description, Status, describe, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from resilience.core.ports import Listener, Runtime
    from resilience.http.upstream import Upstream

# An origin that was not called for this long (seconds) is forgotten, and at most so many are kept.
IDLE = 300.0
MOST = 1000
# Seconds between two looks for such origins.
SWEEP = 30.0
LAST_PORT = 65535

Key: TypeAlias = tuple[str | int | None, ...]
_NOBODY: list[Upstream] = []
DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
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
        self.services: Mapping[str, Service] = _by_name(services)
        self.defaults = Service() if defaults is None else _checked("defaults", defaults)
        self.listeners = Listeners(listeners)
        self.runtime = runtime
        self.by_origin: dict[Key, Upstream] = {}
        self._before: dict[Key, Upstream] = {}
        self.stacked = 0
        """Retries that a transport below makes on its own account."""
        self._swept = runtime.now()
        self._lock = threading.Lock()

    def of(
        self, url: httpx.URL, make: Callable[[Target, Service], Upstream], asked: httpx.URL | None = None
    ) -> tuple[Upstream, list[Upstream]]:
        """Return the service behind a URL, and those that were dropped because nobody has called them for long.

        `asked`: what the request says, where a route leads elsewhere. Such a service is kept apart for each origin that
        comes that way: its connections were verified for that name.
        """
        key: Key = (url.scheme, url.host, url.port)
        if asked is not None:
            key += (asked.host, asked.port)
        found = self.by_origin.get(key)
        now = self.runtime.now()
        if found is not None and now - self._swept < SWEEP:
            return found, _NOBODY
        port = url.port if url.port is not None else DEFAULT_PORTS.get(url.scheme)
        if port is None or not url.host:
            raise httpx.UnsupportedProtocol(_unusable(url))
        if not 0 < port <= LAST_PORT:
            message = f"port {port}: expected 1 to {LAST_PORT}"
            raise httpx.InvalidURL(message)
        target = Target(url.raw_host.decode("ascii").strip("[]"), port, url.scheme in _SECURE)
        service = _service_of(target, self.services, self.defaults)
        with self.listeners.later(), self._lock:
            found = self.by_origin.get(key)
            if found is not None:
                found.used_at = now  # or it might be the first to go
            dropped = self._evict_locked(now, room_for=int(found is None))
            if found is None:
                found = self.by_origin[key] = make(target, service)
                self._before = {}
        return found, dropped

    def update(
        self,
        services: Mapping[str, Service] | None,
        defaults: Service | None,
        make: Callable[[Target, Service, Upstream | None], Upstream],
    ) -> None:
        """Put new descriptions into force, where they are others. ConfigurationError, and no change, if one is bad."""
        given, fallback = self._told(services, defaults)
        with self.listeners.later(), self._lock:
            changed = self._changed_locked(given, fallback)
            self.services, self.defaults = given, fallback
            for key, service in changed.items():
                old = self.by_origin[key]
                self.by_origin[key] = make(old.target, service, old)

    def rehearse(self, services: Mapping[str, Service] | None, defaults: Service | None) -> None:
        """Raise the ConfigurationError of an update that would be refused, and change nothing."""
        given, fallback = self._told(services, defaults)
        with self._lock:
            self._changed_locked(given, fallback)

    def _told(
        self, services: Mapping[str, Service] | None, defaults: Service | None
    ) -> tuple[Mapping[str, Service], Service]:
        given = self.services if services is None else _by_name(services)
        return given, self.defaults if defaults is None else _checked("defaults", defaults)

    def _changed_locked(self, given: Mapping[str, Service], fallback: Service) -> dict[Key, Service]:
        """Return the new descriptions of origins that get one; each can be put into force."""
        changed = {
            key: service
            for key, it in self.by_origin.items()
            if (service := _service_of(it.target, given, fallback)) is not it.service
        }
        for key, service in changed.items():
            rehearse(self.by_origin[key], service, self.runtime)
        return changed

    def _evict_locked(self, now: float, *, room_for: int) -> list[Upstream]:
        self._swept = now
        idle = sorted(
            (key for key, it in self.by_origin.items() if not it.busy), key=lambda key: self.by_origin[key].used_at
        )
        gone = [key for key in idle if now - self.by_origin[key].used_at > IDLE]
        too_many = len(self.by_origin) - len(gone) + room_for - MOST
        if too_many > 0:
            gone += idle[len(gone) :][:too_many]
        return [self.by_origin.pop(key) for key in gone]

    def forget(self) -> list[Upstream]:
        """Begin anew, and return the services met so far; `status` goes on showing them until another is met."""
        self._lock = threading.Lock()  # in a forked child somebody may hold the old one for good
        self._before, self.by_origin = self.by_origin or self._before, {}
        return list(self._before.values())

    def status(self) -> Status:
        """Return a snapshot of every service met so far, without those that are about to be dropped."""
        now = self.runtime.now()
        met = list((self.by_origin or self._before).values())
        return snapshot([it for it in met if it.busy or now - it.used_at <= IDLE], now)

    def describe(self) -> Description:
        """Return what is configured, and what is doubtful about it."""
        return describe(self.services, self.defaults, list(self.by_origin.values()), stacked=self.stacked)


def _unusable(url: httpx.URL) -> str:
    if not url.host:
        rest = url.path.rpartition("@")[2]  # what stands before an @ was meant as a password
        return f"the URL is missing an 'http://' or 'https://' and a host in front of {rest!r}"
    return f"the URL {f'{url.scheme}://{url.host}'!r} has an unsupported protocol"


def _service_of(target: Target, services: Mapping[str, Service], defaults: Service) -> Service:
    return services.get(str(target)) or services.get(target.host) or defaults


def _by_name(services: Mapping[str, Service] | None) -> dict[str, Service]:
    if services is not None and not isinstance(services, Mapping):
        argument, expected = "services", "a mapping of 'host' or 'host:port' to resilience.Service"
        raise ConfigurationError(argument, services, expected)
    found: dict[str, Service] = {}
    for name, service in (services or {}).items():
        key = checked_name(name)
        if key in found:
            argument, expected = "services", f"{key!r} once, whatever its spelling"
            raise ConfigurationError(argument, name, expected)
        found[key] = _checked(name, service)
    return found


def checked_name(name: str, argument: str = "services", expected: str = "keys like 'host' or 'host:port'") -> str:
    """Return the name of a service in its one spelling; raise ConfigurationError for what is none."""
    if not isinstance(name, str) or not name or any(mark in name for mark in "/?#@") or any(map(str.isspace, name)):
        shown = name if not isinstance(name, str) else name.rpartition("@")[2].partition("?")[0]  # never a password
        raise ConfigurationError(argument, shown, expected)
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
