"""How a lookup fails, by kind: what the far side knows not to exist, and what nobody could tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from resilience.core.errors import NoEndpointsError

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind: TypeAlias = Literal["nxdomain", "empty", "servfail", "refused", "timeout", "malformed"]
"""``nxdomain`` and ``empty`` are answers; the others say only that there was none."""

ABSENT: frozenset[Kind] = frozenset({"nxdomain", "empty"})
_SAYS: dict[Kind, str] = {
    "nxdomain": "the name does not exist",
    "empty": "the name has no address",
    "servfail": "the nameserver failed",
    "refused": "the nameserver refused",
    "timeout": "no nameserver answered in time",
    "malformed": "the answer made no sense",
}


class ResolutionError(NoEndpointsError):
    """A name could not be resolved; nothing of a call was sent.

    `kind` is one of :data:`Kind` and `detail` says it in words; `ttl` is for how many seconds an absence may be
    remembered (RFC 2308; None when the answer does not say).
    """

    def __init__(
        self,
        name: str,
        kind: Kind,
        detail: str = "",
        *,
        ttl: float | None = None,
        causes: Sequence[BaseException] = (),
    ) -> None:
        detail = detail or _SAYS[kind]
        super().__init__(f"cannot resolve {name}: {detail} ({kind})", service=name, causes=causes)
        self.name = name
        self.kind: Kind = kind
        self.detail = detail
        self.ttl = ttl

    @property
    def absent(self) -> bool:
        """Did somebody who knows say that there is nothing?"""
        return self.kind in ABSENT
