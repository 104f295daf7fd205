"""Middleware for servers: the caller's deadline becomes one's own, and failures that are final say so."""

from resilience.core.propagation import DEADLINE_HEADER, NO_RETRY_HEADER, do_not_retry
from resilience.server.asgi import DeadlineMiddleware
from resilience.server.wsgi import WsgiDeadlineMiddleware

__all__ = ["DEADLINE_HEADER", "NO_RETRY_HEADER", "DeadlineMiddleware", "WsgiDeadlineMiddleware", "do_not_retry"]
