"""A subset of a very large fleet: each client keeps to its own few replicas, and all replicas get as many clients."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from resilience.core.chance import fixed
from resilience.core.errors import ConfigurationError
from resilience.core.units import whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resilience.core.ports import Resolver
    from resilience.core.resolution import Replica, Resolution, Target


def subset(replicas: Sequence[Replica], size: int, client: str, /) -> tuple[Replica, ...]:
    """Return `size` replicas of each tier: those that rank highest for this client, in the order they came in.

    Rendezvous hashing (gRPC's A68): of one replica more or less, at most one of a client's is exchanged, and the
    clients of one that leaves are spread over all others. Weights stay with the replicas and decide within the subset.
    """
    kept: set[Replica] = set()
    for tier in {replica.tier for replica in replicas}:
        ranked = sorted(
            (replica for replica in replicas if replica.tier == tier),
            key=lambda replica: (fixed(f"{client} {replica.address}"), str(replica.address)),
        )
        kept.update(ranked[:size])
    return tuple(replica for replica in replicas if replica in kept)


@dataclass(frozen=True, slots=True)
class Subset:
    """Use `size` replicas out of what `resolver` finds, chosen by the name of this `client`.

    ``Service(discovery=Subset(Dns(), 20))``: for fleets so large that every client need not know every replica; 20 are
    enough for balancing, retries and the loss of some. `client`: anything that is unique to the process and stays with
    it; None is the host's name. An origin with several addresses stays whole. Raises ConfigurationError.
    """

    resolver: Resolver
    size: int = 20
    client: str | None = None

    def __post_init__(self) -> None:
        """Check every argument, and ask for the host's name where none was given."""
        whole("size", self.size)
        if isinstance(self.resolver, type) or not callable(getattr(self.resolver, "resolve", None)):
            raise ConfigurationError("resolver", self.resolver, "an object with `resolve`")  # noqa: EM101
        if self.client is None:
            object.__setattr__(self, "client", socket.gethostname())
        elif not isinstance(self.client, str) or not self.client:
            raise ConfigurationError("client", self.client, "a name that no other client has, or None")  # noqa: EM101

    def __getattr__(self, name: str) -> float:
        """How long the resolver's answers may be kept is what it says."""
        if name not in {"min_ttl", "max_ttl", "stale_for"}:
            raise AttributeError(name)
        kept: float = getattr(self.resolver, name)
        return kept

    def immediate(self, target: Target, /) -> Resolution | None:
        """Return what is known without asking anybody."""
        ask = getattr(self.resolver, "immediate", None)
        found: Resolution | None = None if ask is None else ask(target)
        return None if found is None else self._cut(found)

    async def resolve(self, target: Target, /, *, deadline: float) -> Resolution:
        """Ask the resolver, and keep to the subset."""
        return self._cut(await self.resolver.resolve(target, deadline=deadline))

    def _cut(self, found: Resolution) -> Resolution:
        if not found.fleet or len(found.replicas) <= self.size:
            return found
        kept = subset(found.replicas, self.size, self.client or "")
        why = f"{found.why or 'as told'}; a subset of {len(kept)} of {len(found.replicas)}"
        return replace(found, replicas=kept, why=why)
