"""Pipelines by name: functions keep them, and policies are replaced under the name with their state."""

import threading
import time

import pytest

import resilience
from resilience.pipeline import Pipeline
from resilience.testing import virtual


class BoomError(ConnectionError):
    pass


def boom():
    raise BoomError


def test_functions_use_what_is_in_force_when_they_are_called():
    registry = resilience.Registry({"payments": Pipeline(resilience.Retry(2, wait=1, budget=False))})
    calls = []

    @registry.pipeline("payments")
    def charge(amount: int) -> int:
        """Charge."""
        calls.append(amount)
        raise BoomError

    @registry.pipeline("payments")
    async def charge_later(amount: int) -> int:
        calls.append(amount)
        raise BoomError

    with virtual() as clock:
        with pytest.raises(BoomError):
            charge(1)
        registry.update({"payments": resilience.Retry(3, wait=1, budget=False)})
        with pytest.raises(BoomError):
            charge(2)
        with pytest.raises(BoomError):
            clock.run(charge_later, 3)
    assert calls == [1, 1, 2, 2, 2, 3, 3, 3]
    assert (charge.__name__, charge.__doc__, registry.names) == ("charge", "Charge.", ("payments",))


def test_calls_under_way_end_under_the_old_policies():
    registry = resilience.Registry({"slow": resilience.Timeout(5.0)})
    import time

    with virtual() as clock:
        under_way = clock.start(registry.pipeline("slow").call, time.sleep, 4)
        clock.advance(1)
        registry.update({"slow": resilience.Timeout(1.0)})
        under_way.result()
        with pytest.raises(resilience.DeadlineExceededError):
            registry.pipeline("slow").call(time.sleep, 4)


def test_inside_another_pipeline_it_follows_too():
    registry = resilience.Registry()
    outer = Pipeline(resilience.Fallback("instead"), registry.pipeline("inner", resilience.Policy()))
    assert outer.call(lambda: "fine") == "fine"
    assert outer.call(boom) == "instead"
    registry.update({"inner": resilience.Fallback("inside")})
    assert outer.call(boom) == "inside"


