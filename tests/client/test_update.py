"""Services are described anew while a client goes on calling: state stays, mistakes change nothing."""

import contextlib
import threading
from dataclasses import replace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import resilience
from resilience.core.endpoint import Address
from resilience.testing import After, ConnectionRefused, Hang, Script, ScriptedDns, assert_attempts, virtual

A, B, C = "10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"
URL = "http://web.internal:8080/items"
NAME = "web.internal:8080"
TWO = resilience.Service(discovery=resilience.Static([A, B]))
ONE = resilience.Service(discovery=resilience.Static([A]), retry=None)


def endpoints(client):
    return {endpoint.address: endpoint for endpoint in client.status().services[NAME].endpoints}


def upstream(client):
    return next(iter(client._main._upstreams.by_origin.values()))


class TestWhatStays:
    def test_circuits(self):
        script = Script({A: ConnectionRefused, B: 200})
        with virtual(), resilience.Client(transport=script, defaults=TWO) as client:
            while endpoints(client)[A].circuit != "open" if script.sent else True:
                client.get(URL)
            client.update(defaults=replace(TWO, total_timeout=3.0))
            assert endpoints(client)[A].circuit == "open"

    def test_an_open_circuit_with_another_window_stays_open_as_long(self):
        options = {"consecutive_failures": 2, "open_for": 40}
        service = replace(TWO, circuit=resilience.CircuitBreaker(**options))
        script = Script({A: ConnectionRefused, B: 200})
        with virtual() as clock, resilience.Client(transport=script, defaults=service) as client:
            for _ in range(4):
                client.get(URL)
            client.update(defaults=replace(TWO, circuit=resilience.CircuitBreaker(window=20, **options)))
            clock.advance(39)
            assert endpoints(client)[A].circuit == "open"
            clock.advance(1)
            assert endpoints(client)[A].ready

    def test_so_do_all_circuits_of_a_service(self):
        options = {"consecutive_failures": 2, "open_for": 40}
        service = replace(TWO, circuit=resilience.CircuitBreaker(**options))
        script = Script([], then=ConnectionRefused)
        with virtual() as clock, resilience.Client(transport=script, defaults=service) as client:
            for _ in range(2):
                with pytest.raises(httpx.ConnectError):
                    client.get(URL)
            client.update(defaults=replace(TWO, circuit=resilience.CircuitBreaker(window=20, **options)))
            clock.advance(39)
            sent = len(script.sent)
            with pytest.raises(resilience.CircuitOpenError):
                client.get(URL)
            assert len(script.sent) == sent

    def test_the_options_of_a_circuit_change(self):
        with virtual(), resilience.Client(transport=Script([], then=ConnectionRefused), defaults=ONE) as client:
            with pytest.raises(httpx.ConnectError):
                client.get(URL)
            client.update(defaults=replace(ONE, circuit=resilience.CircuitBreaker(consecutive_failures=2)))
            with pytest.raises(httpx.ConnectError):
                client.get(URL)
            with pytest.raises(resilience.CircuitOpenError):
                client.get(URL)

    def test_circuits_come_and_go(self):
        with virtual(), resilience.Client(transport=Script([], then=200), defaults=ONE) as client:
            client.get(URL)
            client.update(defaults=replace(ONE, circuit=None))
            assert endpoints(client)[A].circuit is None
            client.get(URL)
            client.update(defaults=ONE)
            assert endpoints(client)[A].circuit == "closed"
            client.get(URL)

    def test_latencies_counts_and_budgets(self):
        script = Script([After(0.5, 503), After(0.5, 200)], then=After(0.5, 200))
        with virtual(), resilience.Client(transport=script, defaults=TWO) as client:
            client.get(URL)
            before = client.status().services[NAME]
            client.update(defaults=replace(TWO, retry=resilience.Retry(5)))
            after = client.status().services[NAME]
            assert [it.latency for it in after.endpoints] == [it.latency for it in before.endpoints] != [None, None]
            assert (after.counts, after.budget) == (before.counts, before.budget)

    @pytest.mark.parametrize(
        ("budget", "left"),
        [
            (resilience.RetryBudget(0.2, min_per_second=0.5), 3.2 + 0.2),
            (resilience.RetryBudget(0.2, min_per_second=1.0, ttl=5.0), 3.0),
            (resilience.RetryBudget(0.2, min_per_second=0.5, ttl=5.0), 0.5),
        ],
    )
    def test_what_was_spent_stays_spent_at_other_rates(self, budget, left):
        service = replace(TWO, budget=resilience.RetryBudget(0.2, min_per_second=0.2))
        script = Script([503, 200] * 2, then=200)
        with virtual(), resilience.Client(transport=script, defaults=service) as client:
            client.get(URL)
            client.get(URL)
            client.update(defaults=replace(service, budget=budget))
            assert client.status().services[NAME].budget == pytest.approx(left)

    def test_who_is_in_flight_counts_against_the_new_limit(self):
        script = Script([After(5.0, 200)], then=200)
        with virtual() as clock, resilience.Client(transport=script, defaults=ONE) as client:
            slow = clock.start(client.get, URL)
            clock.advance(1)
            client.update(defaults=replace(ONE, max_in_flight=1))
            assert endpoints(client)[A].not_ready_because == ("full",)
            assert client.get(URL, timeout=10).status_code == 200
            assert clock.elapsed == 5.0
            assert slow.result().status_code == 200
            assert endpoints(client)[A].in_flight == 0

    def test_who_waits_comes_in_when_there_is_more_room(self):
        service = replace(ONE, max_in_flight=1)
        script = Script([After(5.0, 200)], then=200)
        with virtual() as clock, resilience.Client(transport=script, defaults=service, timeout=10) as client:
            threads = [clock.start(client.get, URL) for _ in range(2)]
            clock.advance(1)
            assert not threads[1].done
            client.update(defaults=ONE)
            assert threads[1].result().status_code == 200
            assert clock.elapsed == 1.0
            threads[0].result()

    def test_the_place_in_the_balancers_rotation(self):
        with virtual(), resilience.Client(transport=Script([], then=200), defaults=TWO) as client:
            seen = []
            for _ in range(6):
                seen.append(client.get(URL).extensions["resilience"].attempts[0].endpoint)
                client.update(defaults=replace(TWO, total_timeout=3.0))
            assert seen in ([A, B] * 3, [B, A] * 3)

    def test_connections(self):
        from resilience.lab import Fleet

        with Fleet(1) as replicas:
            service = resilience.Service(discovery=resilience.Static(replicas.addresses))
            with resilience.Client(defaults=service) as client:
                client.get("http://web.internal/")
                client.update(defaults=replace(service, total_timeout=3.0))
                client.get("http://web.internal/")
                assert replicas[0].connections == 1

    def test_answers_of_nameservers(self):
        names = ScriptedDns([["10.0.0.1", "10.0.0.2"], ["10.0.0.1"]])
        service = resilience.Service(discovery=names)
        with virtual() as clock, resilience.Client(transport=Script([], then=200), defaults=service) as client:
            client.get(URL)
            client.update(defaults=replace(service, total_timeout=3.0))
            client.get(URL)
            assert names.lookups == 1
            clock.advance(6)  # and they go on being kept fresh
            client.get(URL)
            assert list(endpoints(client)) == [A]


