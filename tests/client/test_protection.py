"""Throttle and rate limit of a service: they count attempts, refuse with nothing sent, and keep what they know."""

from dataclasses import replace

import httpx
import pytest

import resilience
from resilience.testing import After, ConnectionRefused, Hang, Script, virtual
from tests.http.support import MODES

A, B = "10.0.0.1:8080", "10.0.0.2:8080"
URL = "http://web.internal:8080/items"
NAME = "web.internal:8080"
TWO = resilience.Service(discovery=resilience.Static([A, B]), circuit=None)


def service_status(client):
    return client.status().services[NAME]


def tally(client, calls, **arguments):
    """Make so many calls; return how many were refused by a limit."""
    refused = 0
    for _ in range(calls):
        try:
            client.get(URL, **arguments)
        except resilience.OverloadedError:
            refused += 1
        except httpx.HTTPError:
            pass
    return refused


class TestThrottle:
    def test_it_sees_attempts_and_refuses_when_too_few_are_accepted(self):
        service = replace(TWO, throttle=resilience.Throttle())
        script = Script([], then=503)
        with virtual(), resilience.Client(transport=script, defaults=service) as client:
            refused = tally(client, 200)
            state = service_status(client)
            assert state.shed >= refused > 0
            assert 0.7 < state.throttled <= 0.8
            assert len(script.sent) == state.counts["attempts"] < 200

    def test_healthy_traffic_is_never_held_back(self):
        service = replace(TWO, throttle=resilience.Throttle(), retry=None)
        with virtual(), resilience.Client(transport=Script([], then=After(0.01, 404)), defaults=service) as client:
            assert tally(client, 300) == 0
            assert (service_status(client).throttled, service_status(client).shed) == (0.0, 0)

    def test_a_failure_is_handed_over_when_its_retry_is_refused(self):
        service = replace(TWO, throttle=resilience.Throttle(), budget=None)
        with virtual(), resilience.Client(transport=Script([], then=ConnectionRefused), defaults=service) as client:
            sends = set()
            for _ in range(300):
                with pytest.raises(httpx.TransportError) as caught:
                    client.get(URL)
                refused = isinstance(caught.value, resilience.OverloadedError)
                assert refused == (not caught.value.attempts)
                assert not refused or caught.value.service == NAME
                sends.add(len(caught.value.attempts))
            assert sends == {0, 1, 2, 3}, "without a throttle three each"

    def test_what_it_knows_outlives_an_update_and_is_its_services_own(self):
        service = replace(TWO, throttle=resilience.Throttle())
        with virtual(), resilience.Client(transport=Script([], then=503), defaults=service) as client:
            tally(client, 100)
            known = service_status(client).throttled
            client.update(defaults=replace(service, throttle=resilience.Throttle(k=2.5)))
            assert 0 < service_status(client).throttled <= known
            client.get("http://other.internal:8080/")
            assert client.status().services["other.internal:8080"].throttled < known
            assert service.throttle.acceptance.refusal(0.0) == 0.0, "a template learns nothing"
            client.update(defaults=TWO)
            assert service_status(client).throttled is None


