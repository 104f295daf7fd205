"""Chaos: only where it is allowed, at its rate, the same every time."""

import math
import threading
import traceback

import httpx
import pytest

from resilience.core.errors import ConfigurationError, OverloadedError
from resilience.pipeline import Pipeline
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.chaos import Chaos
from resilience.policies.retry import Retry
from resilience.runtimes.virtual import VirtualRuntime
from tests.composition.fake_time import BlockingOnFakeTime, on


@pytest.fixture(autouse=True)
def allowed(monkeypatch):
    monkeypatch.setenv("RESILIENCE_CHAOS", "1")


@pytest.mark.parametrize("value", [None, "", "0", "true"])
def test_it_is_refused_unless_the_environment_allows_it(monkeypatch, value):
    if value is None:
        monkeypatch.delenv("RESILIENCE_CHAOS")
    else:
        monkeypatch.setenv("RESILIENCE_CHAOS", value)
    with pytest.raises(ConfigurationError, match="RESILIENCE_CHAOS"):
        Chaos(0.5, fault=ConnectionError)


def struck(chaos, calls=1000):
    """Which of so many calls are struck."""
    found = []
    for number in range(calls):
        try:
            chaos.call(int)
        except ConnectionError:
            found.append(number)
    return found


def test_it_strikes_at_its_rate_and_the_same_calls_each_time():
    one, two, other = (struck(Chaos(0.3, fault=ConnectionError, seed=seed)) for seed in (7, 7, 8))
    assert 250 < len(one) < 350
    assert one == two
    assert one != other
    assert len(struck(Chaos(1.0, fault=ConnectionError))) == 1000
    assert struck(Chaos(0, fault=ConnectionError)) == [], "a rate that is turned down to nothing"
    with on(BlockingOnFakeTime(seed=3)):
        by_the_runtime = struck(Chaos(0.3, fault=ConnectionError))
    with on(BlockingOnFakeTime(seed=3)):
        assert struck(Chaos(0.3, fault=ConnectionError)) == by_the_runtime


def test_faults_are_instances_types_or_made():
    error = ConnectionError("the same")
    with pytest.raises(ConnectionError) as caught:
        Chaos(1.0, fault=error).call(int)
    assert (type(caught.value), caught.value.args) == (ConnectionError, error.args)
    with pytest.raises(ConnectionError, match="made"):
        Chaos(1.0, fault=lambda: ConnectionError("made")).call(int)
    with pytest.raises(ConnectionError) as caught:
        Chaos(1.0, fault=ConnectionError).call(int)
    assert caught.value.args == ()
    with pytest.raises(httpx.ConnectError, match="on purpose"):
        Chaos(1.0, fault=httpx.ConnectError).call(int)


def test_a_copy_of_a_fault_has_its_notes_and_shares_none():
    fault = ConnectionError("down")
    fault.add_note("of the fault")
    for _ in range(2):
        with pytest.raises(ConnectionError) as caught:
            Chaos(1.0, fault=fault).call(int)
        assert caught.value.__notes__ == ["of the fault"]
        caught.value.add_note("of this call")
    assert fault.__notes__ == ["of the fault"]


class OfACodeError(Exception):
    """Does not copy: what it is made of is not what it says."""

    def __init__(self, code):
        super().__init__(f"error {code}")


class OfAKeywordError(Exception):
    """Does not copy at all."""

    def __init__(self, message, *, code):
        super().__init__(message)
        self.code = code


class OfItselfError(Exception):
    """Says that it is its own copy."""

    def __copy__(self):
        return self


