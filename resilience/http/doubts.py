"""Warnings about a service as it was described: options that never act, contradict each other, or defeat each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from resilience.discovery.docker import advice, embedded
from resilience.discovery.static import Static
from resilience.http.service import TOTAL
from resilience.policies.waits import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resilience.core.resolution import Resolution
    from resilience.http.service import Service
    from resilience.policies.retry import Retry

# httpx's read timeout when nobody gives one, in seconds: how long an attempt waits for a hung server.
HTTPX_READ = 5.0
# Calls at once, and attempts whose waits are looked at: who says more than that means no limit.
MOST_AT_ONCE = 10**15
MOST_ATTEMPTS = 1000
# The least an HTTP call takes, in seconds, when asking how many fit into a circuit's window.
QUICKEST = 0.001


def doubts(service: Service, resolution: Resolution | None, *, stacked: int = 0, host: str = "") -> tuple[str, ...]:
    """Return every warning. `stacked`: retries that the transport below makes on its own account; `host`: the name."""
    found = [*_of_time(service), *_of_retries(service, stacked), *_of_circuit(service), *_of_limit(service)]
    replicas = _replicas(service, resolution)
    if replicas == 1:
        one = "balancing over one address does nothing: is it a virtual address in front of several replicas?"
        found.append(one + (advice(host, docker=embedded()) if host else ""))
    return tuple(found)


def _of_time(service: Service) -> Iterator[str]:
    total = float(service.total_timeout or TOTAL)  # type: ignore[arg-type]  # seconds since the service was checked
    retry, attempt = service.retry, service.attempt_timeout
    if attempt is not None and attempt >= total:  # type: ignore[operator]
        yield f"attempt_timeout={attempt:g} s never acts: the deadline of {total:g} s comes first"
    elif retry is not None and attempt is not None and retry.max_attempts > total / float(attempt):  # type: ignore[arg-type]
        fit = f"{retry.max_attempts} attempts of {attempt:g} s do not fit into the deadline of {total:g} s"
        yield f"{fit}: the last ones are cut short, or never made"
    elif retry is not None and retry.max_attempts > 1 and attempt is None and total <= HTTPX_READ:
        hangs = f"without attempt_timeout one attempt that hangs takes the whole deadline of {total:g} s"
        yield f"{hangs}: nothing is left for another"
    if retry is not None and retry.max_attempts > 1:
        longest = _longest_wait(retry)
        if longest is not None and longest >= total:
            yield f"waits of up to {longest:g} s go beyond the deadline of {total:g} s: the call ends instead"


def _of_retries(service: Service, stacked: int) -> Iterator[str]:
    retry = service.retry
    if stacked and retry is not None and retry.max_attempts > 1:
        sends = retry.max_attempts * (stacked + 1)
        yield f"the transport below retries {stacked} times itself: up to {sends} sends a call, past budget and circuit"
    budget = None if service.budget is None else service.budget.state
    if retry is not None and retry.max_attempts > 1 and retry.sharing(budget).state is None:
        yield "retries without a budget: a dead service gets every call several times over"
    hedge = service.hedge
    if hedge is None:
        return
    if retry is not None and retry.max_attempts == 1:
        yield "hedge never acts: max_attempts=1 of the retry allows one send, and a hedge is a second one"
    elif hedge.sharing(budget).state is None:
        yield "hedge without a budget: a slow service gets every call twice"


def _of_circuit(service: Service) -> Iterator[str]:
    if service.circuit is None:
        return
    options = service.circuit.options
    at_once = service.max_in_flight or 1000
    most = min(at_once, MOST_AT_ONCE) * max(1.0, options.window / QUICKEST)
    if options.minimum_calls <= most:
        return
    ratio = f"{options.minimum_calls} calls never fit into {options.window:g} s with {at_once} at a time"
    if options.consecutive_failures > most:
        yield f"this circuit can never open: {ratio}, nor do {options.consecutive_failures} failures in a row"
    else:
        yield f"this circuit never opens by its ratio: {ratio}"


def _of_limit(service: Service) -> Iterator[str]:
    if service.limit is None or service.attempt_timeout is None:
        return
    attempt = cast("float", service.attempt_timeout)  # seconds since the service was checked
    for name in ("target", "slow"):
        slow = getattr(service.limit.law, name, 0.0)
        if slow >= attempt:
            yield (
                f"a limit with {name}={slow:g} s never finds an answer slow: attempts are cut after {attempt:g} s, and "
                "by then the endpoint has a line that long"
            )


def _longest_wait(retry: Retry) -> float | None:
    progress = Progress(None, (), {}, lambda: 1.0)
    longest = 0.0
    try:
        for number in range(1, min(retry.max_attempts, MOST_ATTEMPTS)):
            progress.attempt_number = number
            longest = max(longest, float(cast("Callable[[Progress], float]", retry.wait)(progress)))
    except Exception:  # noqa: BLE001 - a wait that reads more of a call than there is of none
        return None
    return longest


def _replicas(service: Service, resolution: Resolution | None) -> int | None:
    """Return how many addresses a fleet has; None for one origin, or where it is not known yet."""
    if resolution is not None:
        return len(resolution.replicas) if resolution.fleet else None
    return len(tuple(service.discovery.addresses)) if isinstance(service.discovery, Static) else None