class TestWhatChanges:
    def test_policies(self):
        with virtual(), resilience.Client(transport=Script([], then=503), defaults=ONE) as client:
            assert_attempts(client.get(URL), [503])
            client.update(defaults=replace(TWO, retry=resilience.Retry(2)))
            assert_attempts(client.get(URL), [503, 503])
            client.update(services={"web.internal": replace(ONE, total_timeout=9)}, defaults=TWO)
            assert_attempts(client.get(URL), [503])
            client.update(services={})
            assert_attempts(client.get(URL), [503, 503, 503])

    def test_addresses(self):
        with virtual(), resilience.Client(transport=Script([], then=200), defaults=TWO) as client:
            client.get(URL)
            known = {endpoint.address: endpoint for endpoint in upstream(client).endpoints}
            client.update(defaults=resilience.Service(discovery=resilience.Static([B, C])))
            assert list(endpoints(client)) == [B, C]
            now = {endpoint.address: endpoint for endpoint in upstream(client).endpoints}
            assert now[Address("10.0.0.2", 8080)] is known[Address("10.0.0.2", 8080)]
            assert known[Address("10.0.0.1", 8080)].draining
            assert {client.get(URL).extensions["resilience"].attempts[0].endpoint for _ in range(4)} == {B, C}

    def test_from_a_list_to_names_and_back(self):
        names = ScriptedDns([["10.0.0.2", "10.0.0.3"]])
        with virtual(), resilience.Client(transport=Script([], then=200), defaults=TWO) as client:
            client.get(URL)
            client.update(defaults=resilience.Service(discovery=names))
            client.get(URL)
            assert sorted(endpoints(client)) == [B, C]
            client.update(defaults=TWO)
            assert sorted(endpoints(client)) == [A, B]
            assert client.get(URL).status_code == 200

    def test_calls_under_way_end_under_the_old_description(self):
        script = Script([After(2.0, 503), 503, 200])
        with virtual() as clock, resilience.Client(transport=script, defaults=TWO) as client:
            under_way = clock.start(client.get, URL)
            clock.advance(1)
            client.update(defaults=replace(TWO, retry=None))
            assert_attempts(under_way.result(), [503, 503, 200])

    @pytest.mark.parametrize("options", [{"balancer": resilience.LeastRequest()}, {"slow_start": 1.0}, {}])
    def test_calls_under_way_go_on_at_the_new_addresses_when_all_the_old_ones_have_left(self, options):
        service = replace(ONE, retry=resilience.Retry(2), max_in_flight=1)
        script = Script({A: After(2.0, 503), C: 200, B: 200})
        with virtual() as clock, resilience.Client(transport=script, defaults=service, timeout=10) as client:
            under_way, in_line = (clock.start(client.get, URL) for _ in range(2))
            clock.advance(1)
            client.update(defaults=replace(service, discovery=resilience.Static([B]), **options))
            client.update(defaults=replace(service, discovery=resilience.Static([C])))
            assert_attempts(under_way.result(), [(A, 503), (C, 200)])
            assert_attempts(in_line.result(), [(C, 200)])

    def test_nobody_leaves_before_others_are_there(self):
        seen = []

        class Watched(resilience.RoundRobin):
            def update(self, new):
                seen.append(any(endpoint.draining for endpoint in known))
                super().update(new)

            def fresh(self, **_):
                return Watched()

        known = []
        service = replace(TWO, balancer=Watched())
        with virtual(), resilience.Client(transport=Script([], then=200), defaults=service) as client:
            client.get(URL)
            known.extend(upstream(client).endpoints)
            client.update(defaults=replace(service, discovery=resilience.Static([C])))
            assert [endpoint.draining for endpoint in known] == [True, True]
        assert set(seen) == {False}

    def test_a_balancer_out_of_force_that_raises_is_nobodys_trouble(self):
        class Once(resilience.RoundRobin):
            def update(self, new):
                if {endpoint.address.host for endpoint in new} == {"10.0.0.3"}:
                    raise RuntimeError("never heard of it")
                super().update(new)

            def fresh(self, **_):
                return Once()

        service = replace(TWO, balancer=Once())
        script = Script({A: After(2.0, 503), B: After(2.0, 503), C: 200})
        with virtual() as clock, resilience.Client(transport=script, defaults=service) as client:
            under_way = clock.start(client.get, URL)
            clock.advance(1)
            client.update(defaults=resilience.Service(discovery=resilience.Static([C])))
            assert client.get(URL).status_code == 200
            assert_attempts(under_way.result(), [503, (C, 200)])

    def test_origins_that_were_not_met_yet(self):
        with virtual(), resilience.Client(transport=Script([], then=503), defaults=TWO) as client:
            client.update(services={"other.internal": ONE})
            assert_attempts(client.get("http://other.internal"), [(A, 503)])

    async def test_tasks_have_it_too(self):
        async with resilience.AsyncClient(transport=Script([], then=503), defaults=ONE) as client:
            assert_attempts(await client.get(URL), [503])
            client.update(defaults=replace(TWO, retry=resilience.Retry(2)))
            assert_attempts(await client.get(URL), [503, 503])

    def test_transports_have_it_too(self):
        transport = resilience.Transport(transport=Script([], then=503), defaults=ONE)
        with httpx.Client(transport=transport) as client:
            assert_attempts(client.get(URL), [503])
            transport.update(defaults=replace(TWO, retry=resilience.Retry(2)))
            assert_attempts(client.get(URL), [503, 503])


