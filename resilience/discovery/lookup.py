"""A name's addresses and services by DNS: both families at once, aliases followed, suffixes tried."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import dns.name
from dns.rdatatype import AAAA, SRV, A

from resilience.discovery.answers import MOST_ALIASES, Addresses, Alias, Service, Services, read
from resilience.discovery.failures import ResolutionError
from resilience.discovery.trials import Trials

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from dns.message import Message
    from dns.rdatatype import RdataType

    from resilience.core.endpoint import Address
    from resilience.core.ports import Runtime
    from resilience.discovery.trials import Trial, Trouble

T = TypeVar("T")

RESOLUTION_DELAY = 0.05
"""Seconds that one family's addresses wait for the other's (RFC 8305, section 3)."""
_AT_ONCE = 16
"""SRV targets looked up at the same time."""


class Exchange(Protocol):
    """Sends one query; `resilience.discovery.wire` over a network, a function in tests."""

    async def __call__(self, name: dns.name.Name, rdtype: RdataType, trial: Trial, /) -> Message | Trouble:
        """Return the answer or why there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """Addresses of one name, by family."""

    ipv4: tuple[str, ...]
    ipv6: tuple[str, ...]
    ttl: float


class Lookup:
    """One lookup: every question in it shares the nameservers and the deadline (an instant)."""

    def __init__(self, runtime: Runtime, exchange: Exchange, servers: Sequence[Address], deadline: float) -> None:
        self._runtime = runtime
        self._exchange = exchange
        self._servers = servers
        self._deadline = deadline

    async def ask(self, name: dns.name.Name, rdtype: RdataType, /) -> Addresses | Services:
        """Return the records of `name`, following aliases from message to message; else raise ResolutionError."""
        ttl, asked = math.inf, name
        for _ in range(MOST_ALIASES):
            answer = await self._ask(asked, rdtype)
            if not isinstance(answer, Alias):
                return replace(answer, ttl=min(ttl, answer.ttl))
            asked, ttl = answer.name, min(ttl, answer.ttl)
        raise ResolutionError(text(name), "malformed", "its aliases do not end")

    async def _ask(self, name: dns.name.Name, rdtype: RdataType) -> Addresses | Services | Alias:
        trials = Trials(self._servers)
        causes: list[ResolutionError] = []
        detail = ""
        while (trial := trials.next(self._deadline - self._runtime.now())) is not None:
            try:
                reply = await self._runtime.limit(trial.timeout, partial(self._exchange, name, rdtype, trial))
            except TimeoutError:
                reply = "timeout"
            if isinstance(reply, str):
                trials.note(reply)
                detail = "no nameserver can be reached" if reply == "unreachable" else ""
                continue
            try:
                return read(reply, name, rdtype)
            except ResolutionError as error:
                if error.absent:
                    raise
                causes.append(error)
                trials.note(error.kind)  # type: ignore[arg-type]  # not an absence
        kind = trials.kind
        said = [cause for cause in causes if cause.kind == kind]
        raise ResolutionError(text(name), kind, said[-1].detail if said else detail, causes=causes)

    async def addresses(self, name: dns.name.Name, rdtypes: Sequence[RdataType] = (A, AAAA), /) -> Found:
        """Return the addresses of `name`: those of IPv4 at most 50 ms later for want of IPv6, never without trying.

        One family's absence or failure takes nothing from the other. Neither has any: absent only when both are.
        """
        outcomes = await self._families(name, rdtypes)
        found = {kind: outcome for kind, outcome in outcomes.items() if isinstance(outcome, Addresses)}
        failures = [outcome for outcome in outcomes.values() if isinstance(outcome, ResolutionError)]
        if not found:
            raise next((failure for failure in failures if not failure.absent), None) or failures[0]
        ttl = min(answer.ttl for answer in found.values())
        if A in outcomes and A not in found and not all(failure.absent for failure in failures):
            ttl = 0.0  # the family we would use could not be asked for: soon again
        ipv4, ipv6 = (found[kind].addresses if kind in found else () for kind in (A, AAAA))
        return Found(ipv4, ipv6, ttl)

    async def _families(
        self, name: dns.name.Name, rdtypes: Sequence[RdataType]
    ) -> dict[RdataType, Addresses | Services | ResolutionError]:
        outcomes: dict[RdataType, Addresses | Services | ResolutionError] = {}
        heard = {rdtype: self._runtime.gate() for rdtype in rdtypes}

        async def hear(rdtype: RdataType) -> None:
            try:
                outcomes[rdtype] = await self.ask(name, rdtype)
            except ResolutionError as error:
                outcomes[rdtype] = error
            heard[rdtype].open()
            for other in rdtypes:
                if other != rdtype and other not in outcomes:
                    await heard[other].wait(RESOLUTION_DELAY if _enough(rdtype, outcomes[rdtype]) else math.inf)

        await self._runtime.first(*(partial(hear, rdtype) for rdtype in rdtypes))
        return outcomes

    async def services(self, name: dns.name.Name, /) -> Services:
        """Return the SRV records of `name` with their targets' addresses; targets that have none are left out."""
        answer = await self.ask(name, SRV)
        if not isinstance(answer, Services):  # what `read` makes of an SRV question
            raise ResolutionError(text(name), "malformed")
        known = {service.target: service.addresses for service in answer.services if service.addresses}
        unknown = list(dict.fromkeys(service.target for service in answer.services if service.target not in known))
        ttl, failures = answer.ttl, list[ResolutionError]()
        for start in range(0, len(unknown), _AT_ONCE):
            for target, found in await self._targets(unknown[start : start + _AT_ONCE]):
                if isinstance(found, Found):
                    known[target] = found.ipv4 + found.ipv6
                    ttl = min(ttl, found.ttl)
                else:
                    failures.append(found)
        if not known:
            raise next((failure for failure in failures if not failure.absent), None) or failures[0]
        if not all(failure.absent for failure in failures):
            ttl = 0.0  # somebody is missing who may well be there: soon again
        return Services(tuple(_with(service, known) for service in answer.services if service.target in known), ttl)

    async def _targets(self, targets: Sequence[str]) -> list[tuple[str, Found | ResolutionError]]:
        results: list[tuple[str, Found | ResolutionError]] = []

        async def one(target: str) -> None:
            try:
                found: Found | ResolutionError = await self.addresses(absolute(target))
            except ResolutionError as error:
                found = error
            results.append((target, found))

        await all_of(self._runtime, [partial(one, target) for target in targets])
        return results

    async def search(self, names: Sequence[dns.name.Name], look: Callable[[dns.name.Name], Awaitable[T]], /) -> T:
        """Return what `look` finds for the first name that has anything, as the system's resolver would.

        Absent is the name only when every candidate is; a nameserver that fails for one of them leaves it open.
        """
        failures: list[ResolutionError] = []
        for name in names:
            try:
                return await look(name)
            except ResolutionError as error:
                if not error.absent and error.kind != "servfail":  # nobody answers: neither will they next time
                    raise
                failures.append(error)
        raise next((failure for failure in failures if not failure.absent), None) or failures[0]


async def all_of(runtime: Runtime, works: Sequence[Callable[[], Awaitable[None]]], /) -> None:
    """Run all works at once and return when the last has ended; none of them may raise."""
    left = len(works)

    async def run(work: Callable[[], Awaitable[None]]) -> None:
        nonlocal left
        await work()
        left -= 1
        if left:  # the last to end ends the race
            await runtime.gate().wait(math.inf)

    if works:
        await runtime.first(*(partial(run, work) for work in works))


def _enough(rdtype: RdataType, outcome: Addresses | Services | ResolutionError) -> bool:
    # IPv4 is what a fleet uses first: without it nothing is decided, with it IPv6 is a fallback. A name that does not
    # exist has no records of any type (RFC 8020).
    if isinstance(outcome, ResolutionError):
        return outcome.kind == "nxdomain"
    return rdtype == A


def _with(service: Service, known: dict[str, tuple[str, ...]]) -> Service:
    return replace(service, addresses=known[service.target])


def absolute(name: str, /) -> dns.name.Name:
    """Return the name as DNS knows it, from the root."""
    return dns.name.from_text(name)


def text(name: dns.name.Name, /) -> str:
    """Return the name as people write it."""
    return name.to_text(omit_final_dot=True)
