"""Decorated functions keep what they are: name, docs, signature, kind, and being a method."""

import functools
import inspect
import re

import anyio
import pytest

from resilience.core.errors import ConfigurationError
from resilience.pipeline import Pipeline
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.policy import Policy
from resilience.policies.retry import Retry
from resilience.policies.timeout import Timeout

POLICIES = [
    Policy(),
    Retry(),
    CircuitBreaker(),
    Timeout(60.0),
    Bulkhead(5),
    Pipeline(Retry(), Timeout(60.0)),
    Pipeline(),
]


def label(it):
    """The same in every process: without addresses."""
    return re.sub(r" (object )?at 0x\w+", "", repr(it))[:40]


each_policy = pytest.mark.parametrize("policy", POLICIES, ids=label)


def plain(number: int, *, twice: bool = False) -> int:
    """Count."""
    return number * 2 if twice else number


async def awaited(number: int, *, twice: bool = False) -> int:
    """Count, in time."""
    await anyio.lowlevel.checkpoint()
    return number * 2 if twice else number


@each_policy
def test_a_function_stays_what_it_is(policy):
    guarded = policy(plain)
    assert (guarded.__name__, guarded.__doc__, guarded.__module__) == ("plain", "Count.", __name__)
    assert guarded.__wrapped__ is plain
    assert inspect.signature(guarded) == inspect.signature(plain)
    assert guarded.__annotations__ == plain.__annotations__
    assert not inspect.iscoroutinefunction(guarded)
    assert guarded(3, twice=True) == 6
    assert policy.call(plain, 3, twice=True) == 6


@each_policy
async def test_a_coroutine_function_stays_what_it_is(policy):
    guarded = policy(awaited)
    assert (guarded.__name__, guarded.__doc__) == ("awaited", "Count, in time.")
    assert inspect.signature(guarded) == inspect.signature(awaited)
    assert inspect.iscoroutinefunction(guarded)
    assert await guarded(3, twice=True) == 6
    assert await policy.acall(awaited, 3, twice=True) == 6


@each_policy
def test_arguments_may_have_any_name(policy):
    def function(fn, call, self, proceed):
        return fn, call, self, proceed

    names = {"fn": 1, "call": 2, "self": 3, "proceed": 4}
    assert policy(function)(**names) == policy.call(function, **names) == (1, 2, 3, 4)


class Service:
    retry = Retry()

    @retry
    def method(self, number):
        return self, number

    @retry
    async def coroutine_method(self, number):
        return self, number

    @staticmethod
    @retry
    def static(number):
        return number

    @classmethod
    @retry
    def of_class(cls, number):
        return cls, number

    def __call__(self, number):
        return self, number


class AsyncCallable:
    async def __call__(self, number):
        return number


async def test_methods_partials_and_callables():
    service, retry = Service(), Retry()
    assert service.method(1) == (service, 1)
    assert await service.coroutine_method(1) == (service, 1)
    assert service.static(1) == Service.static(1) == 1
    assert service.of_class(1) == (Service, 1)
    assert retry(service.method)(1) == (service, 1)
    assert retry(service)(1) == (service, 1)
    assert retry(functools.partial(plain, 4))(twice=True) == 8
    assert retry(len)("four") == 4
    assert retry(Service)().__class__ is Service
    assert await retry(service.coroutine_method)(1) == (service, 1)
    assert await retry(functools.partial(functools.partial(awaited, 4), twice=True))() == 8
    assert await retry(AsyncCallable())(5) == 5
    assert retry.call(functools.partial(plain, 4)) == 4


def test_a_class_whose_objects_are_async_callables_is_still_a_plain_callable():
    assert not inspect.iscoroutinefunction(Retry()(AsyncCallable))
    assert isinstance(Retry()(AsyncCallable)(), AsyncCallable)


def numbers():
    yield 1


async def awaited_numbers():
    yield 1


class GeneratorCallable:
    def __call__(self):
        yield 1


@each_policy
@pytest.mark.parametrize(
    "generator",
    [numbers, awaited_numbers, functools.partial(numbers), GeneratorCallable(), functools.partial(GeneratorCallable())],
    ids=["generator", "async generator", "partial", "callable", "partial callable"],
)
async def test_generator_functions_are_refused(policy, generator):
    for use in (policy, policy.call):
        with pytest.raises(ConfigurationError, match="generator") as caught:
            use(generator)
        assert caught.value.argument == "fn"
    with pytest.raises(ConfigurationError, match="generator"):
        await policy.acall(generator)


@each_policy
async def test_call_and_acall_refuse_each_others_functions(policy):
    with pytest.raises(ConfigurationError, match=r"use \.acall for async") as caught:
        policy.call(awaited, 1)
    assert (caught.value.argument, caught.value.value) == ("fn", "awaited")
    with pytest.raises(ConfigurationError, match=r"use \.call") as caught:
        await policy.acall(plain, 1)
    assert (caught.value.argument, caught.value.value) == ("fn", "plain")