class Broken(resilience.RoundRobin):
    def fresh(self, **_):
        raise RuntimeError("never again")


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"defaults": "fast"}, "defaults"),
        ({"services": 5}, "services"),
        ({"services": {"web.internal": "fast"}}, "services['web.internal']"),
        ({"services": {"web/internal": ONE}}, "services"),
        ({"services": {"web.internal": ONE, "other": None}}, "services['other']"),
        ({"services": {"web.internal": ONE}, "defaults": 5}, "defaults"),
        ({"defaults": resilience.Service(balancer=Broken())}, f"services['{NAME}']"),
    ],
)
def test_a_mistake_changes_nothing(arguments, argument):
    with virtual(), resilience.Client(transport=Script([], then=503), defaults=TWO) as client:
        client.get(URL)
        before = client.status(), client.describe(), upstream(client)
        with pytest.raises(resilience.ConfigurationError) as caught:
            client.update(**arguments)
        assert caught.value.argument == argument
        assert (client.status(), client.describe(), upstream(client)) == before
        assert_attempts(client.get(URL), [503, 503, 503])


class Nowhere:
    """A resolver that knows of nothing."""

    async def resolve(self, target, /, *, deadline):
        raise AssertionError("it is refused before it is asked")

    def immediate(self, target, /):
        raise LookupError(target.host)


