"""Fallback: which answer stands in, for whom, for how long; and that it is told."""

import functools
import math

import pytest

from resilience.core.call import Call
from resilience.core.errors import ConfigurationError
from resilience.core.outcome import Ok
from resilience.pipeline import Pipeline
from resilience.policies.fallback import Fallback, LastGood
from resilience.policies.retry import Retry
from resilience.runtimes.blocking import BLOCKING
from resilience.runtimes.virtual import VirtualRuntime
from tests.composition.fake_time import BlockingOnFakeTime, on


def fails(*_args, **_kwargs):
    raise ConnectionError("down")


def test_a_value_stands_in():
    assert Fallback("default").call(fails) == "default"
    assert Fallback(None).call(fails) is None
    assert Fallback("default").call(lambda: "reply") == "reply"


def test_a_function_is_given_what_it_takes():
    assert Fallback(function=lambda: "nothing").call(fails, 1) == "nothing"
    assert Fallback(function=lambda error: f"{error}!").call(fails, 1) == "down!"
    assert Fallback(function=lambda error, a, b: (str(error), a, b)).call(fails, 1, b=2) == ("down", 1, 2)
    assert Fallback(function=lambda *args, **kwargs: (len(args), kwargs)).call(fails, 1, b=2) == (2, {"b": 2})
    assert str(Fallback(function=str).call(fails)) == "down"
    assert Fallback(function=dict.fromkeys).call(lambda: 1) == 1


async def test_a_function_may_be_async(anyio_backend):
    async def function():
        raise ConnectionError("down")

    async def instead(error):
        return str(error)

    assert await Fallback(function=instead).acall(function) == "down"


def test_what_a_function_raises_comes_out():
    def instead(error):
        raise KeyError("worse") from error

    with pytest.raises(KeyError):
        Fallback(function=instead).call(fails)


def test_only_what_was_listed_is_answered_for():
    fallback = Fallback("default", on=(KeyError, lambda error: "down" in str(error)))
    assert fallback.call(fails) == "default"
    with pytest.raises(ZeroDivisionError):
        fallback.call(lambda: 1 / 0)


def test_mistakes_and_exits_are_never_answered_for():
    for error in (ConfigurationError("argument", 1, "2"), KeyboardInterrupt()):

        def function(error=error):
            raise error

        with pytest.raises(type(error)):
            Fallback("default").call(function)


def test_the_last_good_answer_stands_in_for_its_time():
    runtime = BlockingOnFakeTime()
    replies = {"a": 1, "b": 2}
    down = False

    def function(name):
        if down:
            raise ConnectionError("down")
        return replies[name]

    fallback = Fallback("default", last_good=60.0, most=2)
    with on(runtime):
        assert [fallback.call(function, name) for name in "ab"] == [1, 2]
        down = True
        runtime.clock += 60.0
        assert [fallback.call(function, name) for name in "abc"] == [1, 2, "default"]
        runtime.clock += 0.001
        assert fallback.call(function, "a") == "default"
        alone = Fallback(last_good=60.0)
        with pytest.raises(ConnectionError):
            alone.call(function, "a")
        down = False
        replies["c"] = 3
        assert [fallback.call(function, name) for name in "ac"] == [1, 3]
        down = True
        assert [fallback.call(function, name) for name in "abc"] == [1, "default", 3], "the oldest gave way"


def test_arguments_that_cannot_be_told_apart_have_no_last_answer():
    fallback = Fallback("default", last_good=math.inf)
    down = False

    def function(names):
        if down:
            raise ConnectionError
        return names

    assert fallback.call(function, ["a"]) == ["a"]
    down = True
    assert fallback.call(function, ["a"]) == "default"


async def _fail(_call):
    raise ConnectionError("down")


def test_it_is_marked():
    runtime = VirtualRuntime()
    call = Call(runtime, "request", 0.0)
    assert runtime.run(lambda: Fallback("default", last_good=9.0).around(call, _fail)) == "default"
    assert isinstance(call.covered, ConnectionError)
    call = Call(BLOCKING, "request", 0.0)

    async def succeed(_call):
        return "reply"

    assert runtime.run(lambda: Fallback("default", last_good=9.0).around(call, succeed)) == "reply"
    assert call.covered is None


def test_what_stood_in_for_an_earlier_attempt_is_no_mark_of_a_later_one():
    answers = iter([ConnectionError("down"), "reply"])

    def function():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    pipeline = Pipeline(Retry(2, on=lambda answer: answer is None, wait=0.0), Fallback(None))
    assert pipeline.outcome(function) == Ok("reply")
    inner = Pipeline(Fallback("outer"), Fallback("inner")).outcome(fails)
    assert (inner.value, str(inner.failure)) == ("inner", "down")


def test_last_good_answers_of_different_functions_do_not_mix():
    fallback = Fallback("default", last_good=9.0)
    assert fallback.call(lambda: 1) == 1
    assert fallback.call(fails) == "default"


def test_last_good_is_bounded():
    kept = LastGood(10)
    for number in range(100):
        kept.keep(number, number, 0.0)
    assert sum(kept.get(number, 0.0, 1.0) is not None for number in range(100)) == 10
    assert kept.get(0, 0.0, math.inf) is None


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({}, "value"),
        ({"value": 1, "function": len}, "function"),
        ({"function": 1}, "function"),
        ({"last_good": 0}, "last_good"),
        ({"last_good": math.nan}, "last_good"),
        ({"value": 1, "most": 0}, "most"),
        ({"value": 1, "on": "ConnectionError"}, "on"),
        ({"value": 1, "on": BaseException}, "on"),
    ],
)
def test_bad_arguments_are_named(arguments, argument):
    with pytest.raises(ConfigurationError) as caught:
        Fallback(**arguments)
    assert caught.value.argument == argument


def test_a_function_that_takes_the_exception_alone_gets_nothing_else():
    assert Fallback(function=lambda error: f"{error}!").call(fails, 1, b=2) == "down!"
    assert Fallback(function=lambda: "nothing").call(fails, 1, b=2) == "nothing"
    assert Fallback(function=type).call(fails, 1) is ConnectionError, "what has no signature is given the exception"


def test_what_a_function_takes_by_name_and_need_not_is_no_reason_to_give_it_all():
    def instead(error, *, cache, item="none"):
        return (str(error), cache, item)

    function = functools.partial(instead, cache="full")
    assert Fallback(function=function).call(fails, 1, b=2) == ("down", "full", "none")
    assert Fallback(function=function).call(fails, 1, item=2) == ("down", "full", 2)
    assert Fallback(function=function).call(fails, 1, cache=False) == ("down", "full", "none"), "the call's own"
    assert Fallback(function=lambda *, cache="empty": cache).call(fails, 1) == "empty"
    with pytest.raises(TypeError, match="cache"):
        Fallback(function=instead).call(fails)
    assert Fallback(function=instead).call(fails, cache="needed") == ("down", "needed", "none")


class CannotBeHashed:
    def __hash__(self):
        raise LookupError("a table that is not loaded yet")


def test_without_last_good_nobody_looks_at_the_arguments():
    assert Fallback("default").call(fails, CannotBeHashed()) == "default"


def test_an_argument_with_a_default_is_one_of_the_calls():
    def instead(error, number=0):
        return number

    def fails(number):
        raise ConnectionError(number)

    assert Fallback(function=instead).call(fails, 5) == 5
