"""Which nameserver to ask next, over what, and for how long: the pure side of asking one question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resilience.core.endpoint import Address
    from resilience.discovery.failures import Kind

Trouble: TypeAlias = Literal["truncated", "no-edns", "timeout", "unreachable", "servfail", "refused", "malformed"]
"""Why a trial gave no answer: to be repeated over TCP, without EDNS, later, or not at all."""

FIRST_PATIENCE = 0.5
"""Seconds a nameserver gets at first; doubled each round. Recursive servers answer 99 % in less."""
MOST_PATIENCE = 2.0
"""Seconds it gets at last: dnspython's own timeout."""
MOST_TRIALS = 3
"""Times one nameserver is asked over one transport (RFC 9520)."""
_SHORTEST = 0.001
"""Seconds below which asking is no use."""
_TELLING: tuple[Kind, ...] = ("timeout", "malformed", "refused", "servfail")
"""Failures, the more telling ones last: one server's SERVFAIL says more than another's silence."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One query to one nameserver."""

    server: Address
    timeout: float
    tcp: bool = False
    edns: bool = True


@dataclass(slots=True)
class _Server:
    address: Address
    tcp: bool = False
    edns: bool = True
    trials: int = 0
    out: bool = False


class Trials:
    """The course of one question over several nameservers, in their order, until somebody answers or nobody will.

    Take `next`, ask, `note` the trouble, and so on. Silence: the next server, and another round with twice the
    patience. SERVFAIL, REFUSED, nonsense, unreachable: the next server, and never this one again.
    """

    def __init__(self, servers: Sequence[Address]) -> None:
        self._servers = [_Server(server) for server in servers]
        self._at = 0
        self._round = 0
        self._kinds: set[Kind] = {"timeout"}

    def next(self, remaining: float, /) -> Trial | None:
        """Return the next query, given the seconds left; None when there is no more to try."""
        if remaining < _SHORTEST:
            return None
        self._skip()
        if self._at >= len(self._servers):
            return None
        server = self._servers[self._at]
        server.trials += 1
        waiting = sum(not other.out for other in self._servers[self._at :])
        patience = min(FIRST_PATIENCE * 2**self._round, MOST_PATIENCE, remaining / waiting)
        return Trial(server.address, patience, server.tcp, server.edns)

    def note(self, trouble: Trouble, /) -> None:
        """Take in why the latest trial gave no answer."""
        server = self._servers[self._at]
        if trouble == "truncated" and not server.tcp:
            server.tcp, server.trials = True, 0
        elif trouble == "no-edns" and server.edns:
            server.edns = False
        else:
            if trouble in {"truncated", "no-edns"}:
                trouble = "malformed"
            elif trouble == "unreachable":
                trouble, server.out = "timeout", True
            self._kinds.add(trouble)  # type: ignore[arg-type]  # only kinds of failure are left
            server.out = server.out or trouble != "timeout" or server.trials >= MOST_TRIALS
            self._at += 1

    @property
    def kind(self) -> Kind:
        """The most telling failure so far."""
        return max(self._kinds, key=_TELLING.index)

    def _skip(self) -> None:
        while True:  # once round at most: either somebody is not out, or everybody is
            while self._at < len(self._servers) and self._servers[self._at].out:
                self._at += 1
            if self._at < len(self._servers) or all(server.out for server in self._servers):
                return
            self._at, self._round = 0, self._round + 1
