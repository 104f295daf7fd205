"""The JSON Schema of configuration files, for editors and for other programs: ``python -m resilience.config``."""

from __future__ import annotations

import json
from typing import Any

from resilience.config.model import FilePart


def schema() -> dict[str, Any]:
    """Return the schema (JSON Schema 2020-12) of what a file may hold."""
    found = FilePart.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "httpx-resilience"}


def schema_text() -> str:
    """Return it as it is published."""
    return json.dumps(schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