class TestStateThatStays:
    def test_an_open_circuit(self):
        def circuit(**options):
            return resilience.CircuitBreaker(consecutive_failures=2, open_for=30, **options)

        registry = resilience.Registry({"a": circuit()})
        pipeline = registry.pipeline("a")
        with virtual() as clock:
            for _ in range(2):
                with pytest.raises(BoomError):
                    pipeline.call(boom)
            for options in ({"probes": 2}, {"window": 3.0}, {"slow_after": 1.0}, {"name": "a"}):
                registry.update({"a": circuit(**options)})
                with pytest.raises(resilience.CircuitOpenError) as caught:
                    pipeline.call(boom)
                assert caught.value.retry_after == pytest.approx(30.0)
            clock.advance(30)
            assert pipeline.call(lambda: "fine") == "fine"

    def test_a_spent_budget(self):
        def retry(budget):
            return Pipeline(resilience.Retry(2, wait=0, budget=budget))

        calls = []

        def fail():
            calls.append(0)
            raise BoomError

        none = {"ratio": 0.0, "min_per_second": 0.1, "ttl": 10.0}
        registry = resilience.Registry({"a": retry(resilience.RetryBudget(**none))})
        with virtual():
            for budget in (none, {**none, "min_per_second": 0.2}, {**none, "ttl": 20.0}):
                registry.update({"a": retry(resilience.RetryBudget(**budget))})
                with pytest.raises(BoomError):
                    registry.pipeline("a").call(fail)
        assert len(calls) == 5  # one spare, then one more, then none: two were spent of the two that there are

    def test_who_is_in_a_bulkhead(self):
        registry = resilience.Registry({"a": resilience.Bulkhead(1)})
        pipeline = registry.pipeline("a")

        def full():
            with pytest.raises(resilience.OverloadedError):
                pipeline.call(boom)

        def inside():
            registry.update({"a": resilience.Bulkhead(2)})
            pipeline.call(full)
            registry.update({"a": resilience.Bulkhead(1)})
            with pytest.raises(resilience.OverloadedError):
                pipeline.call(boom)

        pipeline.call(inside)
        assert pipeline.current.policies[0].slots.taken == 0

    @pytest.mark.parametrize("order", [{}, {"lifo_after": 60.0}, {"priority": lambda _: 0}])
    def test_who_stands_in_the_line_of_a_bulkhead(self, order):
        """More room is for those who wait; nobody loses his place in the line, whatever the new limit."""
        registry = resilience.Registry({"a": resilience.Bulkhead(1, queue=9, **order)})
        begun = []

        @registry.pipeline("a")
        def function(name):
            begun.append((name, clock.elapsed))
            time.sleep(10.0)
            return name

        with virtual() as clock:
            calls = [clock.start(function, name) for name in "abcd"]
            clock.advance(1.0)
            registry.update({"a": resilience.Bulkhead(1, queue=3, **order)})
            clock.advance(1.0)
            registry.update({"a": resilience.Bulkhead(3, queue=9, **order)})
            assert [call.result() for call in calls] == ["a", "b", "c", "d"]
        assert begun == [("a", 0.0), ("b", 2.0), ("c", 2.0), ("d", 10.0)]
        assert registry.pipeline("a").current.policies[0].slots.taken == 0

    def test_a_line_with_priorities(self):
        first = resilience.Bulkhead(1, queue=1, lifo_after=1.0)
        registry = resilience.Registry({"a": first})
        registry.update({"a": resilience.Bulkhead(3, queue=1, lifo_after=5.0)})
        bulkhead = registry.pipeline("a").current.policies[0]
        assert bulkhead.slots is first.slots
        assert (bulkhead.slots.limit, bulkhead.slots.ranked_line.lifo_after) == (3, 5.0)
        registry.update({"a": resilience.Bulkhead(3)})
        assert registry.pipeline("a").current.policies[0].slots is not first.slots

    def test_the_tokens_of_a_rate(self):
        registry = resilience.Registry({"a": resilience.RateLimit(1.0)})
        pipeline = registry.pipeline("a")
        with virtual() as clock:
            pipeline.call(lambda: None)
            registry.update({"a": resilience.RateLimit(0.5)})
            with pytest.raises(resilience.OverloadedError):
                pipeline.call(lambda: None)
            clock.advance(2)
            pipeline.call(lambda: None)

    def test_an_adaptive_limit(self):
        registry = resilience.Registry({"a": resilience.AdaptiveLimit(resilience.Aimd(initial=10, least=1, most=50))})
        for law, limit in (
            (resilience.Aimd(initial=3, least=1, most=50), 10),
            (resilience.Aimd(initial=30, least=20, most=50), 20),
            (resilience.Aimd(initial=3, least=1, most=5), 5),
        ):
            registry.update({"a": resilience.AdaptiveLimit(law)})
            assert registry.pipeline("a").current.policies[0].inside.limit == limit

    def test_what_a_throttle_has_seen(self):
        registry = resilience.Registry({"a": resilience.Throttle()})
        seen = registry.pipeline("a").current.policies[0].acceptance
        registry.update({"a": resilience.Throttle(k=3)})
        assert registry.pipeline("a").current.policies[0].acceptance is seen
        registry.update({"a": resilience.Throttle(window=5)})
        assert registry.pipeline("a").current.policies[0].acceptance is not seen

    def test_the_last_good_answer(self):
        registry = resilience.Registry({"a": resilience.Fallback(last_good=60)})
        pipeline = registry.pipeline("a")
        answers = ["good"]

        def ask():
            if not answers:
                raise BoomError
            return answers.pop()

        pipeline.call(ask)
        registry.update({"a": resilience.Fallback("other", last_good=30)})
        assert pipeline.call(ask) == "good"

    def test_latencies_and_flights(self):
        def policies():
            return Pipeline(
                resilience.SingleFlight(),
                resilience.Hedge(after=resilience.quantile(0.9, ceiling=1.0)),
                resilience.Policy(),
            )

        registry = resilience.Registry({"a": policies()})
        flights, hedge, _ = registry.pipeline("a").current.policies
        registry.update({"a": policies()})
        now = registry.pipeline("a").current.policies
        assert (now[0].flights, now[1].latencies, now[1].state) == (flights.flights, hedge.latencies, hedge.state)
        registry.update({"a": Pipeline(resilience.Hedge(after=1.0, budget=False))})
        assert registry.pipeline("a").current.policies[0].latencies is None

    def test_first_goes_on_from_first_and_second_from_second(self):
        inner, outer = resilience.Bulkhead(1), resilience.Bulkhead(5)
        registry = resilience.Registry({"a": Pipeline(outer, inner)})
        registry.update({"a": Pipeline(resilience.Bulkhead(6), resilience.Timeout(1), resilience.Bulkhead(2))})
        first, _, second = registry.pipeline("a").current.policies
        assert (first.slots, second.slots) == (outer.slots, inner.slots)

    def test_the_new_policies_themselves_are_left_alone(self):
        made = resilience.Bulkhead(3)
        registry = resilience.Registry({"a": resilience.Bulkhead(1)})
        registry.update({"a": made})
        assert registry.pipeline("a").current.policies[0] is not made
        assert made.slots.limit == 3


