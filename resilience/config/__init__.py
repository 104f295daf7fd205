"""Floor 4: services and pipelines from TOML, JSON and the environment. Needs the extra ``config`` (pydantic)."""

try:
    import pydantic  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ModuleNotFoundError as missing:
    message = "resilience.config needs pydantic: pip install 'httpx-resilience[config]'"
    raise ModuleNotFoundError(message, name="pydantic") from missing

from resilience.config.doubts import Doubt, doubts_of
from resilience.config.load import Configuration, load, parse
from resilience.config.problems import ConfigurationFileError, Problem
from resilience.config.schema import schema

__all__ = ["Configuration", "ConfigurationFileError", "Doubt", "Problem", "doubts_of", "load", "parse", "schema"]
