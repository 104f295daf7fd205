"""When every circuit is open: what is raised, what it says, and how it travels."""

import pickle
from typing import Any

import httpx
import pybreaker
import pytest

import resilience
from resilience.core.outcome import Sent
from resilience.http import errors
from resilience.lab import Fleet
from tests.http.support import Face, static


@pytest.fixture
def dead(fleet: Fleet) -> Fleet:
    """A fleet that is no more."""
    for server in fleet:
        server.kill()
    return fleet


async def refused(face: Face, fleet: Fleet) -> resilience.CircuitOpenError:
    url = f"http://web.internal:{fleet.port}/orders?token=s3cr3t"
    for _ in range(30):
        try:
            await face.post(url, content=b"hunter2")
        except resilience.CircuitOpenError as error:
            if not error.attempts:
                return error
        except httpx.ConnectError:
            continue
    message = "the circuits did not open"
    raise AssertionError(message)


async def test_the_failure_is_ours_and_httpxs_and_pybreakers(mode: str, dead: Fleet) -> None:
    async with Face(mode, services={"web.internal": static(*dead)}) as face:
        error = await refused(face, dead)
        assert face.in_flight() == 0
    for kind in (
        resilience.RejectedError,
        resilience.ResilienceError,
        httpx.ConnectError,
        httpx.TransportError,
        httpx.HTTPError,
        pybreaker.CircuitBreakerError,
    ):
        assert isinstance(error, kind)


async def test_it_names_service_and_retry_time(mode: str, dead: Fleet) -> None:
    async with Face(mode, services={"web.internal": static(*dead)}) as face:
        error = await refused(face, dead)
    assert error.service == f"web.internal:{dead.port}"
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 60
    assert error.endpoint in dead.addresses
    assert f"web.internal:{dead.port}" in str(error)
    assert f"next probe in {error.retry_after:.1f} s" in str(error)
    assert error.request.method == "POST"


async def test_it_pickles(mode: str, dead: Fleet) -> None:
    async with Face(mode, services={"web.internal": static(*dead)}) as face:
        error = await refused(face, dead)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), copy.service, copy.endpoint, copy.retry_after, copy.attempts) == (
        str(error),
        error.service,
        error.endpoint,
        error.retry_after,
        error.attempts,
    )


async def test_it_holds_no_secret(mode: str, dead: Fleet) -> None:
    async with Face(mode, services={"web.internal": static(*dead)}) as face:
        error = await refused(face, dead)
    for shown in (str(error), repr(error), repr(error.attempts), "".join(getattr(error, "__notes__", []))):
        assert "s3cr3t" not in shown
        assert "hunter2" not in shown


async def test_a_first_refusal_after_something_was_tried_is_the_original(mode: str, dead: Fleet) -> None:
    async with Face(mode, services={"web.internal": static(*dead)}) as face:
        with pytest.raises(httpx.ConnectError) as caught:
            await face.get(f"http://web.internal:{dead.port}/")
    assert not isinstance(caught.value, resilience.ResilienceError)
    assert len(caught.value.attempts) == 3


ERRORS: list[tuple[Any, type[Exception]]] = [
    (resilience.CircuitOpenError("c", service="s", endpoint="e", retry_after=1.5), httpx.ConnectError),
    (resilience.NoEndpointsError("n", service="s"), httpx.ConnectError),
    (resilience.OverloadedError("o", service="s", retry_after=2.0), httpx.PoolTimeout),
    (resilience.DeadlineExceededError("d", service="s", sent=Sent.MAYBE), httpx.ReadTimeout),
    (resilience.DeadlineExceededError("d", service="s", sent=Sent.NO), httpx.ConnectTimeout),
]


@pytest.mark.parametrize(("error", "kind"), ERRORS)
def test_every_error_has_an_httpx_twin_that_travels(error: Any, kind: type[Exception]) -> None:
    request = httpx.Request("GET", "http://web.internal/?token=s3cr3t")
    twin = errors.for_client(error, request)
    assert isinstance(twin, kind)
    assert isinstance(twin, type(error))
    assert isinstance(twin, httpx.TransportError)
    assert twin.request is request  # type: ignore[attr-defined]
    assert type(twin).__name__.endswith(type(error).__name__)
    copy = pickle.loads(pickle.dumps(twin))
    assert (type(copy), str(copy), copy.service, copy.retry_after) == (type(twin), str(error), "s", error.retry_after)
    assert errors.for_client(twin, request) is twin


def test_a_configuration_error_stays_what_it_is() -> None:
    error = resilience.ConfigurationError("a", 1, "2")
    assert errors.for_client(error, httpx.Request("GET", "http://web/")) is not None
    assert isinstance(errors.for_client(error, httpx.Request("GET", "http://web/")), ValueError)