def test_a_mistake_for_one_of_several_transports_changes_nothing_at_any():
    other = resilience.Transport(transport=Script([], then=200), defaults=ONE)
    with (
        virtual(),
        resilience.Client(transport=Script([], then=503), defaults=TWO, mounts={"http://other": other}) as client,
    ):
        client.get(URL)
        client.get("http://other.internal")
        client.get("http://other")
        before = client.status(), client.describe()
        with pytest.raises(resilience.ConfigurationError, match="LookupError: other") as caught:
            client.update(services={"web.internal": ONE, "other": resilience.Service(discovery=Nowhere())})
        assert caught.value.argument == "services['other:80']"
        assert (client.status(), client.describe()) == before
        assert_attempts(client.get(URL), [503, 503, 503])
        client.update(services={"web.internal": ONE, "other": TWO})
        assert_attempts(client.get(URL), [503])


@pytest.mark.parametrize("discovery", [TWO.discovery, resilience.Static([B, C])])
def test_a_balancer_that_cannot_balance_these_endpoints_changes_nothing(discovery):
    class Few(resilience.RoundRobin):
        def update(self, endpoints):
            if len(endpoints) > 1:
                raise RuntimeError("too many")

        def fresh(self, **_):
            return Few()

    service = resilience.Service(discovery=discovery, balancer=Few())
    with virtual(), resilience.Client(transport=Script([], then=503), defaults=TWO) as client:
        client.get("http://first.internal")
        client.get(URL)
        before = client.status(), client.describe()
        with pytest.raises(resilience.ConfigurationError, match="too many") as caught:
            client.update(services={"web.internal": service}, defaults=ONE)
        assert caught.value.argument == f"services['{NAME}']"
        assert (client.status(), client.describe()) == before


