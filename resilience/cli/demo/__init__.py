"""``make demo``: the same load through plain httpx and through this library, while real servers fail."""
