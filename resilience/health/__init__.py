"""Floor 1: is it alive? Of the endpoints we call, by active checks and by comparison; and of ourselves, when asked."""

from resilience.health.app import App

__all__ = ["App"]
