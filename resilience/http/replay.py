"""May this request be sent a second time? Its method, its headers, and its body have to agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from resilience.policies.verdicts import IDEMPOTENT

if TYPE_CHECKING:
    from collections.abc import Mapping


def repeatable(request: httpx.Request, options: Mapping[str, Any]) -> bool:
    """Tell whether repeating the request is harmless, and possible.

    Harmless by RFC 9110's idempotent methods, an ``Idempotency-Key``, or the caller's word. Possible when the body
    can be produced again: generators and unseekable files cannot, and would silently be sent empty.
    """
    harmless = options.get("idempotent")
    if harmless is None:
        harmless = request.method in IDEMPOTENT or "idempotency-key" in request.headers
    return bool(harmless) and replayable(request)


def replayable(request: httpx.Request) -> bool:
    """Tell whether the body gives the same bytes again. An allow-list: what is not known to, does not."""
    stream = request.stream
    if isinstance(stream, httpx.ByteStream):
        return True
    fields = getattr(stream, "fields", None)  # multipart: httpx rewinds each file before it sends it
    if fields is None:
        return False
    return all(_rewinds(getattr(field, "file", b"")) for field in fields)


def _rewinds(file: object) -> bool:
    if isinstance(file, str | bytes):
        return True
    seekable = getattr(file, "seekable", None)
    return bool(seekable is not None and seekable())
