"""One asynchronous client, several event loops one after the other: each dials for itself."""

import asyncio

import anyio
import pytest

import resilience
from resilience.lab import Server
from tests.http.support import CONTEXT, collect

pytestmark = [
    # The sockets of a loop that has ended: nobody can close them properly any more.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.parametrize("second", ["asyncio", "trio"])
def test_a_loop_that_has_ended_leaves_no_connection_behind_for_the_next(server: Server, second: str) -> None:
    client = resilience.AsyncClient(verify=CONTEXT)

    async def ask() -> list[int]:
        statuses: list[int] = []

        async def one() -> None:
            statuses.append((await client.get(f"{server.url}/slow/0.01")).status_code)

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(one)
        return statuses

    assert asyncio.run(ask()) == [200] * 4
    for _ in range(3):
        assert anyio.run(ask, backend=second) == [200] * 4
    (service,) = client.status().services.values()
    assert (service.endpoints[0].circuit, service.endpoints[0].in_flight) == ("closed", 0)
    asyncio.run(client.aclose())
    collect()