@each_policy
def test_a_plain_function_that_hands_out_a_coroutine_is_refused(policy):
    """It would count as a success and never run: one of aioresilience's defects."""
    with pytest.raises(ConfigurationError, match="returns no coroutine"):
        policy.call(lambda: awaited(1))


async def test_acall_takes_whatever_gives_something_to_await():
    assert await Retry().acall(lambda: awaited(1)) == 1


@pytest.mark.parametrize("thing", [5, "fetch", None, staticmethod(plain), classmethod(plain)], ids=label)
def test_what_is_no_function_is_refused(thing):
    with pytest.raises(ConfigurationError, match="fn=") as caught:
        Retry()(thing)
    assert caught.value.value is thing


def test_stop_iteration_passes_through():
    """A coroutine cannot raise it (PEP 479); a function around next() must be able to, decorated or not."""

    @Retry()
    def function(items):
        return next(items)

    items = iter([1])
    assert function(items) == 1
    with pytest.raises(StopIteration):
        function(items)


@pytest.mark.parametrize("policy", [Retry(), Timeout(60.0), Pipeline(Timeout(60.0), Retry(), CircuitBreaker())])
def test_what_python_makes_of_a_stop_iteration_in_a_generator_passes_through(policy):
    def generator():
        yield next(iter(()))

    @policy
    def function():
        return list(generator())

    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        function()


def test_a_runtime_error_passes_through():
    def function():
        raise RuntimeError("mine") from KeyError("why")

    with pytest.raises(RuntimeError, match="mine") as caught:
        Policy().call(function)
    assert isinstance(caught.value.__cause__, KeyError)


# A policy of one's own, in ≤ 15 lines: once with the call named, once in the shortest way.


class Counted(Policy):
    def __init__(self):
        self.calls = self.failures = 0

    async def around(self, call, proceed):
        self.calls += 1
        try:
            return await proceed(call)
        except Exception:
            self.failures += 1
            raise


class Default:
    """No base class: in a pipeline, an object with `around` is enough. `chain` is nobody's business but its own."""

    chain = "of shops"

    async def around(self, call, proceed):
        return await proceed() or f"nothing from {call.operation}"


async def test_a_policy_of_ones_own():
    counted = Counted()
    pipeline = Pipeline(counted, Retry(wait=0.0), Default())

    @pipeline
    def function(reply):
        if reply is ConnectionError:
            raise ConnectionError
        return reply

    @pipeline
    async def coroutine_function(reply):
        return function(reply)

    assert function("reply") == await coroutine_function("reply") == "reply"
    assert function("").startswith("nothing from test_a_policy_of_ones_own")
    with pytest.raises(ConnectionError):
        function(ConnectionError)
    assert (counted.calls, counted.failures) == (5, 1)
    assert counted(plain)(3) == 3


def test_a_policy_that_changes_the_call_for_those_inside():
    class Impatient(Policy):
        async def around(self, call, proceed):
            call.deadline = call.runtime.now()
            return await proceed(call)

    sends = []

    @Pipeline(Impatient(), Retry(wait=0.0))
    def function():
        sends.append(1)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        function()
    assert len(sends) == 1


def test_a_policy_that_waits_for_something_of_an_event_loop_is_found_out():
    class Wrong(Policy):
        async def around(self, call, proceed):
            await anyio.lowlevel.checkpoint()
            return await proceed(call)

    class AlsoWrong(Policy):
        async def around(self, call, proceed):
            class Suspend:
                def __await__(self):
                    yield

            await Suspend()

    with pytest.raises(RuntimeError):
        Wrong().call(plain, 1)
    with pytest.raises(RuntimeError, match="may await only proceed"):
        AlsoWrong().call(plain, 1)


def test_pipelines_within_pipelines():
    counted = [Counted() for _ in range(3)]
    inner = Pipeline(counted[1], counted[2])
    pipeline = Pipeline(counted[0], inner)
    assert pipeline(plain)(1) == 1
    assert Pipeline(Default(), pipeline).call(plain, 1) == 1
    assert [policy.calls for policy in counted] == [2, 2, 2]
    assert repr(Pipeline(Retry(2), Timeout(1.0))).startswith("Pipeline(Retry(max_attempts=2")


@pytest.mark.parametrize("policy", [Retry, None, 3, plain, object()], ids=label)
def test_a_pipeline_takes_policies_only(policy):
    with pytest.raises(ConfigurationError, match="policies=") as caught:
        Pipeline(Retry(), policy)
    assert caught.value.value is policy


async def test_a_pipeline_is_a_policy_among_policies_of_others():
    """Called by the port, not through the links: somebody's own pipeline does that."""
    counted = Counted()

    class Own(Policy):
        async def around(self, call, proceed):
            return await Pipeline(counted).around(call, proceed)

    assert await Own().acall(awaited, 2) == 2
    assert counted.calls == 1