@pytest.mark.parametrize(
    "given", [5, ["a"], {"": resilience.Policy()}, {5: resilience.Policy()}, {"a": 5}, {"a": resilience.Retry}]
)
def test_a_mistake_changes_nothing(given):
    registry = resilience.Registry({"b": resilience.Timeout(1.0)})
    before = registry.pipeline("b").current
    if isinstance(given, dict):
        given = {"b": resilience.Timeout(2.0), **given}
    with pytest.raises(resilience.ConfigurationError):
        registry.update(given)
    assert registry.pipeline("b").current is before
    assert registry.names == ("b",)


def test_a_pipeline_that_leads_back_to_itself_is_refused():
    registry = resilience.Registry({name: resilience.Timeout(1.0) for name in "abcd"})
    a, b, c = map(registry.pipeline, "abc")
    other = resilience.Registry({"a": resilience.Timeout(1.0)})
    registry.update({"b": Pipeline(resilience.Retry(), c, c), "d": Pipeline(a, other.pipeline("a"))})
    before = [registry.pipeline(name).current for name in registry.names]
    for given, name in (
        ({"a": Pipeline(resilience.Retry(), Pipeline(a))}, "a"),
        ({"c": Pipeline(b)}, "c"),
        ({"d": resilience.Timeout(2.0), "a": Pipeline(b), "c": Pipeline(a)}, "a"),
    ):
        with pytest.raises(resilience.ConfigurationError, match="lead back") as caught:
            registry.update(given)
        assert caught.value.argument == f"pipelines[{name!r}]"
        assert [registry.pipeline(name).current for name in registry.names] == before
    registry.update({"c": Pipeline(a), "b": resilience.Timeout(3.0)})  # in this update nothing leads back
    assert c.call(lambda: 1) == 1


def test_unknown_names_are_told_with_those_that_are_known():
    registry = resilience.Registry({"b": resilience.Timeout(1.0)})
    with pytest.raises(resilience.ConfigurationError, match=r"a pipeline \(b\)"):
        registry.pipeline("a")
    with pytest.raises(resilience.ConfigurationError):
        registry.pipeline("", resilience.Policy())
    with pytest.raises(resilience.ConfigurationError):
        registry.update({"a": registry.pipeline("b")})


def test_updates_in_the_midst_of_threads():
    registry = resilience.Registry({"a": resilience.Bulkhead(64)})
    pipeline = registry.pipeline("a")
    over = threading.Event()

    def call():
        while not over.is_set():
            pipeline.call(lambda: None)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(200):
        registry.update({"a": resilience.Bulkhead(64 + number % 3)})
    over.set()
    for thread in threads:
        thread.join()
    assert pipeline.current.policies[0].slots.taken == 0
