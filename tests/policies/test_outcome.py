"""``outcome``: what becomes of a call, without raising."""

import pickle

import pytest

import resilience
from resilience.core.errors import CircuitOpenError, ConfigurationError, DeadlineExceededError
from resilience.core.outcome import Err, Ok
from resilience.pipeline import Pipeline
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.fallback import Fallback
from resilience.policies.hedge import Hedge
from resilience.policies.retry import Retry
from resilience.policies.timeout import Timeout
from resilience.runtimes.entry import deadline
from resilience.runtimes.virtual import VirtualRuntime
from tests.composition.fake_time import BlockingOnFakeTime, on


def fails(*_args):
    raise ConnectionError("down")


async def fails_async():
    raise ConnectionError("down")


async def replies(value):
    return value


def test_values_and_errors_are_returned():
    pipeline = Pipeline(Retry(2, wait=0.0), CircuitBreaker())
    assert pipeline.outcome(int, "5") == Ok(5)
    match pipeline.outcome(fails):
        case Err(ConnectionError() as error):
            assert len(error.attempts) == 2
        case other:
            raise AssertionError(other)


async def test_async_too(anyio_backend):
    pipeline = Pipeline(Retry(2, wait=0.0), CircuitBreaker())
    assert await pipeline.aoutcome(replies, 5) == Ok(5)
    assert isinstance((await pipeline.aoutcome(fails_async)).error, ConnectionError)
    with deadline(60.0):
        assert await pipeline.aoutcome(replies, 5) == Ok(5)


def test_a_fallbacks_answer_is_told_from_a_real_one():
    for outside in ((), (Timeout(60.0),), (Hedge(after=60.0),), (Retry(1),)):
        outcome = Pipeline(*outside, Fallback("default")).outcome(fails)
        assert outcome.value == "default"
        assert isinstance(outcome.failure, ConnectionError)
    assert Fallback("default").outcome(int).failure is None


def test_a_deadline_that_has_passed_is_an_outcome_too():
    runtime = BlockingOnFakeTime()
    with on(runtime), deadline(1.0):
        runtime.clock += 2.0
        assert isinstance(Retry().outcome(int).error, DeadlineExceededError)


async def test_a_deadline_that_has_passed_is_an_outcome_of_async_code_too(anyio_backend):
    runtime = VirtualRuntime()
    with on(runtime), deadline(1.0):
        runtime.advance(2.0)
        assert isinstance((await Retry().aoutcome(replies, 1)).error, DeadlineExceededError)


def test_mistakes_and_exits_are_raised():
    def leave():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Retry().outcome(leave)
    for mistake in (replies, (number for number in ()), lambda: replies(1)):
        with pytest.raises(ConfigurationError):
            Retry().outcome(mistake)


async def test_mistakes_are_raised_in_async_code_too(anyio_backend):
    with pytest.raises(ConfigurationError):
        await Retry().aoutcome(int)
    with pytest.raises(ConfigurationError):
        await CircuitBreaker().aoutcome(int)


@pytest.mark.parametrize(
    "wrap", [lambda breaker: breaker, Pipeline, lambda breaker: Pipeline(Pipeline(breaker), Retry())]
)
async def test_an_open_circuit_refuses_without_raising_and_without_a_call(anyio_backend, wrap):
    breaker = CircuitBreaker(name="db")
    policy = wrap(breaker)
    assert policy.outcome(int) == Ok(0)
    assert await policy.aoutcome(replies, 1) == Ok(1)
    breaker.open()
    for outcome in (policy.outcome(fails), await policy.aoutcome(fails_async)):
        error = outcome.error
        assert type(error) is CircuitOpenError
        assert str(error) == "circuit for db is open; next probe in 1.0 s"
        assert 0 < error.retry_after <= 1.0
        assert (error.service, error.endpoint, error.attempts, error.causes) == ("db", None, (), ())
        assert error.__traceback__ is None
        again = pickle.loads(pickle.dumps(error))
        assert (again.service, str(again)) == ("db", str(error))
    breaker.half_open()
    assert policy.outcome(int) == Ok(0), "a probe is let through"


def test_a_half_open_circuit_whose_probe_is_out_refuses():
    runtime = VirtualRuntime()
    breaker = CircuitBreaker()
    with on(runtime):
        breaker.half_open()
        runtime.spawn(lambda: breaker.acall(runtime.sleep, 1.0))
        runtime.advance(0.5)
        assert isinstance(breaker.outcome(int).error, CircuitOpenError)
        runtime.advance(1.0)
    forced = resilience.CircuitBreaker()
    forced.force_open()
    assert "is forced open" in str(forced.outcome(fails).error)
    assert "circuit for fails is forced open" in str(forced.outcome(fails).error)
