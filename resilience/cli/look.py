"""What ``resolve`` and ``probe`` find out, as values; ``commands.py`` prints them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import httpx

from resilience.client import AsyncClient
from resilience.core.errors import ConfigurationError, ResilienceError
from resilience.core.outcome import UNKNOWN
from resilience.core.resolution import Target
from resilience.discovery.auto import Auto
from resilience.discovery.dns import Dns
from resilience.discovery.static import Static
from resilience.http.service import Service
from resilience.http.transport import AsyncTransport
from resilience.observe.facts import scrub
from resilience.policies.verdicts import judge_error, judge_status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resilience.core.outcome import Verdict
    from resilience.core.ports import Resolver
    from resilience.core.resolution import Replica, Resolution

Record = Literal["auto", "A", "AAAA", "SRV"]
_PORTS = {"http": 80, "https": 443}


def resolver(nameservers: Sequence[str], record: Record | None) -> Resolver:
    """Return ``Dns``, when something was said that only it understands, else ``Auto``."""
    if nameservers or record is not None:
        return Dns(nameservers=list(nameservers) or None, record=record or "auto")
    return Auto()


def host(text: str) -> str:
    """Return a host name; raise ConfigurationError for what is more than that, or nothing."""
    v6 = text.removeprefix("[").removesuffix("]")
    if v6.count(":") > 1 and v6.replace(":", "").partition("%")[0].isalnum():
        return v6
    if not text or any(mark in ":/?#@" or mark.isspace() for mark in text):
        argument, expected = "NAME", "a host name as it stands in a URL, and nothing else of it; the port is --port"
        raise ConfigurationError(argument, shown(text), expected)
    return text


def shown(url: str) -> str:
    """Return what may be printed of a URL, or of what was meant as one: no password, and no query."""
    return scrub(url) if "://" in url else url.partition("?")[0].rpartition("@")[2]


async def resolve(name: str, port: int, how: Resolver, within: float) -> Resolution:
    """Resolve a name once. Raises ResilienceError when that fails, or takes longer than `within` seconds."""
    return await how.resolve(Target(name, port), deadline=time.monotonic() + within)


def intentions(found: Resolution) -> list[str]:
    """Say what a client would do with these addresses."""
    count = len(found.replicas)
    if not found.fleet:
        ways = "it" if count == 1 else f"these {count} addresses in this order, 250 ms apart, as ways to it,"
        return [f"dial {ways} and keep one circuit for the origin", _again(found)]
    if count == 1:
        return [
            "send every call to this one address",
            "balance nothing: is it a virtual address in front of several replicas?",
            _again(found),
        ]
    first = min(replica.tier for replica in found.replicas)
    used = sum(1 for replica in found.replicas if replica.tier == first)
    kept = f"balance over {used} address{'es' * (used != 1)}, each with connections, a circuit and slots of its own"
    spare = [f"use the other {count - used} only while none of those is ready"] if used < count else []
    return [kept, *spare, _again(found)]


def _again(found: Resolution) -> str:
    if found.ttl == float("inf"):
        return "never ask again: the address is in the name"
    service = Dns()
    lives = min(max(found.ttl, service.min_ttl), service.max_ttl)
    return f"ask again after {lives:g} s in the background, or at once when a dial fails"


@dataclass(frozen=True, slots=True)
class Probe:
    """What one address answered to one GET."""

    replica: Replica
    answer: str
    seconds: float
    verdict: Verdict

    @property
    def fine(self) -> bool:
        """Would a client be content with it?"""
        return self.verdict.blame.value == "good" and not self.verdict.retry


async def probe(url: httpx.URL, replica: Replica, within: float) -> Probe:
    """GET `url` from one address, once."""
    only = Service(discovery=Static([replica.address]), retry=None, budget=None, circuit=None, total_timeout=within)
    transport = AsyncTransport(services={f"{url.host}:{port_of(url)}": only})
    started = time.monotonic()
    try:
        async with httpx.AsyncClient(transport=transport, timeout=within) as client, client.stream("GET", url) as got:
            answer, verdict = f"{got.status_code} {got.reason_phrase}", judge_status(got.status_code, got.headers)
    except (httpx.HTTPError, ResilienceError) as error:
        answer, verdict = f"{type(error).__name__}: {error}", judge_error(error) or UNKNOWN
    return Probe(replica, answer, time.monotonic() - started, verdict)


async def call(url: httpx.URL, how: Resolver, within: float) -> tuple[str, str]:
    """Send one GET as a client with its defaults would; return what became of it, and the policies in force."""
    name = f"{url.host}:{port_of(url)}"
    defaults = Service(discovery=how, total_timeout=within)
    async with AsyncClient(transport=AsyncTransport(defaults=defaults)) as client:
        try:
            response = await client.get(url)
        except (httpx.HTTPError, ResilienceError) as error:
            told = f"{type(error).__name__}: {error}"
        else:
            attempts = response.extensions["resilience"].attempts
            told = f"{response.status_code} from {', then '.join(attempt.endpoint for attempt in attempts)}"
        return told, str(client.describe().services[name])


def parse(text: str) -> httpx.URL:
    """Return the URL; raise ConfigurationError for what cannot be called."""
    argument, expected = "URL", "an absolute http or https URL"
    try:
        url = httpx.URL(text)
        usable = url.scheme in _PORTS and url.host and "%" not in url.host
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ConfigurationError(argument, shown(text), expected) from error
    if not usable:
        raise ConfigurationError(argument, shown(text), expected)
    return url


def port_of(url: httpx.URL) -> int:
    """Return the URL's port, given or by default."""
    return url.port or _PORTS[url.scheme]
