"""What of an event is written down: its fields, short, and without what only the two ends may know."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from resilience.core.events import Event

LONGEST = 200
"""Characters of a value that are written: enough for an error's first sentence."""
MOST = 10
"""Members of a list that are written: an event about a thousand addresses is still one line."""

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/?#'\"]*@)?(?P<rest>[^\s?#'\"]*)(?:[?#][^\s'\"]*)?")
_QUERY = re.compile(r"[?#].*", re.DOTALL)
_PLAIN = re.compile(r"[^\s\"'=\\]+")


def facts(event: Event, /) -> dict[str, Any]:
    """Return the event's fields by name, without those that do not apply; durations to the microsecond."""
    found = {field.name: getattr(event, field.name) for field in fields(event)}
    shown = {name: _shown(value) for name, value in found.items() if value is not None}
    operation = shown.get("operation")
    if isinstance(operation, str):
        shown["operation"] = _QUERY.sub("", operation)
    return shown


def logfmt(pairs: dict[str, Any], /) -> str:
    """Return ``key=value key='a value'``, on one line whatever the values hold."""
    return " ".join(f"{key}={_quoted(value)}" for key, value in pairs.items())


def scrub(text: str, /) -> str:
    """Return `text` with every URL in it cut down to scheme, host, port and path."""
    return _URL.sub(r"\g<scheme>\g<rest>", text) if "://" in text else text


def _shown(value: object) -> object:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, str):
        clean = scrub(value)
        return clean if len(clean) <= LONGEST else clean[: LONGEST - 1] + "…"
    if isinstance(value, tuple):
        members = cast("tuple[object, ...]", value)
        shown = [_shown(member) for member in members[:MOST]]
        return shown if len(members) <= MOST else [*shown, f"… {len(members) - MOST} more"]
    return value


def _quoted(value: object) -> str:
    if isinstance(value, list):
        return _quoted(",".join(map(str, cast("list[object]", value))))
    text = str(value)
    return text if _PLAIN.fullmatch(text) and text.isprintable() else repr(text)