class TestRateLimit:
    def test_retries_take_tokens_too(self):
        service = replace(TWO, rate_limit=resilience.RateLimit(1.0, burst=3))
        script = Script([503, 200], then=200)
        with virtual(), resilience.Client(transport=script, defaults=service) as client:
            assert client.get(URL).status_code == 200
            assert client.get(URL).status_code == 200
            with pytest.raises(resilience.OverloadedError) as caught:
                client.get(URL)
            assert isinstance(caught.value, httpx.PoolTimeout)
            assert (caught.value.service, caught.value.retry_after) == (NAME, pytest.approx(1.0))
            assert (len(script.sent), service_status(client).shed) == (3, 1)
            assert [endpoint.in_flight for endpoint in service_status(client).endpoints] == [0, 0]

    def test_an_attempt_waits_for_its_turn_without_a_slot(self):
        service = replace(TWO, rate_limit=resilience.RateLimit(1.0, burst=1, wait=5.0), max_in_flight=1)
        with virtual() as clock, resilience.Client(transport=Script([], then=200), defaults=service) as client:
            threads = [clock.start(client.get, URL) for _ in range(4)]
            clock.advance(0.5)
            assert [endpoint.in_flight for endpoint in service_status(client).endpoints] == [0, 0]
            assert [thread.result().status_code for thread in threads] == [200] * 4
            assert clock.elapsed == pytest.approx(3.0)

    def test_nobody_waits_beyond_the_deadline(self):
        service = replace(TWO, rate_limit=resilience.RateLimit(1.0, burst=1, wait=60.0), total_timeout=0.5)
        with virtual() as clock, resilience.Client(transport=Script([], then=200), defaults=service) as client:
            client.get(URL)
            with pytest.raises(resilience.OverloadedError):
                client.get(URL)
            assert clock.elapsed == 0.0

    def test_calls_that_are_not_retried_are_counted_as_well(self):
        service = replace(TWO, rate_limit=resilience.RateLimit(1.0, burst=1))
        with virtual(), resilience.Client(transport=Script([], then=200), defaults=service) as client:
            once = {"extensions": {"resilience": {"retry": False}}}
            assert tally(client, 5, **once) == 4

    def test_hedges_are_counted_as_well(self):
        service = replace(TWO, rate_limit=resilience.RateLimit(1.0, burst=2), hedge=resilience.Hedge(after=0.1))
        script = Script([Hang(), 200], then=200)
        with virtual(), resilience.Client(transport=script, defaults=service) as client:
            assert client.get(URL).status_code == 200
            with pytest.raises(resilience.OverloadedError):
                client.get(URL)

    def test_tokens_outlive_an_update_and_are_their_services_own(self):
        service = replace(TWO, rate_limit=resilience.RateLimit(1.0, burst=2))
        with virtual(), resilience.Client(transport=Script([], then=200), defaults=service) as client:
            client.get(URL)
            client.get(URL)
            client.update(defaults=replace(service, total_timeout=3.0))
            assert tally(client, 1) == 1
            assert client.get("http://other.internal:8080/").status_code == 200
            client.update(defaults=TWO)
            assert tally(client, 9) == 0

    def test_a_token_is_not_spent_on_what_the_throttle_refuses(self):
        service = replace(TWO, retry=None, rate_limit=resilience.RateLimit(1.0, burst=200))
        script = Script([], then=503)
        with (
            virtual(),
            resilience.Client(transport=script, defaults=replace(service, throttle=resilience.Throttle())) as client,
        ):
            tally(client, 400)
            assert len(script.sent) < 200
            client.update(defaults=service)
            tally(client, 400)
            assert len(script.sent) == 200


@pytest.mark.parametrize("backend", MODES[:2])
def test_tasks_have_them_too(backend):
    service = replace(TWO, rate_limit=resilience.RateLimit(1.0, burst=1), throttle=resilience.Throttle())

    async def calls():
        async with resilience.AsyncClient(transport=Script([], then=200), defaults=service) as client:
            await client.get(URL)
            with pytest.raises(resilience.OverloadedError):
                await client.get(URL)
            return service_status(client).shed

    with virtual(backend=backend) as clock:
        assert clock.run(calls, backend=backend) == 1


def test_describe_shows_them_in_their_order():
    service = replace(
        TWO,
        attempt_timeout=1.0,
        hedge=resilience.Hedge(after=0.1),
        limit=resilience.AdaptiveLimit(resilience.TargetLatency(0.25)),
        throttle=resilience.Throttle(),
        rate_limit=resilience.RateLimit(100.0),
    )
    with resilience.Client(defaults=service) as client:
        described = client.describe().services["defaults"]
    names = [policy.partition(":")[0] for policy in described.policies]
    order = ["retry", "hedge", "throttle", "rate limit", "limit"]
    assert [name for name in names if name in order] == order
    assert any("TargetLatency(target=0.25, least=3, most=200)) per endpoint" in policy for policy in described.policies)
    assert not [warning for warning in described.warnings if "limit" in warning]


@pytest.mark.parametrize(
    ("law", "warned"),
    [
        (resilience.TargetLatency(1.0), "target=1 s"),
        (resilience.Aimd(), "slow=5 s"),
        (resilience.Aimd(slow=0.3), None),
        (resilience.TargetLatency(0.25), None),
        (resilience.Gradient2(), None),
    ],
)
def test_a_limit_that_only_sees_time_outs_is_warned_about(law, warned):
    service = replace(TWO, attempt_timeout=1.0, limit=resilience.AdaptiveLimit(law))
    with resilience.Client(defaults=service) as client:
        (found,) = [w for w in client.describe().warnings if "limit" in w] or [None]
    assert (found is None) if warned is None else (warned in found)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("limit", 20),
        ("limit", resilience.TargetLatency(0.25)),
        ("limit", resilience.AdaptiveLimit),
        ("throttle", 2.0),
        ("throttle", resilience.AdaptiveLimit()),
        ("rate_limit", 100.0),
        ("rate_limit", resilience.RateLimit),
    ],
)
def test_bad_fields_are_named(field, value):
    with pytest.raises(resilience.ConfigurationError) as caught:
        resilience.Service(**{field: value})
    assert caught.value.argument == field
