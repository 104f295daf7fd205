"""What cannot be meant is refused where it is written, by an error that names argument, value and range."""

import math
import re
import sys
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial

import pybreaker
import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from resilience.balancing.least_request import LeastRequest
from resilience.balancing.peak_ewma import PeakEwma
from resilience.balancing.random import Random
from resilience.balancing.rendezvous import Rendezvous
from resilience.balancing.round_robin import RoundRobin
from resilience.balancing.zones import Zones
from resilience.core.errors import ConfigurationError
from resilience.core.units import seconds, share, whole
from resilience.discovery.static import Static
from resilience.health import App
from resilience.health.ejection import OutlierEjection
from resilience.http.routes import Route
from resilience.http.service import Service
from resilience.pipeline import Pipeline
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.budget import RetryBudget
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.chaos import Chaos
from resilience.policies.guard import Guard
from resilience.policies.keyed import KeyedCircuitBreaker
from resilience.policies.latencies import Quantile, quantile
from resilience.policies.laws import Aimd, Gradient2
from resilience.policies.rate_limit import RateLimit
from resilience.policies.retry import Retry
from resilience.policies.single_flight import SingleFlight
from resilience.policies.throttle import Throttle
from resilience.policies.timeout import Timeout
from resilience.policies.waits import full_jitter
from resilience.registry import NamedPipeline
from resilience.runtimes.entry import deadline
from resilience.server import DeadlineMiddleware, WsgiDeadlineMiddleware


def within(duration):
    with deadline(duration):
        pass


async def later(*_):
    """What it returns is a coroutine, which is true, and no number."""


NO_NUMBERS = ["1", b"1", None, [1], {}, object(), True, 1j]
NO_DURATIONS = [-1.0, -1, -0.001, math.nan, -math.inf, 10**400, timedelta(seconds=-1), *NO_NUMBERS]
NOT_POSITIVE = [0, 0.0, timedelta(0), *NO_DURATIONS]
NO_COUNTS = [0, -1, 1.0, 1.5, math.nan, math.inf, 10**400, *NO_NUMBERS]
NO_RATIOS = [math.nan, math.inf, 10**400, Decimal("0.9"), Fraction(1, 2), *NO_NUMBERS]
"""No floats to count with: where one of these got in, it was a call that failed of it."""
NO_SHARES = [0, -0.1, 1.1, math.nan, math.inf, *NO_NUMBERS]

REFUSED = {
    (Timeout, "seconds"): [math.inf, *NOT_POSITIVE],
    (within, "seconds"): [math.inf, *NOT_POSITIVE],
    (Retry, "max_attempts"): NO_COUNTS,
    (Retry, "wait"): [later, *NO_DURATIONS, math.inf, tenacity.wait_fixed],
    (Retry, "stop"): [later, 5, "never", tenacity.stop_after_attempt],
    (Retry, "on"): [
        (),
        [],
        99,
        600,
        503.0,
        "503",
        b"503",
        object(),
        True,
        int,
        later,
        [KeyError, partial(later, 1)],
        KeyboardInterrupt,
        ["503"],
        [None],
        [int],
    ],
    (Retry, "max_retry_after"): NO_DURATIONS,
    (Retry, "budget"): [True, 0.2, 0, "none", RetryBudget, RetryBudget().state],
    (RetryBudget, "ratio"): [-0.1, 1000.1, *NO_RATIOS],
    (RetryBudget, "min_per_second"): [-1, 1e7, *NO_RATIOS],
    (RetryBudget, "ttl"): [math.inf, *NOT_POSITIVE],
    (Bulkhead, "limit"): NO_COUNTS,
    (CircuitBreaker, "failure_ratio"): NO_SHARES,
    (CircuitBreaker, "minimum_calls"): NO_COUNTS,
    (CircuitBreaker, "window"): [math.inf, *NOT_POSITIVE],
    (CircuitBreaker, "consecutive_failures"): NO_COUNTS,
    (CircuitBreaker, "open_for"): [math.inf, *NOT_POSITIVE],
    (CircuitBreaker, "max_open_for"): [math.inf, *NOT_POSITIVE, 0.5],  # below open_for
    (CircuitBreaker, "probes"): NO_COUNTS,
    (CircuitBreaker, "exclude"): [
        later,
        5,
        "all",
        b"",
        object(),
        int,
        [int],
        [None],
        KeyboardInterrupt,
        [BaseException],
    ],
    (CircuitBreaker, "listeners"): [5, None, object(), [object()], pybreaker.CircuitBreakerListener(), [print]],
    (CircuitBreaker, "name"): [5, b"name", ["name"]],
    (Aimd, "backoff"): [0.4, 1.0, *NO_RATIOS],
    (Aimd, "most"): NO_COUNTS,
    (Gradient2, "tolerance"): [0.9, *NO_RATIOS],
    (Gradient2, "queue"): [-1, 1.5, 10**400, *NO_NUMBERS],
    (Throttle, "k"): [1, 101, *NO_RATIOS],
    (RateLimit, "rate"): [0, -1, 1e7, 1e-309, *NO_RATIOS],
    (full_jitter, "base"): [math.inf, *NOT_POSITIVE],
    (full_jitter, "cap"): [math.inf, *NOT_POSITIVE, 0.01],  # below base
}
EACH = [(make, name, value) for (make, name), values in REFUSED.items() for value in values]


