"""pydantic models and msgspec structs, each known by its own marks: neither library is imported unless it is used."""

from __future__ import annotations

import sys
from typing import Any


def is_model(kind: object, /) -> bool:
    """Tell whether this is a class that JSON can be checked against."""
    return isinstance(kind, type) and (hasattr(kind, "model_validate_json") or hasattr(kind, "__struct_fields__"))


def parses(kind: Any, content: bytes, /) -> None:  # noqa: ANN401 - a class of one of two libraries
    """Raise an error of the library's own when these bytes are not JSON that fits."""
    if hasattr(kind, "model_validate_json"):
        kind.model_validate_json(content)
    else:
        _msgspec().json.decode(content, type=kind)


def fits(kind: Any, value: object, /) -> None:  # noqa: ANN401
    """Raise an error of the library's own when the value does not fit."""
    if isinstance(value, kind):
        return
    if hasattr(kind, "model_validate"):
        kind.model_validate(value)
    else:
        _msgspec().convert(value, type=kind)


def _msgspec() -> Any:  # noqa: ANN401
    # Whoever has made a struct has imported it.
    return sys.modules["msgspec"]
