"""Chance that every process settles alike: a number for a text."""

from __future__ import annotations

from hashlib import blake2b

_BITS = 53


def fixed(text: str, /) -> float:
    """Return a number in [0, 1) that depends on the text alone, as good as random: the same today and elsewhere."""
    digest = blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest) >> (64 - _BITS)) / (1 << _BITS)
