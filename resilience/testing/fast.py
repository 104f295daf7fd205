"""Run code without its waits: in real time, in the same order, with the same counts."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from resilience.runtimes.fast import without_sleep

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence


@contextmanager
def fast() -> Generator[Sequence[float]]:
    """Have every backoff and every wait for a turn inside be over at once; gives the seconds that were left out.

    In plain and in async code, on any event loop, with real servers too. Time itself goes on as always: an open circuit
    stays open, an endpoint that has sent ``Retry-After`` stays away, a deadline stays where it is. For code that
    depends on time passing there is :class:`virtual`.
    """
    with without_sleep() as slept:
        yield slept.seconds
