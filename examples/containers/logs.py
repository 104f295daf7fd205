"""Logs for containers: a JSON object a line, on standard output."""

import logging
import sys

import structlog


def configure() -> None:
    """Log from INFO upwards, with level and time; what is bound to the context rides along."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
    )
