"""Adaptive limits per endpoint: a server gets what it can take, the rest is refused at once, nothing is shed idly."""

import contextlib
import random
from collections import Counter
from dataclasses import replace

import anyio
import httpx
import pytest

import resilience
from resilience.lab import Fleet
from resilience.testing import After, Answer, ConnectionRefused, Hang, Script, virtual
from tests.client.test_cancelling import assert_clean, others
from tests.http.support import CONTEXT, MODES, static

A, B = "10.0.0.1:8080", "10.0.0.2:8080"
URL = "http://web.internal:8080/items"
NAME = "web.internal:8080"
TARGET = 0.25
LIMIT = resilience.AdaptiveLimit(resilience.TargetLatency(TARGET))
TWO = resilience.Service(
    discovery=resilience.Static([A, B]), attempt_timeout=1.0, total_timeout=2.0, balancer=resilience.LeastRequest()
)
ONE = replace(TWO, discovery=resilience.Static([A]), retry=None, limit=LIMIT)
LATE = After(0.4, 200)


def service_status(client):
    return client.status().services[NAME]


def limits(client):
    return [endpoint.limit for endpoint in service_status(client).endpoints]


class Worker:
    """Replicas with one worker each: first come, first served, also what its caller has given up meanwhile."""

    def __init__(self, clock, work):
        self.clock, self.work = clock, work
        self.free = Counter()
        self.script = Script({A: lambda request: self.step(A), B: lambda request: self.step(B)})

    def step(self, endpoint):
        now = self.clock()
        self.free[endpoint] = max(now, self.free[endpoint]) + self.work
        return After(self.free[endpoint] - now, 200)


async def offer(client, worker, rate, phases):
    """Call at random instants, with so much work per call for so long; return what was in time, phase by phase."""
    draw, good = random.Random(7), [0] * len(phases)

    async def one(phase):
        began = worker.clock()
        try:
            await client.get(URL)
        except httpx.TransportError:
            return
        good[phase] += worker.clock() - began <= 2 * TARGET

    async with anyio.create_task_group() as group:
        for phase, (worker.work, seconds) in enumerate(phases):
            until = worker.clock() + seconds
            while worker.clock() < until:
                group.start_soon(one, phase)
                await anyio.sleep(draw.expovariate(rate))
    return good