def test_what_copies_have_to_spend_is_not_changed_by_an_update_that_is_refused():
    def mirror(rate):
        budget = resilience.RetryBudget(0.0, min_per_second=rate, ttl=1.0)
        return resilience.Route(to="shadow.internal", mirror=True, budget=budget)

    script = Script([], then=200)
    with virtual() as clock, resilience.Client(transport=script, defaults=ONE, routes=[mirror(1.0)]) as client:
        client.get(URL)
        with pytest.raises(resilience.ConfigurationError):
            client.update(defaults="fast", routes=[mirror(50.0)])
        for _ in range(5):
            client.get(URL)
        clock.advance(0.5)
        assert len(script.sent) == 6 + 1


def test_nothing_given_changes_nothing():
    with virtual(), resilience.Client(transport=Script([], then=200), defaults=TWO) as client:
        client.get(URL)
        before = upstream(client)
        client.update()
        assert upstream(client) is before


def test_updates_in_the_midst_of_threads_lose_nothing():
    services = [TWO, ONE, replace(TWO, max_in_flight=3), replace(TWO, circuit=None, budget=None)]
    with resilience.Client(transport=Script([], then=200), defaults=TWO) as client:
        client.get(URL)
        statuses, over = [], threading.Event()

        def call():
            while not over.is_set():
                statuses.append(client.get(URL).status_code)

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(60):
            client.update(defaults=services[number % len(services)])
        over.set()
        for thread in threads:
            thread.join()
        assert set(statuses) <= {200}
        assert client.status().services[NAME].counts["calls"] == len(statuses) + 1
        assert {endpoint.in_flight for endpoint in endpoints(client).values()} == {0}


SERVICE = st.builds(
    lambda discovery, **options: resilience.Service(discovery=discovery, **options),
    discovery=st.sampled_from([resilience.Static([A]), resilience.Static([A, B]), resilience.Static([C, B])]),
    retry=st.sampled_from([None, resilience.Retry(2), resilience.Retry(4, wait=1.0)]),
    budget=st.sampled_from([None, resilience.RetryBudget(), resilience.RetryBudget(0.5, ttl=3.0)]),
    circuit=st.sampled_from([None, {}, {"window": 5.0}, {"slow_after": 1.0}]).map(
        lambda options: None if options is None else resilience.CircuitBreaker(**options)
    ),
    max_in_flight=st.sampled_from([None, 1, 100]),
    hedge=st.sampled_from([None, resilience.Hedge(after=resilience.quantile(0.9, ceiling=1.0))]),
    ejection=st.sampled_from([None, resilience.OutlierEjection()]),
    slow_start=st.sampled_from([None, 10.0]),
)
STEP = st.sampled_from([200, 503, ConnectionRefused, Hang(), After(0.5, 200)])


@given(story=st.lists(st.tuples(SERVICE, STEP), min_size=1, max_size=8))
def test_whatever_is_changed_calls_go_on_and_nothing_is_left_taken(story):
    script = Script([step for _, step in story], then=200)
    with virtual() as clock, resilience.Client(transport=script, defaults=story[0][0]) as client:
        for service, _ in story:
            client.update(defaults=service)
            with contextlib.suppress(httpx.HTTPError):
                client.get(URL)
        clock.advance(60)  # threads that were left behind
        status = client.status().services[NAME]
        assert {endpoint.in_flight for endpoint in status.endpoints} == {0}
        assert status.counts["calls"] == len(story)
        assert status.counts["waiting"] == 0
