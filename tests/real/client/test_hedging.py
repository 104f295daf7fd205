"""One of two replicas takes half a second; a second send after 50 ms keeps every call short, within the budget.

The noise rule of ``test_static_fleet.py``: times are judged where the generator itself was in time.
"""

import pytest

import resilience
from resilience.lab import Fleet, Report, run_load, run_load_blocking
from tests.http.support import CONTEXT, MODES, static

RATE, SECONDS = 100.0, 5.0
"""More calls than the budget can pay second sends for: the slow replica, which loses again and again, is left alone."""
NOISE = 0.030


@pytest.mark.parametrize("mode", MODES)
async def test_no_call_waits_for_the_slow_replica(mode: str, fleet: Fleet) -> None:
    fleet[0].fault(delay=0.5)
    service = static(*fleet[:2], hedge=resilience.Hedge(after=0.05))
    url = f"http://web.internal:{fleet.port}/"
    report, sends, posts = await load(mode, {"web.internal": service}, url)
    calls = len(report.samples)
    assert report.errors() == {}
    assert sends <= 1.2 * calls + 30
    assert posts == 10, "what may not be repeated is sent once"
    longest = report.quantile(1.0)
    told = f"{calls} calls, {sends} sends, longest {longest * 1e3:.0f} ms; lag p99 {report.lag_p99 * 1e3:.1f} ms"
    print(f"{mode}: {told}")
    if report.lag_p99 <= NOISE:
        assert longest <= 0.150


async def load(mode: str, services: dict[str, resilience.Service], url: str) -> tuple[Report, int, int]:
    """Return the report, the attempts of all GETs, and of ten POSTs."""
    if mode == "threads":
        with resilience.Client(services=services, verify=CONTEXT) as client:
            report = run_load_blocking(lambda _number: str(client.get(url).status_code), rate=RATE, seconds=SECONDS)
            sends = next(iter(client.status().services.values())).counts["attempts"]
            for _ in range(10):
                client.post(url)
            return report, sends, next(iter(client.status().services.values())).counts["attempts"] - sends
    async with resilience.AsyncClient(services=services, verify=CONTEXT) as aclient:

        async def one(_number: int) -> str:
            return str((await aclient.get(url)).status_code)

        report = await run_load(one, rate=RATE, seconds=SECONDS)
        sends = next(iter(aclient.status().services.values())).counts["attempts"]
        for _ in range(10):
            await aclient.post(url)
        return report, sends, next(iter(aclient.status().services.values())).counts["attempts"] - sends