FAULTS = [
    ConnectionRefusedError(111, "refused"),
    httpx.ConnectError("refused", request=httpx.Request("GET", "http://a")),
    OverloadedError("full", service="a", retry_after=2.0),
    OfACodeError(5),
    OfAKeywordError("x", code=5),
    OfItselfError("x"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_fault_that_is_raised_again_and_again_is_as_new_each_time(fault):
    pipeline = Pipeline(Retry(3, wait=0, on=Exception, budget=False), Chaos(1.0, fault=fault))
    depths = set()
    for _ in range(20):
        with on(BlockingOnFakeTime()):
            error = pipeline.outcome(int).error
        assert type(error) is type(fault)
        assert (str(error), error.args) == (str(fault), fault.args)
        assert len(error.__notes__) == len(error.attempts) == 3
        depths.add(len(traceback.extract_tb(error.__traceback__)))
    assert len(depths) == 1


def test_the_fault_itself_stays_as_it_was_given():
    cause = KeyError("why")
    fault = ConnectionError("on purpose")
    fault.__cause__ = cause
    fault.add_note("by hand")
    error = Pipeline(Retry(2, wait=0, budget=False), Chaos(1.0, fault=fault)).outcome(int).error
    error.add_note("more")
    assert fault.__notes__ == ["by hand"]
    assert error.__notes__ == ["by hand", "attempt 1: ConnectionError", "attempt 2: ConnectionError", "more"]
    assert error.__cause__ is cause
    assert error.__suppress_context__
    assert fault.__traceback__ is None
    assert not hasattr(fault, "attempts")


def test_a_fault_comes_before_the_call_or_after_it():
    calls = []
    for after in (False, True):
        with pytest.raises(ConnectionError):
            Chaos(1.0, fault=ConnectionError, after=after).call(calls.append, after)
    assert calls == [True]


def test_answers_take_the_place_of_the_call_and_corruption_of_its_answer():
    calls = []

    def function():
        calls.append(1)
        return [1, 2, 3]

    assert Chaos(1.0, answer="wrong").call(function) == "wrong"
    assert Chaos(1.0, answer=lambda: ["made"]).call(function) == ["made"]
    assert Chaos(1.0, answer=None).call(function) is None
    assert calls == []
    assert Chaos(1.0, corrupt=lambda reply: reply[:1]).call(function) == [1]


def test_latency_is_waited_for():
    runtime = BlockingOnFakeTime()
    with on(runtime):
        assert Chaos(1.0, latency=2.5).call(int) == 0
        assert runtime.asked == [2.5]
        chaos = Chaos(1.0, latency=(1.0, 3.0), seed=1)
        for _ in range(100):
            chaos.call(int)
    assert 1.0 <= min(runtime.asked[1:]) < 1.2
    assert 2.8 < max(runtime.asked[1:]) <= 3.0
    with on(runtime):
        Chaos(1.0, latency=(1.0, 1.0)).call(int)
    assert runtime.asked[-1] == 1.0


async def test_async_too(anyio_backend):
    runtime = VirtualRuntime()

    async def function():
        return runtime.now()

    with on(runtime):
        assert runtime.run(lambda: Chaos(1.0, latency=2.0).acall(function)) == 1002.0


def test_the_policies_outside_have_to_deal_with_it():
    pipeline = Pipeline(Retry(5, wait=0.0, budget=False), Chaos(0.5, fault=ConnectionError, seed=1))
    failed = 0
    for _ in range(400):
        try:
            pipeline.call(int)
        except ConnectionError:
            failed += 1
    assert failed == pytest.approx(400 / 2**5, abs=8)


def test_it_is_warned_about_unless_it_is_innermost():
    chaos = Chaos(0.5, latency=1.0)
    with pytest.warns(UserWarning, match="chaos is not innermost"):
        Pipeline(chaos, Retry())
    Pipeline(Retry(), chaos, Chaos(0.1, fault=ConnectionError))
    with pytest.warns(UserWarning, match="chaos is not innermost"):
        Pipeline(Pipeline(chaos), CircuitBreaker())


def test_sixty_four_threads_share_one_sequence():
    chaos = Chaos(0.25, fault=ConnectionError, seed=11)
    found = []

    def work():
        found.extend(struck(chaos, 100))

    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(struck(Chaos(0.25, fault=ConnectionError, seed=11), 6400))


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"rate": -0.1, "latency": 1}, "rate"),
        ({"rate": 1.1, "latency": 1}, "rate"),
        ({"rate": math.nan, "latency": 1}, "rate"),
        ({"rate": 0.5}, "fault"),
        ({"rate": 0.5, "fault": "error"}, "fault"),
        ({"rate": 0.5, "fault": KeyboardInterrupt}, "fault"),
        ({"rate": 0.5, "fault": httpx.HTTPStatusError}, "fault"),
        ({"rate": 0.5, "fault": KeyError, "answer": 1}, "answer"),
        ({"rate": 0.5, "answer": None, "corrupt": len}, "corrupt"),
        ({"rate": 0.5, "corrupt": 1}, "corrupt"),
        ({"rate": 0.5, "fault": KeyError, "after": 1}, "after"),
        ({"rate": 0.5, "latency": -1}, "latency"),
        ({"rate": 0.5, "latency": (1, 2, 3)}, "latency"),
        ({"rate": 0.5, "latency": (2.0, 1.0)}, "latency"),
        ({"rate": 0.5, "latency": (1.0, math.inf)}, "latency"),
        ({"rate": 0.5, "latency": 1, "seed": -1}, "seed"),
        ({"rate": 0.5, "latency": 1, "seed": "x"}, "seed"),
    ],
)
def test_bad_arguments_are_named(arguments, argument):
    with pytest.raises(ConfigurationError) as caught:
        Chaos(**arguments)
    assert caught.value.argument == argument
    assert caught.value.expected
    assert "…" in repr(Chaos(0.5, latency=1.0))


