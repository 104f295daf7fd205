"""Six replicas replaced one after the other, each under a new address, while calls go on."""

from collections import Counter
from collections.abc import Iterator

import pytest

import resilience
from resilience.lab import Fleet, Report
from tests.http.support import CONTEXT, Face, settled
from tests.real.faults import Act, load, load_blocking
from tests.real.nameservers import Dnsmasq
from tests.real.place import Place

NAME = "web.internal"
RATE = 200.0
EVERY = 1.0


@pytest.fixture
def generations(place: Place) -> Iterator[tuple[Fleet, Fleet]]:
    """Six replicas, and six that will take their places under other addresses."""
    old, new = [f"10.77.1.{i}" for i in range(1, 7)], [f"10.77.2.{i}" for i in range(1, 7)]
    with place.addresses(*old, *new), Fleet(6, "10.77.1.{i}") as before:
        after = Fleet(6, "10.77.2.{i}", port=before.port)
        try:
            yield before, after
        finally:
            after.stop()


@pytest.mark.parametrize("grace", [0.0, 2.0], ids=["killed", "asked to stop"])
async def test_no_repeatable_call_fails_and_no_post_is_made_twice(
    mode: str, grace: float, generations: tuple[Fleet, Fleet], dnsmasq: Dnsmasq
) -> None:
    before, after = generations
    dnsmasq.set(NAME, before.hosts)

    def replace(number: int) -> None:
        after[number].start()
        dnsmasq.set(NAME, after.hosts[: number + 1] + before.hosts[number + 1 :])
        if grace:
            before[number].stop(grace)
        else:
            before[number].kill()

    acts: list[Act] = [(1.0 + EVERY * number, lambda number=number: replace(number)) for number in range(6)]
    service = resilience.Service(discovery=resilience.Dns(nameservers=[dnsmasq.address], min_ttl=1))
    posts: Counter[bool] = Counter()
    async with Face(mode, services={NAME: service}, verify=CONTEXT) as face:
        url = f"http://{NAME}:{before.port}/"

        def send(number: int) -> object:
            return face.client.request("GET" if number % 2 else "POST", url, headers={"x-request-id": str(number)})

        async def call(number: int) -> str:
            try:
                response = await settled(send(number))
            except Exception:
                posts[False] += number % 2 == 0
                if number % 2:
                    raise
                return "lost"
            posts[True] += number % 2 == 0
            assert response.status_code == 200, response.status_code  # type: ignore[attr-defined]
            return response.headers["x-server"]  # type: ignore[attr-defined, no-any-return]

        run = load_blocking if mode == "threads" else load
        report: Report = await run(call, acts, seconds=8.0, rate=RATE)
    print(report.errors(), report.shares(), posts, report.lag_p99)
    assert not report.failed, report.errors()
    made = Counter(seen.id for server in [*before, *after] for seen in server.requests if seen.method == "POST")
    assert max(made.values()) == 1
    assert posts[False] <= (6 if not grace else 0)
    assert report.between(7.0).shares().keys() - {"lost"} == set("abcdef")
