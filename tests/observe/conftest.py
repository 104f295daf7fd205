from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import structlog

from resilience.observe.log import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    """Each test starts with a structlog and a logger nobody has configured."""
    logger = logging.getLogger(NAME)
    before = logger.handlers[:], logger.level
    logger.handlers[:] = []
    logger.setLevel(logging.NOTSET)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    yield
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()
    logger.handlers[:], level = before
    logger.setLevel(level)
