"""What users of Envoy, linkerd, nginx and gRPC complain of, by issue: ten that bite hardest do not happen here.

The public client on virtual time, over a scripted network and scripted names; ejection by itself, since it is pure.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

import resilience
from resilience.core.outcome import BAD, GOOD
from resilience.health.ejection import Ejected, Ejection
from resilience.testing import After, ConnectionRefused, Hang, Script, ScriptedDns, virtual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resilience.testing.virtual import VirtualClock

URL = "http://web.internal:8080/items"
A, B, C, D, E = (f"10.0.0.{number}:8080" for number in range(1, 6))


def fleet(*addresses: str, **options: Any) -> resilience.Service:
    return resilience.Service(discovery=resilience.Static(addresses), **options)


def sent_to(script: Script, since: float = 0.0) -> Counter[str]:
    return Counter(sent.endpoint for sent in script.sent if sent.at >= since)


def called(
    clock: VirtualClock, script: Script, service: resilience.Service, times: int, *, every: float = 0.0
) -> list[httpx.Response | httpx.HTTPError]:
    """Call again and again, `every` so many seconds; return what came of it."""
    outcomes: list[httpx.Response | httpx.HTTPError] = []
    with resilience.Client(transport=script, defaults=service) as client:
        for _ in range(times):
            try:
                outcomes.append(client.get(URL))
            except httpx.HTTPError as error:
                outcomes.append(error)
            clock.advance(every)
    return outcomes


def statuses(outcomes: Sequence[httpx.Response | httpx.HTTPError]) -> Counter[object]:
    return Counter(getattr(outcome, "status_code", type(outcome)) for outcome in outcomes)


def test_ingress_nginx_9882_the_one_that_fails_fast_does_not_attract_the_calls() -> None:
    """kubernetes/ingress-nginx#9882: with EWMA a pod that answers errors at once looks like the fastest."""
    script = Script({A: After(0.001, 503), B: After(0.02, 200), C: After(0.02, 200)})
    service = fleet(A, B, C, balancer=resilience.PeakEwma(), retry=None, circuit=None)
    with virtual() as clock:
        called(clock, script, service, 300)
    assert sent_to(script)[A] <= 3, "without retries and circuits: the balancer by itself"


def test_envoy_2259_a_retry_goes_to_another_host() -> None:
    """envoyproxy/envoy#2259, istio/istio#26760: retries hit the host that has just failed."""
    script = Script({A: 503}, then=200)
    with virtual() as clock:
        outcomes = called(clock, script, fleet(A, B, C, circuit=None), 90)
    assert statuses(outcomes) == {200: 90}
    assert sent_to(script)[A] == 30, "its turns, and none of the retries"
    assert clock.slept == (), "and who goes elsewhere need not wait"


def test_envoy_gateway_5689_with_one_host_the_retry_goes_there_again() -> None:
    """envoyproxy/gateway#5689: excluding hosts that were tried leaves a service of one without retries."""
    script = Script([503, 503, 200])
    with virtual() as clock:
        assert statuses(called(clock, script, fleet(A), 1)) == {200: 1}
    assert len(clock.slept) == 2, "after a backoff"