@pytest.mark.parametrize("latency", [0, 0.0, (0, 0), (0.0, 0.5), (0.5, 0.5)])
def test_no_time_at_all_is_a_latency(latency):
    least, most = Chaos(1.0, latency=latency).span
    assert least == (0.5 if latency == (0.5, 0.5) else 0.0)
    assert most == (latency[1] if isinstance(latency, tuple) else latency)


def test_the_smallest_seed_is_nought():
    assert Chaos(0.5, fault=ConnectionError, seed=0).draw is not None
    for seed in (-1, 1.5):
        with pytest.raises(ConfigurationError) as caught:
            Chaos(0.5, fault=ConnectionError, seed=seed)
        assert caught.value.argument == "seed"


def test_what_is_drawn_decides():
    for number, strikes in ((0.0, True), (0.29, True), (0.3, False), (0.9, False)):
        assert (Chaos(0.3, latency=2.0).strikes(lambda number=number: number) is not None) is strikes
    numbers = iter([0.1, 0.5])
    assert Chaos(0.3, latency=(1.0, 2.0)).strikes(lambda: next(numbers)) == 1.5
    once = iter([0.1])
    assert Chaos(0.3, latency=1.0).strikes(lambda: next(once)) == 1.0, "nothing more is drawn for a fixed latency"


@pytest.mark.parametrize(
    ("argument", "value", "arguments", "expected"),
    [
        ("latency", (2.0, 1.0), {"latency": (2.0, 1.0)}, "the second not below the first"),
        ("answer", 7, {"fault": ConnectionError, "answer": 7}, "nothing beside fault"),
        ("corrupt", str, {"fault": ConnectionError, "corrupt": str}, "nothing beside fault"),
        ("corrupt", str, {"answer": 1, "corrupt": str}, "nothing beside answer"),
        ("fault", None, {}, "something to do"),
    ],
)
def test_what_cannot_be_done_is_named_with_its_value(argument, value, arguments, expected):
    with pytest.raises(ConfigurationError) as caught:
        Chaos(0.5, **arguments)
    assert (caught.value.argument, caught.value.value) == (argument, value)
    assert expected in caught.value.expected


def test_without_a_latency_nobody_waits_even_for_no_time():
    runtime = BlockingOnFakeTime()
    with on(runtime):
        assert Chaos(1.0, answer=7).call(int) == 7
        assert Chaos(1.0, answer=7, latency=0.0).call(int) == 7
        assert runtime.asked == []
        assert Chaos(1.0, answer=7, latency=0.001).call(int) == 7
    assert runtime.asked == [0.001]
