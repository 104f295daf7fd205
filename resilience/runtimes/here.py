"""Which event loop is this? A connection belongs to the one it was dialled on, and is of no use to another."""

from __future__ import annotations

import asyncio

from anyio.lowlevel import current_token


def here() -> object:
    """Return the running loop's identity, on asyncio or trio. Takes some 40 ns on asyncio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return current_token().native_token
