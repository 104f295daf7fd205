"""``Pipeline.describe()``: the order, its reasons, and every doubt."""

import pytest

from resilience.pipeline import Pipeline
from resilience.policies.adaptive import AdaptiveLimit
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.chaos import Chaos
from resilience.policies.fallback import Fallback
from resilience.policies.guard import Guard
from resilience.policies.hedge import Hedge
from resilience.policies.keyed import KeyedCircuitBreaker
from resilience.policies.policy import Policy
from resilience.policies.rate_limit import RateLimit
from resilience.policies.retry import Retry
from resilience.policies.single_flight import SingleFlight
from resilience.policies.throttle import Throttle
from resilience.policies.timeout import Timeout
from resilience.registry import Registry


class Own(Policy):
    def __repr__(self):
        return "Own()"


def good():
    return Pipeline(
        Fallback("default"),
        SingleFlight(),
        Timeout(10.0),
        Retry(3),
        Pipeline(Hedge(after=1.0), CircuitBreaker(), Throttle(), RateLimit(10)),
        AdaptiveLimit(),
        Bulkhead(10),
        Timeout(3.0),
        Own(),
        Guard(status=200),
    )


def test_each_policy_has_a_line_and_a_reason():
    description = good().describe()
    assert description.warnings == ()
    assert [policy.name for policy in description.policies] == [
        "fallback",
        "single flight",
        "timeout",
        "retry",
        "hedge",
        "circuit",
        "throttle",
        "rate limit",
        "adaptive limit",
        "bulkhead",
        "timeout",
        "Own",
        "guard",
    ]
    lines = str(description).splitlines()
    assert lines[2] == "3. timeout: Timeout(seconds=10.0) (outside the others: the whole call, every wait included)"
    assert lines[10] == "11. timeout: Timeout(seconds=3.0) (inside retry: one attempt)"
    assert lines[11] == "12. Own: Own()"
    assert "max_attempts=3" in description.policies[3].options
    assert all(policy.reason for policy in description.policies if policy.name != "Own")
    assert description.policies[11].reason == ""


@pytest.mark.parametrize(
    ("policies", "warning"),
    [
        ([Retry(3), Retry(4)], "retry around retry asks for 3 × 4 = 12 sends; the outer one allows 3 in all"),
        ([Retry(2), Retry(3), Retry(4)], "2 × 3 × 4 = 24 sends"),
        ([Retry(2, budget=False)], "retry without a budget"),
        ([Hedge(after=1.0, budget=False)], "hedge without a budget"),
        ([Hedge(after=1.0), Retry(3)], "retry inside hedge"),
        ([CircuitBreaker(), Retry(3)], "circuit outside retry"),
        ([KeyedCircuitBreaker(len), Retry(3)], "circuit outside retry"),
        ([RateLimit(1), Retry(3)], "rate limit outside retry"),
        ([Throttle(), Retry(3)], "throttle outside retry"),
        ([Bulkhead(1), Retry(3)], "bulkhead outside retry"),
        ([AdaptiveLimit(), Retry(3)], "adaptive limit outside retry"),
        ([Guard(status=200), Retry(3)], "guard outside retry"),
        ([Retry(3), Fallback(1)], "fallback inside retry, hedge or circuit"),
        ([CircuitBreaker(), Fallback(1)], "fallback inside retry, hedge or circuit"),
        ([Hedge(after=1.0), SingleFlight()], "single flight inside hedge"),
        ([Timeout(1.0), Timeout(2.0)], "the inner timeout of 2 s never acts: the outer 1 s come first"),
        ([Timeout(2.0), Timeout(2.0)], "the inner timeout of 2 s never acts: the outer 2 s come first"),
        ([Timeout(5.0), Retry(3), Timeout(2.0)], "3 attempts of 2 s do not fit into the outer 5 s"),
    ],
)
def test_doubts(policies, warning):
    description = Pipeline(*policies).describe()
    assert len(description.warnings) == 1
    assert warning in description.warnings[0]
    assert str(description).splitlines()[-1] == f"warning: {description.warnings[0]}"


@pytest.mark.parametrize(
    "policies",
    [
        [Retry(1, budget=False)],
        [Retry(3), Hedge(after=1.0, budget=None)],
        [Timeout(6.0), Retry(3), Timeout(2.0)],
        [Timeout(6.0), Timeout(5.0)],
        [Retry(3), CircuitBreaker()],
    ],
)
def test_no_doubts(policies):
    assert Pipeline(*policies).describe().warnings == ()


def test_chaos_that_is_not_innermost(monkeypatch):
    monkeypatch.setenv("RESILIENCE_CHAOS", "1")
    with pytest.warns(UserWarning, match="not innermost"):
        pipeline = Pipeline(Chaos(0.5, latency=1.0), Retry(2))
    assert len(pipeline.describe().warnings) == 1
    assert Pipeline(Retry(2), Chaos(0.5, latency=1.0)).describe().policies[1].name == "chaos"


def test_it_looks_into_the_pipelines_of_a_registry():
    registry = Registry({"inner": Retry(4), "outer": Pipeline(Timeout(9.0), Retry(2))})
    pipeline = Pipeline(Retry(3), Pipeline(registry.pipeline("inner")))
    assert [policy.name for policy in pipeline.describe().policies] == ["retry", "retry"]
    assert "3 × 4 = 12 sends" in pipeline.describe().warnings[0]
    registry.update({"inner": Pipeline(registry.pipeline("outer"), CircuitBreaker())})
    assert [policy.name for policy in pipeline.describe().policies] == ["retry", "timeout", "retry", "circuit"]
    assert "3 × 2 = 6 sends" in pipeline.describe().warnings[0]
    registry.update({"inner": CircuitBreaker(), "outer": Timeout(9.0)})
    assert pipeline.describe().warnings == ()


def test_chaos_that_a_registry_puts_around_others(monkeypatch):
    monkeypatch.setenv("RESILIENCE_CHAOS", "1")
    registry = Registry({"faults": Chaos(0.5, latency=1.0)})
    with pytest.warns(UserWarning, match="not innermost"):
        Pipeline(registry.pipeline("faults"), Retry(2))


class Current(Policy):
    """Somebody's own policy that happens to have a `current`."""

    current = Pipeline(Retry(4))

    async def around(self, call, proceed):
        return await proceed(call)


def test_somebodys_own_policy_is_not_looked_into():
    assert [policy.name for policy in Pipeline(Current()).describe().policies] == ["Current"]


def test_somebodys_own_kind_of_pipeline_describes_itself(monkeypatch):
    monkeypatch.setenv("RESILIENCE_CHAOS", "1")

    class Named(Pipeline):
        """With something of its own."""

    policies = (CircuitBreaker(), Pipeline(Retry(3)), Retry(4))
    assert Named(*policies).describe() == Pipeline(*policies).describe()
    with pytest.warns(UserWarning, match="chaos is not innermost"):
        Named(Chaos(0.5, latency=1.0), Retry())


def test_an_empty_pipeline():
    assert str(Pipeline().describe()) == ""
    assert Pipeline().outcome(int).value == 0
