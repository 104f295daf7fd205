"""Which runtime a call really uses: the one it would, or what the surrounding code has put in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resilience.core.call import ambient

if TYPE_CHECKING:
    from resilience.core.call import Ambient
    from resilience.core.ports import Runtime


def replaced(around: Ambient, runtime: Runtime, /) -> Runtime:
    """Return what the surrounding code has put in the place of `runtime`; that itself, if nothing.

    A replacement that has a twin for the other kind of callers says so by its `in_place_of`.
    """
    other = around.runtime
    if other is None:
        return runtime
    choose = getattr(other, "in_place_of", None)
    return other if choose is None else choose(runtime)


def here(runtime: Runtime, /) -> Runtime:
    """Return the same for the code that is running now."""
    around = ambient.get()
    return runtime if around is None else replaced(around, runtime)