@pytest.mark.parametrize("count", range(1, 12))
def test_envoy_26877_however_many_are_sick_enough_stay(count: int) -> None:
    """envoyproxy/envoy#3263, #26877, #27066, #17504, istio#20135: the cap lets a whole small cluster go."""
    for sick in range(count + 1):
        ejection: Ejection[int] = Ejection()
        ejection.update(range(count))
        out: set[int] = set()
        for sweep in range(6):
            for member, _ in itertools.product(range(count), range(40)):
                ejection.settle(member, BAD if member < sick else GOOD)
            changes = ejection.sweep(10.0 * sweep, lambda: 0.5)
            out.update(change.member for change in changes if isinstance(change, Ejected))
            out.difference_update(change.member for change in changes if not isinstance(change, Ejected))
            assert len(out) <= min(count // 2, count - 1)
            assert all(member < sick for member in out)
        if 0 < sick < count / 2:
            assert out, "and a cluster of three is not too small for the cap to let one go (Envoy's 10 % does nothing)"


def test_linkerd_11493_with_all_circuits_open_the_error_says_so_and_recovery_takes_a_moment() -> None:
    """linkerd/linkerd2#11493: all breakers open, and callers see nothing but 504s of a fail-fast."""
    well = False
    script = Script({address: lambda _: 200 if well else 503 for address in (A, B, C)})
    with virtual() as clock, resilience.Client(transport=script, defaults=fleet(A, B, C)) as client:
        error: Exception | None = None
        for _ in range(40):
            try:
                client.get(URL)
            except resilience.CircuitOpenError as raised:
                error = raised
        assert isinstance(error, httpx.ConnectError)
        assert isinstance(error, resilience.CircuitOpenError)
        assert error.service == "web.internal:8080"
        assert error.retry_after is not None
        assert 0 < error.retry_after <= 1.0
        (status,) = client.status().services.values()
        assert [endpoint.not_ready_because for endpoint in status.endpoints] == [("circuit",)] * 3
        well = True
        clock.advance(error.retry_after)
        assert client.get(URL).status_code == 200


def test_envoy_9927_a_nameserver_that_errs_takes_nothing_down() -> None:
    """envoyproxy/envoy#2691, #9927, #30653: an NXDOMAIN or a timeout empties the cluster."""
    answers = [
        [A, B],
        "nxdomain",
        "servfail",
        "timeout",
        [A, B],
        "nxdomain",
        "empty",
        "nxdomain",
        [A, B],
        *["refused"] * 50,
    ]
    script, names = Script([], then=200), ScriptedDns(answers)  # type: ignore[arg-type]
    with virtual() as clock:
        outcomes = called(clock, script, resilience.Service(discovery=names), 600, every=1.0)
    assert statuses(outcomes) == {200: 600}
    assert names.lookups > 15
    assert set(sent_to(script, since=clock.now() - 60.0)) == {A, B}


def test_grpc_12295_new_pods_get_calls_and_envoy_41771_those_that_are_gone_get_none() -> None:
    """grpc/grpc#12295, #30015, #20146: new pods get no traffic; envoyproxy/envoy#41771: removed ones never leave."""
    script, names = Script([], then=200), ScriptedDns({0: [A, B], 20: [B, C, D]}, ttl=600)
    service = resilience.Service(discovery=names)
    with virtual() as clock, resilience.Client(transport=script, defaults=service) as client:
        start = clock.now()
        for _ in range(200):
            client.get(URL)
            clock.advance(0.5)
        (status,) = client.status().services.values()
    assert [endpoint.address for endpoint in status.endpoints] == [B, C, D]
    late = sent_to(script, since=start + 20 + 30)
    assert set(late) == {B, C, D}, "30 s later at most, though Docker's nameserver says 600"
    assert max(late.values()) - min(late.values()) <= 1, "akka/akka-http#1226: and the shares are equal at once"


def test_grpc_30462_names_are_asked_for_until_the_outage_is_over() -> None:
    """grpc/grpc#30462: a Python client whose DNS was out never comes back; golang/go#23427: nor while it is busy."""
    with virtual() as clock:
        start = clock.now()

        def old(_: httpx.Request) -> object:
            return 200 if clock.now() < start + 300 else ConnectionRefused

        script = Script({A: old, B: 200})
        names = ScriptedDns({0: [A], 5: "timeout", 605: [B]})
        outcomes = called(clock, script, resilience.Service(discovery=names), 700, every=1.0)
    assert statuses(outcomes[:295]) == {200: 295}, "what is known is used while nobody can say better"
    assert statuses(outcomes[-25:]) == {200: 25}, "and at most a minute after nameservers answer, so do calls"
    assert names.lookups < 60, "without a storm in between"


@pytest.mark.parametrize("balancer", [resilience.RoundRobin, resilience.LeastRequest, resilience.PeakEwma])
def test_envoy_11050_a_newcomer_is_not_flooded_whoever_else_comes_and_goes(balancer: Any) -> None:
    """envoyproxy/envoy#11050, #26290, #29008, #28444: scaling up floods the new host; churn breaks slow start."""
    names = ScriptedDns({0: [A, B, C], 20: [A, B, C, D], 25: [A, B, D], 30: [A, B, C, D]}, ttl=1, min_ttl=1)
    script = Script([], then=After(0.4, 200))
    service = resilience.Service(discovery=names, balancer=balancer(), slow_start=30.0)

    async def main(clock: VirtualClock) -> float:
        start = clock.now()
        async with (
            resilience.AsyncClient(transport=script, defaults=service) as client,
            anyio.create_task_group() as group,
        ):
            for _ in range(1600):
                group.start_soon(client.get, URL)
                await anyio.sleep(0.05)
        return start

    with virtual() as clock:
        start = clock.run(functools.partial(main, clock))

    def share(since: float, until: float) -> float:
        sent = Counter(it.endpoint for it in script.sent if start + since <= it.at < start + until)
        return sent[D] / sum(sent.values())

    assert share(20, 25) <= 0.12, "a fair share is a quarter"
    assert share(60, 80) == pytest.approx(0.25, abs=0.07), "and in the end it has one"


@pytest.mark.parametrize("balancer", [resilience.RoundRobin, resilience.LeastRequest, resilience.PeakEwma])
def test_calico_7983_a_black_hole_costs_a_few_attempts_and_no_call(balancer: Any) -> None:
    """projectcalico/calico#7983, kubernetes#124290, dfinity/ic#10455: dead peers swallow calls for 15 minutes."""
    others = [f"10.0.1.{number}:8080" for number in range(9)]
    script = Script({A: Hang()}, then=After(0.02, 200))
    service = fleet(A, *others, balancer=balancer(), attempt_timeout=0.3, total_timeout=1.0)
    with virtual() as clock:
        outcomes = called(clock, script, service, 900)
        seconds = clock.elapsed
    assert statuses(outcomes) == {200: 900}
    assert sent_to(script)[A] <= 5 + seconds / 2, "what opens its circuit, and then a probe now and then"


def test_envoy_24937_retries_do_not_multiply_the_load_of_a_service_that_is_down() -> None:
    """envoyproxy/envoy#24937, apache/opendal#7376, gateway-api#3488: ten thousand clients retry a dead backend."""
    script = Script([], then=503)
    service = fleet(A, B, C, circuit=None, retry=resilience.Retry(4))
    with virtual() as clock:
        called(clock, script, service, 1000, every=0.01)
        seconds = clock.elapsed
    assert len(script.sent) <= 1.2 * 1000 + 3.0 * (seconds + 10.0), "a fifth more, and the reserve of 3 a second"