def label(it):
    """The same in every process: without addresses."""
    return getattr(it, "__name__", None) or re.sub(r" (object )?at 0x\w+", "", repr(it))[:40]


@pytest.mark.parametrize(("make", "name", "value"), EACH, ids=label)
def test_refused(make, name, value):
    with pytest.raises(ConfigurationError) as caught:
        make(value) if make is within else make(**{name: value}) if make is not Bulkhead else make(value)
    error = caught.value
    assert isinstance(error, ValueError)
    assert error.argument == name
    assert error.expected
    assert str(error).startswith(f"{name}=")
    assert f": expected {error.expected}" in str(error)


class Array:
    """As numpy's arrays of no dimensions are: comparisons answer with another, and there is nothing to iterate over."""

    __hash__ = None

    def __le__(self, other):
        return self

    __lt__ = __ge__ = __gt__ = __eq__ = __ne__ = __le__

    def __iter__(self):
        raise TypeError("iteration over a 0-d array")


NO_REALS = [Decimal("0.9"), Array(), "1", None, math.nan, 10**400, [1]]
IN_RANGES = [
    (RetryBudget, "ratio"),
    (RetryBudget, "min_per_second"),
    (Aimd, "backoff"),
    (Gradient2, "tolerance"),
    (Throttle, "k"),
    (RateLimit, "rate"),
    (lambda q: quantile(q, ceiling=1), "q"),
]


@pytest.mark.parametrize(("make", "name"), IN_RANGES, ids=[name for _, name in IN_RANGES])
@pytest.mark.parametrize("value", NO_REALS, ids=label)
def test_what_does_not_go_together_with_floats_is_no_number(make, name, value):
    with pytest.raises(ConfigurationError) as caught:
        make(**{name: value})
    assert caught.value.argument == name


@pytest.mark.parametrize("check", [seconds, whole])
def test_a_policy_above_a_function_without_parentheses_is_told_how_it_is_written(check):
    with pytest.raises(ConfigurationError, match=r"above a function a policy is written with parentheses: @Retry\(\)"):
        check("limit", print)
    with pytest.raises(ConfigurationError) as caught:
        check("limit", -1)
    assert "parentheses" not in str(caught.value)


def test_the_largest_and_the_least_are_taken():
    assert RateLimit(1, burst=10**15).burst == 10**15
    assert RateLimit(6e-309).call(int) == 0
    assert Rendezvous(bounded_load=sys.float_info.max).bounded_load == sys.float_info.max
    Static([("10.0.0.1:80", sys.float_info.max)])