@pytest.mark.parametrize("backend", MODES[:2])
def test_with_half_its_capacity_gone_a_service_still_does_what_it_can(backend):
    async def goodput(service):
        worker = Worker(anyio.current_time, 0.03)
        async with resilience.AsyncClient(transport=worker.script, defaults=service) as client:
            # 60 a second where 67 can be served, then 33, then 67 again.
            return await offer(client, worker, 60.0, [(0.03, 3.0), (0.06, 5.0), (0.03, 1.0), (0.03, 3.0)])

    with virtual(backend=backend) as clock:
        healthy, halved, _, after = clock.run(goodput, replace(TWO, limit=LIMIT), backend=backend)
        alone = clock.run(goodput, TWO, backend=backend)
    assert healthy == alone[0], "nothing is shed that would have been served"
    assert halved >= 0.9 * 5.0 * 2 / 0.06
    assert after >= 0.95 * 3.0 * 60.0
    assert (alone[1], alone[3]) < (halved // 2, after // 2), "this is what it is for"


def slowed(clock, client, *, calls=8):
    """Have A answer late until its limit has come down."""
    threads = []
    for _ in range(calls):
        threads.append(clock.start(client.get, URL))
        clock.advance(0.05)
    for thread in threads:
        thread.result()


class TestOneEndpoint:
    def test_nobody_queues_at_its_limit_and_nothing_is_sent(self):
        script = Script([], then=LATE)
        with virtual() as clock, resilience.Client(transport=script, defaults=ONE) as client:
            slowed(clock, client)
            (limit,) = limits(client)
            assert 3 <= limit <= 8
            threads = [clock.start(client.get, URL) for _ in range(int(limit))]
            clock.advance(0.01)
            sent, began = len(script.sent), clock.elapsed
            with pytest.raises(resilience.OverloadedError, match=f"can take no more than {limit} at once") as caught:
                client.get(URL)
            assert isinstance(caught.value, httpx.PoolTimeout)
            assert (caught.value.service, clock.elapsed, len(script.sent)) == (NAME, began, sent)
            (endpoint,) = service_status(client).endpoints
            assert endpoint.not_ready_because == ("full",)
            assert endpoint.circuit == "closed"
            assert service_status(client).shed == 1
            for thread in threads:
                thread.result()
            assert service_status(client).endpoints[0].in_flight == 0

    def test_without_congestion_the_line_is_what_it_was(self):
        script = Script([], then=After(0.1, 200))
        service = replace(ONE, max_in_flight=2)
        with virtual() as clock, resilience.Client(transport=script, defaults=service) as client:
            threads = [clock.start(client.get, URL) for _ in range(8)]
            assert [thread.result().status_code for thread in threads] == [200] * 8
            assert clock.elapsed == pytest.approx(0.4)
            assert (limits(client), service_status(client).shed) == ([2], 0)

    def test_who_stands_in_line_is_turned_away_when_the_limit_falls(self):
        script = Script([], then=LATE)
        service = replace(ONE, max_in_flight=10)
        with virtual() as clock, resilience.Client(transport=script, defaults=service) as client:
            threads = []
            for _ in range(30):
                threads.append(clock.start(client.get, URL))
                clock.advance(0.03)
            outcomes = Counter()
            for thread in threads:
                try:
                    outcomes[thread.result().status_code] += 1
                except resilience.OverloadedError:
                    outcomes["shed"] += 1
            assert outcomes["shed"] == service_status(client).shed > 0
            assert service_status(client).counts["waiting"] == 0
            assert service_status(client).endpoints[0].in_flight == 0

    @pytest.mark.parametrize("step", [500, 404, Answer(content=b"x")])
    def test_quick_answers_speak_well_of_it_whatever_they_say(self, step):
        with virtual() as clock, resilience.Client(transport=Script([], then=After(0.2, step)), defaults=ONE) as client:
            slowed(clock, client, calls=9)
            assert limits(client) == [100]

    @pytest.mark.parametrize("step", [After(0.2, 503), After(0.2, 429), After(0.2, ConnectionRefused), Hang()])
    def test_refusals_and_what_never_answers_speak_against_it(self, step):
        service = replace(ONE, circuit=None, ejection=None)
        with virtual() as clock, resilience.Client(transport=Script([], then=step), defaults=service) as client:
            threads = []
            for _ in range(12):
                threads.append(clock.start(client.get, URL))
                clock.advance(0.03)
            for thread in threads:
                try:
                    thread.result()
                except httpx.TransportError:
                    continue
            assert limits(client)[0] < 12

    def test_some_that_hang_among_others_that_answer_take_nothing_from_them(self):
        def step(request):
            return Hang() if request.url.path == "/reports" else After(0.01, 200)

        with virtual() as clock, resilience.Client(transport=Script([], then=step), defaults=ONE) as client:
            hung = []
            for number in range(240):
                if number % 3 == 0 and number < 120:
                    hung.append(clock.start(client.post, URL.replace("items", "reports")))
                assert client.get(URL).status_code == 200
                clock.advance(0.01)
            assert all(thread.done for thread in hung)
            for thread in hung:
                with pytest.raises(httpx.ReadTimeout):
                    thread.result()
            assert (limits(client), service_status(client).shed) == ([100], 0)


class TestSeveral:
    def test_only_the_slow_one_is_limited_and_nobody_is_turned_away(self):
        script = Script({A: LATE, B: After(0.01, 200)})
        service = replace(TWO, limit=LIMIT, balancer=resilience.RoundRobin())
        with virtual() as clock, resilience.Client(transport=script, defaults=service) as client:
            threads = []
            for _ in range(60):
                threads.append(clock.start(client.get, URL))
                clock.advance(0.02)
            assert {thread.result().status_code for thread in threads} == {200}
            slow, quick = limits(client)
            assert (slow < 20, quick, service_status(client).shed) == (True, 100, 0)

    def test_a_failure_is_handed_over_when_nobody_can_take_the_retry(self):
        law = resilience.AdaptiveLimit(resilience.TargetLatency(TARGET, least=1, most=1))
        script = Script({A: 503, B: Hang()})
        service = replace(TWO, limit=law, balancer=resilience.RoundRobin())
        with virtual() as clock, resilience.Client(transport=script, defaults=service) as client:
            hung = clock.start(client.get, URL.replace("items", "b"))
            clock.advance(0.01)
            if not any(sent.endpoint == B for sent in script.sent):  # it began with A, and has gone on to B
                raise AssertionError
            balance = service_status(client).budget
            response = client.post(URL, headers={"idempotency-key": "k"})
            assert response.status_code == 503
            assert response.extensions["resilience"].stopped == "rejected: OverloadedError"
            assert service_status(client).budget == pytest.approx(balance, abs=0.3)
            with pytest.raises(httpx.HTTPError):
                hung.result().raise_for_status()

    def test_a_hedge_that_finds_no_room_costs_the_call_nothing(self):
        law = resilience.AdaptiveLimit(resilience.TargetLatency(TARGET, least=1, most=1))
        script = Script({A: After(0.1, 200), B: After(0.1, 200)})
        service = replace(TWO, limit=law, hedge=resilience.Hedge(after=0.02))
        with virtual() as clock, resilience.Client(transport=script, defaults=service) as client:
            threads = [clock.start(client.get, URL) for _ in range(2)]
            assert [thread.result().status_code for thread in threads] == [200, 200]

    def test_services_have_limits_of_their_own(self):
        script = Script([], then=LATE)
        with virtual() as clock, resilience.Client(transport=script, defaults=ONE) as client:
            slowed(clock, client)
            client.get("http://other.internal:8080/")
            assert client.status().services["other.internal:8080"].endpoints[0].limit == 100
            assert ONE.limit.inside.limit == 200, "a template learns nothing"


class TestUpdate:
    def test_what_was_learnt_stays(self):
        script = Script([], then=LATE)
        with virtual() as clock, resilience.Client(transport=script, defaults=ONE) as client:
            slowed(clock, client)
            (limit,) = limits(client)
            again = resilience.AdaptiveLimit(resilience.TargetLatency(TARGET))
            client.update(defaults=replace(ONE, limit=again, total_timeout=3.0))
            assert limits(client) == [limit]
            client.update(defaults=replace(ONE, max_in_flight=2))
            assert limits(client) == [2]
            client.update(defaults=replace(ONE, limit=resilience.AdaptiveLimit(resilience.TargetLatency(TARGET, 50))))
            assert limits(client) == [50]
            client.update(defaults=replace(ONE, limit=None))
            assert limits(client) == [100]
            client.update(defaults=ONE)
            assert limits(client) == [100]

    def test_calls_under_way_end_under_either_description(self):
        script = Script([], then=LATE)
        for before, after in ((ONE, replace(ONE, limit=None)), (replace(ONE, limit=None), ONE), (ONE, ONE)):
            with virtual() as clock, resilience.Client(transport=script, defaults=before) as client:
                threads = [clock.start(client.get, URL) for _ in range(9)]
                clock.advance(0.1)
                client.update(defaults=after)
                assert {thread.result().status_code for thread in threads} == {200}
                (endpoint,) = service_status(client).endpoints
                assert (endpoint.in_flight, endpoint.limit) == (0, 100)


def test_a_limit_that_has_grown_to_the_ceiling_binds_with_its_first_step_back():
    service = replace(ONE, max_in_flight=4, limit=resilience.AdaptiveLimit(resilience.Aimd(initial=2, least=1)))
    status = [200]
    script = Script({A: lambda request: After(0.1, status[0])})
    with virtual() as clock, resilience.Client(transport=script, defaults=service) as client:
        for _ in range(20):
            for call in [clock.start(client.get, URL) for _ in range(4)]:
                with contextlib.suppress(resilience.OverloadedError):
                    call.result()
        assert limits(client) == [4]
        status[0] = 503
        client.get(URL)
        assert limits(client) == [3]


@pytest.mark.parametrize("law", [resilience.Aimd(initial=4, least=1), resilience.Gradient2(initial=4, least=1)])
def test_other_laws_serve_too(law):
    script = Script([], then=LATE)
    service = replace(ONE, limit=resilience.AdaptiveLimit(law))
    with virtual() as clock, resilience.Client(transport=script, defaults=service) as client:
        threads = [clock.start(client.get, URL) for _ in range(5)]
        outcomes = []
        for thread in threads:
            try:
                outcomes.append(thread.result().status_code)
            except resilience.OverloadedError:
                outcomes.append("shed")
        assert Counter(outcomes) == {200: 4, "shed": 1}


@pytest.mark.parametrize("mode", MODES[:2])
async def test_cut_at_random_everything_is_given_back(mode: str, fleet: Fleet) -> None:
    rng = random.Random(7)
    service = static(
        *fleet,
        limit=resilience.AdaptiveLimit(resilience.TargetLatency(0.02, least=1, most=6)),
        throttle=resilience.Throttle(),
        rate_limit=resilience.RateLimit(2000.0, wait=0.02),
    )
    ended: Counter[str] = Counter()
    async with resilience.AsyncClient(services={"web.internal": service}, verify=CONTEXT) as client:
        before = await others()

        async def one() -> None:
            with anyio.move_on_after(rng.random() * 0.06):
                try:
                    path = rng.choice(["/", "/bytes/2000", "/slow/0.01", "/slow/0.03"])
                    await client.request(rng.choice(["GET", "POST"]), f"http://web.internal:{fleet.port}{path}")
                except resilience.OverloadedError:
                    ended["shed"] += 1
                    return
                ended["ok"] += 1
                return
            ended["cut"] += 1

        for _ in range(8):
            async with anyio.create_task_group() as group:
                for _ in range(40):
                    group.start_soon(one)
        assert ended.total() == 320
        assert ended["shed"] > 0
        assert_clean(client)
        assert await others() == before
        (state,) = client.status().services.values()
        assert state.shed >= ended["shed"]
        assert (await client.get(f"http://web.internal:{fleet.port}/")).status_code == 200


def test_threads_share_a_limit_exactly(fleet: Fleet) -> None:
    from concurrent.futures import ThreadPoolExecutor

    law = resilience.TargetLatency(60.0, least=2, most=2)
    with resilience.Client(
        services={"web.internal": static(*fleet, limit=resilience.AdaptiveLimit(law))}, verify=CONTEXT
    ) as client:

        def one(_: int) -> str:
            try:
                return str(client.get(f"http://web.internal:{fleet.port}/slow/0.002").status_code)
            except resilience.OverloadedError:
                return "shed"

        with ThreadPoolExecutor(24) as pool:
            ended = Counter(pool.map(one, range(400)))
        (state,) = client.status().services.values()
        assert set(ended) == {"200", "shed"}
        assert state.shed == ended["shed"]
        assert [endpoint.in_flight for endpoint in state.endpoints] == [0, 0, 0]
