"""Open-loop load: calls leave on schedule whatever becomes of them, and are timed from when they were due.

A closed loop (the next call after the last answer) stops measuring exactly while the service is slow:
"coordinated omission". Here a slow second costs every call that was due in it.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import anyio

from resilience.lab.report import Report, Sample

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["run_load", "run_load_blocking"]

_now = time.perf_counter
_SETTLE = 0.01
"""Seconds before the first call is due, so that starting up is not counted as its lag."""


async def run_load(
    call: Callable[[int], Awaitable[object]],
    *,
    rate: float,
    seconds: float,
    on_sample: Callable[[Sample], object] | None = None,
    drain: float = 30.0,
) -> Report:
    """Await ``call(n)``, n from 0, ``rate`` times a second for ``seconds``; asyncio and trio.

    Args:
        call: what is measured; the text it returns labels its sample (the server that answered, say). An
            :class:`Exception` it raises is a failed call.
        rate: calls a second, above 0.
        seconds: for how long calls leave.
        on_sample: told each result as it comes in.
        drain: seconds granted after the last call is due; what is still open then is cancelled and counts as failed.

    """
    total = _total(rate, seconds)
    samples: list[Sample] = []
    start = _now() + _SETTLE

    async def one(number: int) -> None:
        due = number / rate
        lag = max(0.0, _now() - start - due)
        label = error = None
        try:
            result = await call(number)
            label = result if isinstance(result, str) else None
        except Exception as failure:  # noqa: BLE001 - every failure is a result
            error = _describe(failure)
        except BaseException:
            note(Sample(due, _now() - start - due, lag, ok=False, error="unanswered"))
            raise
        note(Sample(due, _now() - start - due, lag, ok=error is None, error=error, label=label))

    def note(sample: Sample) -> None:
        samples.append(sample)
        if on_sample is not None:
            on_sample(sample)

    async with anyio.create_task_group() as group:
        for number in range(total):
            wait = start + number / rate - _now()
            if wait > 0:
                await anyio.sleep(wait)
            group.start_soon(one, number)
        group.cancel_scope.deadline = anyio.current_time() + drain
    return Report(rate, seconds, tuple(sorted(samples)))


def run_load_blocking(
    call: Callable[[int], object],
    *,
    rate: float,
    seconds: float,
    on_sample: Callable[[Sample], object] | None = None,
    workers: int = 64,
) -> Report:
    """Do the same with blocking calls, each in one of ``workers`` threads.

    With all of them busy a call leaves late; that shows in its ``lag`` and in its latency. ``on_sample`` is
    called from the threads.
    """
    total = _total(rate, seconds)
    samples: list[Sample] = []
    start = _now() + _SETTLE

    def one(number: int) -> None:
        due = number / rate
        lag = max(0.0, _now() - start - due)
        label = error = None
        try:
            result = call(number)
            label = result if isinstance(result, str) else None
        except Exception as failure:  # noqa: BLE001 - every failure is a result
            error = _describe(failure)
        sample = Sample(due, _now() - start - due, lag, ok=error is None, error=error, label=label)
        samples.append(sample)
        if on_sample is not None:
            on_sample(sample)

    with ThreadPoolExecutor(workers, thread_name_prefix="lab-load") as pool:
        futures: list[Future[None]] = []
        for number in range(total):
            wait = start + number / rate - _now()
            if wait > 0:
                time.sleep(wait)
            futures.append(pool.submit(one, number))
    for future in futures:
        future.result()
    return Report(rate, seconds, tuple(sorted(samples)))


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _total(rate: float, seconds: float) -> int:
    for name, value in (("rate", rate), ("seconds", seconds)):
        if not 0 < value < float("inf"):
            message = f"{name}={value!r}: must be a finite number above 0"
            raise ValueError(message)
    return max(1, round(rate * seconds))