OTHERS = [
    (lambda it: RateLimit(1, burst=it), "burst", [0, 1.5, 10**15 + 1, 10**400]),
    (lambda it: Rendezvous(bounded_load=it), "bounded_load", [10**400, 0.5, math.nan]),
    (lambda it: Rendezvous(header=it), "header", ["", "gr\u00f6\u00dfe", "x y", "\ud800", 5]),
    (lambda it: Rendezvous(cookie=it), "cookie", ["", " ", 5]),
    (lambda it: Static([("10.0.0.1:80", it)]), "addresses", [10**400, 0, math.inf]),
    (lambda it: Service(overprovisioning=it), "overprovisioning", [10**400, math.inf, math.nan]),
    (lambda it: Guard(status=it), "status", [[[200]], [Array()], Array(), [{}], []]),
    (lambda it: Guard(content_type=it), "content_type", [Array(), []]),
    (lambda it: Retry(on=it), "on", [Array()]),
    (lambda it: CircuitBreaker(exclude=it), "exclude", [Array()]),
    (lambda it: Zones("a", str, it), "inner", ["round_robin", 5]),
    *((lambda it, make=make: make(draw=it), "draw", [42, "seed", None]) for make in (RoundRobin, Random, LeastRequest)),
    (lambda it: PeakEwma(draw=it), "draw", [42]),
    (lambda it: Rendezvous(draw=it), "draw", [42]),
    (lambda it: Zones("a", str, draw=it), "draw", [42]),
    (lambda it: Route(to="a", mirror=it), "mirror", ["no", 1, None]),
    (lambda it: Route(to="a", sticky=it), "sticky", ["gr\u00f6\u00dfe", "x y", 5]),
    (lambda it: Route(to="a", header=it), "header", ["gr\u00f6\u00dfe", {"x y": "*"}, 5]),
    (lambda it: Route(to="a", method=it), "method", [Array(), [], 5]),
    (lambda it: NamedPipeline(it, Pipeline()), "name", [5, ""]),
    (lambda it: NamedPipeline("a", it), "current", [5, Retry()]),
    (DeadlineMiddleware, "app", [None, 5]),
    (WsgiDeadlineMiddleware, "app", [None, 5]),
    (App, "app", [5]),
    (lambda it: App(started=it), "started", ["no"]),
    (lambda it: App(requires=it), "requires", [["web"], "web", 5]),
    (lambda it: App(about=it), "about", ["x", 5]),
]


@pytest.mark.parametrize(
    ("make", "name", "values"), OTHERS, ids=[f"{name}{at}" for at, (_, name, _) in enumerate(OTHERS)]
)
def test_what_would_fail_at_the_first_call_is_refused(make, name, values):
    for value in values:
        with pytest.raises(ConfigurationError) as caught:
            make(value)
        assert caught.value.argument == name


@pytest.mark.parametrize("queue", [-1, 1.5, math.nan, *NO_NUMBERS], ids=label)
def test_a_queue_is_refused(queue):
    with pytest.raises(ConfigurationError, match="queue="):
        Bulkhead(1, queue=queue)


def test_functions_that_nobody_awaits_are_refused(monkeypatch):
    monkeypatch.setenv("RESILIENCE_CHAOS", "1")
    for make, argument in (
        (lambda: Bulkhead(1, priority=later), "priority"),
        (lambda: KeyedCircuitBreaker(later), "key"),
        (lambda: SingleFlight(key=later), "key"),
        (lambda: Rendezvous(key=later), "key"),
        (lambda: Route(to="a", sticky=later), "sticky"),
        (lambda: Chaos(1.0, fault=later), "fault"),
        (lambda: Chaos(1.0, answer=later), "answer"),
        (lambda: Chaos(1.0, corrupt=later), "corrupt"),
    ):
        with pytest.raises(ConfigurationError, match=f"{argument}=.*expected .*a plain function"):
            make()


def test_the_value_is_the_one_that_was_written():
    for value in ("503", [KeyError, "503"]):
        with pytest.raises(ConfigurationError) as caught:
            Retry(on=value)
        assert caught.value.value == "503"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Timeout(1e300),
        lambda: Timeout(timedelta(milliseconds=5)),
        lambda: Retry(1, wait=0, max_retry_after=math.inf),
        lambda: Retry(wait=timedelta(seconds=1), max_retry_after=timedelta(0)),
        lambda: Retry(wait=tenacity.wait_fixed(1) + full_jitter(), stop=tenacity.stop_after_delay(3)),
        lambda: Retry(wait=lambda state: 0.5, stop=lambda state: False),
        lambda: Retry(on=range(500, 600)),
        lambda: Retry(on=(ConnectionError, 503, lambda outcome: False)),
        lambda: Retry(budget=False),
        lambda: RetryBudget(0, min_per_second=0, ttl=1e-300),
        lambda: CircuitBreaker(window=1e-300, open_for=1e-300, max_open_for=1e300),
        lambda: CircuitBreaker(exclude=(), listeners=(), name=None),
        lambda: CircuitBreaker(failure_ratio=1),
        lambda: Bulkhead(1, queue=0),
    ],
)
def test_accepted(make):
    make()


ANYTHING = st.one_of(
    st.floats(), st.integers(), st.none(), st.text(max_size=3), st.booleans(), st.timedeltas(), st.complex_numbers()
)


@given(ANYTHING, st.booleans(), st.booleans())
def test_a_duration_is_a_number_in_its_range_or_refused(value, zero, infinite):
    try:
        number = seconds("argument", value, zero=zero, infinite=infinite)
    except ConfigurationError as error:
        assert error.argument == "argument"  # noqa: PT017 - one of two answers
        return
    assert isinstance(number, float)
    assert number > 0 or (zero and number == 0)
    assert infinite or not math.isinf(number)


@given(ANYTHING, st.booleans())
def test_a_share_is_a_number_in_its_range_or_refused(value, zero):
    try:
        number = share("argument", value, zero=zero)
    except ConfigurationError:
        return
    assert isinstance(number, float)
    assert 0 < number <= 1 or (zero and number == 0)


@given(ANYTHING, st.integers(0, 3))
def test_a_count_is_a_whole_number_in_its_range_or_refused(value, least):
    try:
        number = whole("argument", value, least=least)
    except ConfigurationError:
        return
    assert type(number) is int
    assert number >= least


@given(st.floats(min_value=1e-300, max_value=1e300), st.floats(min_value=0, max_value=1e12))
def test_no_window_and_no_ttl_is_too_small_or_too_large_to_count_in(width, now):
    breaker = CircuitBreaker(window=width)
    circuit = breaker.fresh(draw=lambda: 0.5)
    assert circuit.counts(now) == (0, 0)
    budget = RetryBudget(ttl=width, min_per_second=1.0 / width if width >= 1e-6 else 1e6)
    budget.state.deposit(now)
    assert budget.state.balance(now) >= 0


ALLOWED = [
    (RetryBudget, {"ratio": 0}),
    (RetryBudget, {"ratio": 1000}),
    (RetryBudget, {"min_per_second": 0}),
    (RetryBudget, {"min_per_second": 1e6}),
    (Aimd, {"backoff": 0.5}),
    (Aimd, {"initial": 7, "least": 7, "most": 7}),
    (Gradient2, {"tolerance": 1}),
    (Gradient2, {"tolerance": 100}),
    (Gradient2, {"queue": 0}),
    (Throttle, {"k": 100}),
    (RateLimit, {"rate": 1e6}),
    (OutlierEjection, {"jitter": 0}),
    (OutlierEjection, {"jitter": 1}),
    (Guard, {"status": 100}),
    (Guard, {"status": 599}),
    (Retry, {"on": 100}),
    (Retry, {"on": 599}),
]


@pytest.mark.parametrize(("make", "arguments"), ALLOWED, ids=label)
def test_the_ends_of_a_range_belong_to_it(make, arguments):
    made = make(**arguments)
    assert {name: getattr(made, name) for name in arguments} == arguments


@pytest.mark.parametrize(
    ("make", "name", "arguments"),
    [
        (RetryBudget, "min_per_second", {"min_per_second": 1000000.5}),
        (Gradient2, "tolerance", {"tolerance": 100.5}),
        (Aimd, "most", {"most": 0}),
        (Aimd, "most", {"most": 20.5}),
        (RateLimit, "rate", {"rate": 1000000.5}),
        (RateLimit, "burst", {"rate": 1, "burst": 10**400}),
        (Zones, "networks", {"local": "a", "networks": {}}),
        (Zones, "callers", {"local": "a", "networks": str, "callers": 0}),
        (Zones, "minimum", {"local": "a", "networks": str, "minimum": 0}),
        (Quantile, "ceiling", {"q": 0.5, "ceiling": 0}),
    ],
    ids=label,
)
def test_just_beyond_them_is_refused_by_name(make, name, arguments):
    with pytest.raises(ConfigurationError) as caught:
        quantile(arguments["q"], ceiling=arguments["ceiling"]) if make is Quantile else make(**arguments)
    assert caught.value.argument == name
