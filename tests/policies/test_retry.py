"""What a caller of a retried function gets, when, and with which notes."""

import copy
import pickle
import socket
from dataclasses import dataclass
from types import SimpleNamespace

import httpx
import pytest
import tenacity

from resilience.core.attempt import AttemptRecord
from resilience.core.call import NEVER, Call, Elsewhere
from resilience.core.errors import (
    CircuitOpenError,
    ConfigurationError,
    DeadlineExceededError,
    NoEndpointsError,
    OverloadedError,
)
from resilience.core.outcome import BAD, GOOD, Blame, Sent, Verdict
from resilience.core.propagation import Inbound, inbound
from resilience.pipeline import Pipeline
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.budget import Budget, RetryBudget
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.policy import Policy
from resilience.policies.retry import Retry, annotate
from resilience.policies.timeout import Timeout
from resilience.runtimes.blocking import run_blocking
from resilience.runtimes.entry import deadline
from resilience.runtimes.virtual import VirtualCancelled, VirtualRuntime
from tests.composition.fake_time import BlockingOnFakeTime, on


@pytest.fixture
def time():
    with on(BlockingOnFakeTime()) as runtime:
        yield runtime


class Script:
    """A function that does one thing after another, and counts."""

    def __init__(self, *steps):
        self.steps = list(steps)
        self.calls = 0

    def __call__(self):
        self.calls += 1
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, BaseException) or (isinstance(step, type) and issubclass(step, BaseException)):
            raise step
        return step


def outcome(policy, function):
    try:
        return policy.call(function)
    except Exception as error:
        return error


# What is repeated.


@pytest.mark.parametrize("error", [ConnectionResetError, BrokenPipeError, TimeoutError, socket.gaierror])
def test_failures_to_reach_somebody_are_repeated(time, error):
    function = Script(error, "reply")
    assert Retry().call(function) == "reply"
    assert function.calls == 2


@pytest.mark.parametrize("error", [FileNotFoundError, PermissionError, ValueError, OSError(28, "No space left")])
def test_other_failures_are_not(time, error):
    function = Script(error)
    assert isinstance(outcome(Retry(), function), (OSError, ValueError))
    assert function.calls == 1


def http_error(kind, method="GET", headers=None):
    return kind("", request=httpx.Request(method, "http://service.test/", headers=headers))


def status_error(status, method="GET", headers=None):
    request = httpx.Request(method, "http://service.test/")
    return httpx.HTTPStatusError("", request=request, response=httpx.Response(status, headers=headers, request=request))


@pytest.mark.parametrize(
    ("error", "repeated"),
    [
        (http_error(httpx.ConnectError), True),
        (http_error(httpx.ReadTimeout), True),
        (http_error(httpx.ReadTimeout, "PUT"), True),
        (http_error(httpx.ReadTimeout, "POST"), False),
        (http_error(httpx.ReadTimeout, "POST", {"Idempotency-Key": "1"}), True),
        (httpx.ReadTimeout("no request known"), True),
        (http_error(httpx.PoolTimeout), False),
        (http_error(httpx.TooManyRedirects), False),
        (status_error(503), True),
        (status_error(503, "POST"), False),
        (status_error(500), False),
        (status_error(404), False),
    ],
    ids=repr,
)
def test_httpx_errors_by_the_clients_own_rule(time, error, repeated):
    function = Script(error, "reply")
    assert outcome(Retry(), function) == ("reply" if repeated else error)


@pytest.mark.parametrize(
    ("listed", "step", "repeated"),
    [
        (KeyError, KeyError, True),
        ((KeyError, ValueError), ValueError, True),
        (KeyError, ConnectionError, False),
        (503, status_error(503), True),
        ((500, 503), status_error(500, "POST"), True),  # asked for, so it is done
        (503, status_error(500), False),
        (lambda outcome: isinstance(outcome, KeyError), KeyError, True),
        (lambda outcome: outcome == "busy", "busy", True),
        (lambda outcome: outcome == "busy", "free", False),
        (lambda reply: reply.busy, ConnectionError, False),  # cannot read an exception: not its business
        ((503,), httpx.Response(503), True),
        ((503,), httpx.Response(500), False),
        ((503,), "no status", False),
    ],
)
def test_what_is_listed(time, listed, step, repeated):
    function = Script(step, "reply")
    outcome(Retry(on=listed), function)
    assert function.calls == 1 + repeated


def test_a_predicate_that_cannot_read_the_result_says_so(time):
    with pytest.raises(AttributeError):
        Retry(on=lambda reply: reply.busy).call(lambda: "reply")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_is_never_repeated(time, error):
    function = Script(error)
    with pytest.raises(error):
        Retry(on=Exception).call(function)
    assert function.calls == 1


# What the caller gets.


def test_the_last_original_exception_with_its_attempts(time):
    errors = [ConnectionError("first"), TimeoutError("second"), ConnectionError("third")]
    error = outcome(Retry(3, wait=0.5), Script(*errors))
    assert error is errors[2]
    assert [(record.number, record.error, record.waited) for record in error.attempts] == [
        (1, "ConnectionError", 0.0),
        (2, "TimeoutError", 0.5),
        (3, "ConnectionError", 0.5),
    ]
    assert error.__notes__ == [
        "attempt 1: ConnectionError",
        "attempt 2: TimeoutError, having waited 0.500 s",
        "attempt 3: ConnectionError, having waited 0.500 s",
    ]
    assert error.__cause__ is None


def test_one_attempt_needs_no_notes(time):
    error = outcome(Retry(), Script(KeyError("x")))
    assert len(error.attempts) == 1
    assert not hasattr(error, "__notes__")


def test_one_exception_that_ends_many_calls_has_the_notes_of_the_latest(time):
    error = ConnectionError("the same each time")
    error.add_note("somebody's own")
    retry = Retry(2, wait=0.5, budget=False)
    for _ in range(50):
        assert outcome(retry, Script(error)) is error
    assert error.__notes__ == [
        "somebody's own",
        "attempt 1: ConnectionError",
        "attempt 2: ConnectionError, having waited 0.500 s",
    ]
    assert len(error.attempts) == 2
    assert outcome(retry, Script(ValueError("first"), error)) is not error
    for _ in range(2):
        with deadline(0.25):
            assert outcome(retry, Script(error)) is error
        assert error.__notes__ == ["somebody's own"], "one attempt needs no notes"


def test_notes_of_a_retry_further_in_stay(time):
    error = ConnectionError("the same each time")
    inner, outer = (Retry(2, wait=wait, budget=False) for wait in (0.5, 0.25))
    for _ in range(5):
        assert outcome(outer, inner(Script(error))) is error
    assert error.__notes__ == [
        "attempt 1: ConnectionError",
        "attempt 2: ConnectionError, having waited 0.500 s",
        "attempt 1: ConnectionError",
        "attempt 2: ConnectionError, having waited 0.250 s",
    ]


def test_notes_travel(time):
    error = outcome(Retry(2, wait=0.0), Script(ConnectionError("down")))
    for there in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert there.__notes__ == error.__notes__
        assert outcome(Retry(2, wait=0.0), Script(there)) is there


def test_the_last_result(time):
    replies = [httpx.Response(503), httpx.Response(503), httpx.Response(503)]
    assert outcome(Retry(3, on=(503,)), Script(*replies)) is replies[2]


@dataclass(frozen=True)
class FrozenError(Exception):
    """Nothing can be put on it."""

    code: int


def test_an_exception_that_takes_no_attributes_is_passed_on_as_it_is(time):
    error = FrozenError(4)
    assert outcome(Retry(on=FrozenError), Script(error)) is error


# Waiting.


def test_waits_grow_with_full_jitter(time):
    time.random = lambda: 1.0
    outcome(Retry(8, budget=False), Script(ConnectionError))
    assert time.asked == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


@pytest.mark.parametrize(
    ("wait", "asked"),
    [
        (0, []),
        (0.25, [0.25, 0.25]),
        (tenacity.wait_incrementing(1, 2), [1.0, 3.0]),
        (tenacity.wait_fixed(1) + tenacity.wait_fixed(2), [3.0, 3.0]),
        (lambda state: state.attempt_number * 10, [10.0, 20.0]),
        (lambda state: -5, []),
        (lambda state: float("nan"), []),
        (tenacity.wait_exception(lambda error: len(str(error))), [4.0, 4.0]),
    ],
)
def test_any_tenacity_wait(time, wait, asked):
    outcome(Retry(3, wait=wait), Script(ConnectionError("four")))
    assert time.asked == asked


@pytest.mark.parametrize(
    ("stop", "calls"),
    [
        (tenacity.stop_after_attempt(2), 2),
        (tenacity.stop_after_attempt(50), 5),
        (tenacity.stop_after_delay(2.5), 4),
        (tenacity.stop_before_delay(2.5), 3),
        (tenacity.stop_after_delay(0.5) | tenacity.stop_after_attempt(4), 2),
        (lambda state: state.outcome.failed and state.idle_for >= 1.0, 2),
    ],
)
def test_any_tenacity_stop(time, stop, calls):
    function = Script(ConnectionError)
    outcome(Retry(5, wait=1.0, stop=stop), function)
    assert function.calls == calls


def test_what_tenacitys_values_are_told(time):
    states = []

    def wait(state):
        states.append((state.attempt_number, state.fn, state.args, state.kwargs, state.seconds_since_start))
        return 1.0

    def function(number, *, name):
        time.clock += 0.5
        return number

    Retry(3, wait=wait, on=lambda reply: reply == 4).call(function, 4, name="x")
    assert states == [(1, function, (4,), {"name": "x"}, 0.5), (2, function, (4,), {"name": "x"}, 2.0)]


def test_what_tenacitys_values_are_told_of_the_latest_attempt(time):
    states = []

    def wait(state):
        states.append((state.outcome.attempt_number, state.outcome.result(), state.idle_for))
        return 1.5

    Retry(4, wait=wait, on=503).call(Script(*(SimpleNamespace(status_code=503, number=it) for it in range(4))))
    assert [(number, reply.number, idle) for number, reply, idle in states] == [(1, 0, 0.0), (2, 1, 1.5), (3, 2, 3.0)]


def test_nothing_waits_when_the_wait_cannot_end_before_the_deadline(time):
    function = Script(ConnectionError)
    with deadline(2.0):
        error = outcome(Retry(5, wait=1.0), function)
    assert isinstance(error, ConnectionError)
    assert time.asked == [1.0]
    assert function.calls == 2


@pytest.mark.parametrize("late", [5.0, 1.0])
def test_a_sleep_that_oversleeps_is_not_followed_by_a_send(time, late):
    async def sleep(seconds):
        time.clock += seconds + late

    time.sleep = sleep
    budget = RetryBudget(0.0, min_per_second=1.0)
    function = Script(ConnectionError)
    with deadline(2.0):
        assert isinstance(outcome(Retry(wait=1.0, budget=budget), function), ConnectionError)
    assert function.calls == 1
    assert budget.state.balance(time.now()) == 10.0, "what was not sent is not paid for"


@pytest.mark.parametrize(
    ("after", "limit", "asked"),
    [
        ("7", 30.0, [7.0]),
        ("30", 30.0, [30.0]),
        ("31", 30.0, []),
        ("31", 60.0, [31.0]),
        ("0", 30.0, [0.5]),
        ("nonsense", 30.0, [0.5]),
    ],
)
@pytest.mark.parametrize("raised", [True, False])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_retry_after_is_a_minimum_and_has_a_maximum(time, after, limit, asked, raised, method):
    error = status_error(503, method, {"Retry-After": after})
    function = Script(error if raised else error.response)
    outcome(Retry(2, wait=0.5, on=503, max_retry_after=limit), function)
    assert time.asked == asked
    assert function.calls == 1 + len(asked)


def test_retry_after_beyond_the_deadline_ends_the_call_now(time):
    function = Script(status_error(429, headers={"retry-after": "5"}))
    with deadline(4.0):
        outcome(Retry(), function)
    assert (time.asked, function.calls) == ([], 1)


# Budget.


def test_an_empty_budget_ends_the_call_with_what_it_had(time):
    budget = RetryBudget(0.5, min_per_second=0.0)
    retry = Retry(3, wait=0.0, budget=budget)
    calls = [Script(ConnectionError) for _ in range(8)]
    for function in calls:
        assert isinstance(outcome(retry, function), ConnectionError)
    assert sum(function.calls for function in calls) == 8 + 4


def test_a_dead_dependency_gets_a_fifth_more_and_the_reserve(time):
    retry = Retry(wait=0.0)
    function = Script(ConnectionError)
    for _ in range(1000):
        outcome(retry, function)
        time.clock += 0.01  # 100 calls/s for ten seconds
    assert 1000 * 1.2 < function.calls <= 1000 * 1.2 + 30


def test_an_empty_budget_is_in_the_notes(time):
    retry = Retry(3, wait=0.0, budget=RetryBudget(0.0, min_per_second=0.1))
    assert outcome(retry, Script(ConnectionError())).__notes__ == [
        "attempt 1: ConnectionError",
        "attempt 2: ConnectionError; not sent again: budget",
    ]
    assert outcome(retry, Script(ConnectionError())).__notes__ == ["attempt 1: ConnectionError; not sent again: budget"]


def test_each_retry_has_its_own_budget_unless_told_otherwise():
    budget = RetryBudget()
    assert Retry().state is not Retry().state
    assert Retry(budget=budget).state is Retry(budget=budget).state is budget.state
    assert Retry(budget=False).state is None
    shared = Budget(budget)
    assert Retry().sharing(shared).state is shared
    assert Retry(budget=budget).sharing(shared).state is budget.state
    assert Retry(budget=False).sharing(shared).state is None
    assert budget.fresh() is not budget.state
    assert Retry() == Retry()


def test_a_caller_who_is_cut_while_it_waits_has_not_paid():
    runtime = VirtualRuntime()
    budget = RetryBudget(0.0, min_per_second=1.0)

    async def function():
        raise ConnectionError

    with on(runtime):
        task = runtime.spawn(lambda: Retry(wait=5.0, budget=budget).acall(function))
        runtime.advance(1.0)
        assert budget.state.balance(runtime.now()) == 9.0
        runtime.cancel(task)
        runtime.advance(0.0)
    assert isinstance(task.error, VirtualCancelled)
    assert budget.state.balance(runtime.now()) == 10.0


# Retries in retries, and around what refuses.


@pytest.mark.parametrize(
    ("outer", "inner", "sends"), [(3, 3, 3), (3, 1, 3), (1, 3, 1), (5, 3, 5), (3, 5, 3), (2, 2, 2)]
)
def test_retries_inside_retries_never_make_more_sends_than_the_outer_may(time, outer, inner, sends):
    function = Script(ConnectionError)
    outcome(Pipeline(Retry(outer, wait=0.0, budget=False), Retry(inner, wait=0.0, budget=False)), function)
    assert function.calls == sends


def test_what_an_inner_retry_did_not_use_is_left_to_the_outer(time):
    function = Script("busy", "busy", "fine")
    busy = Retry(3, wait=0.0, on=lambda reply: reply == "busy", budget=False)
    assert outcome(Pipeline(busy, Retry(5, wait=0.0, budget=False)), function) == "fine"
    assert function.calls == 3


def test_a_circuit_that_opens_between_attempts_leaves_the_original_failure(time):
    breaker = CircuitBreaker(consecutive_failures=2)
    function = Script(ConnectionError("it"))
    error = outcome(Pipeline(Retry(5, wait=0.1), breaker), function)
    assert type(error) is ConnectionError
    assert [record.number for record in error.attempts] == [1, 2]
    assert function.calls == 2


def test_a_circuit_that_opens_between_attempts_leaves_the_last_result(time):
    breaker = CircuitBreaker()

    class Tripping(Policy):
        async def around(self, call, proceed):
            reply = await proceed(call)
            breaker.open()
            return reply

    assert outcome(Pipeline(Retry(on=503), Tripping(), breaker), Script(httpx.Response(503))).status_code == 503


def test_an_open_circuit_is_told_at_once(time):
    breaker = CircuitBreaker()
    breaker.open()
    error = outcome(Pipeline(Retry(on=Exception), breaker), Script("reply"))
    assert isinstance(error, CircuitOpenError)
    assert time.asked == []


def test_a_full_bulkhead_is_asked_again_only_if_told_so(time):
    bulkhead = Bulkhead(1)
    bulkhead.slots.take()
    function = Script("reply")
    assert isinstance(outcome(Pipeline(Retry(wait=1.0), bulkhead), function), OverloadedError)
    assert time.asked == []
    asked_again = Pipeline(Retry(3, wait=1.0, on=OverloadedError), bulkhead)
    assert isinstance(outcome(asked_again, function), OverloadedError)
    assert time.asked == [1.0, 1.0]
    assert function.calls == 0


def test_a_rejection_of_a_retry_never_hides_that_something_was_sent(time):
    """RejectedError means that nothing of the call was sent: it may not be what a call that was sent ends with."""
    bulkhead = Bulkhead(1)

    class Filling(Policy):
        async def around(self, call, proceed):
            try:
                return await proceed(call)
            finally:
                bulkhead.slots.taken = 1

    policy = Pipeline(Retry(4, wait=1.0, on=(ConnectionError, OverloadedError)), Filling(), bulkhead)
    error = outcome(policy, Script(ConnectionError("sent")))
    assert type(error) is ConnectionError
    assert len(error.attempts) == 4


def test_where_nothing_was_ever_sent_the_first_rejection_counts(time):
    errors = [OverloadedError(name) for name in ("first", "second", "third")]
    assert outcome(Retry(3, wait=0.0, on=OverloadedError), Script(*errors)) is errors[0]


def test_who_stands_in_line_when_time_is_up_after_a_failed_send_has_sent_something():
    """However many attempts there were before the time limit that has cut it."""
    runtime = VirtualRuntime()
    bulkhead = Bulkhead(1, queue=5)
    sends = []

    async def function():
        sends.append(runtime.now())
        if len(sends) == 3:
            bulkhead.slots.taken += 1  # somebody else comes in first
        raise ConnectionError

    outer = Retry(5, wait=0.0, on=ConnectionError, budget=False)
    policy = Pipeline(outer, Timeout(2.0), Retry(2, wait=0.0, budget=False), bulkhead)
    with on(runtime), pytest.raises(DeadlineExceededError):
        runtime.run(lambda: policy.acall(function))
    assert len(sends) == 3


def exhausted(policy, function):
    """Tell whether the answer that this call is made for asks not to be sent again."""
    answering = Inbound()
    token = inbound.set(answering)
    try:
        outcome(policy, function)
    finally:
        inbound.reset(token)
    return answering.exhausted


def test_whoever_is_answering_hears_that_it_is_of_no_use_to_ask_again(time):
    breaker = CircuitBreaker()
    breaker.open()
    assert exhausted(Pipeline(Retry(), breaker), Script("reply")), "turned away at once"
    breaker = CircuitBreaker(consecutive_failures=1)
    assert exhausted(Pipeline(Retry(), breaker), Script(ConnectionError)), "turned away when it tried again"
    assert exhausted(Retry(2), Script(ConnectionError)), "out of attempts"
    assert not exhausted(Retry(), Script(KeyError)), "it may well go better for somebody else"


# With endpoints: what a client's calls bring along.


def route(time, policy, replies, *, elsewhere=(), kept=False, **fields):
    """Send one call the way a client does; return its outcome, the call, and what was told and dropped."""
    call = Call(time, None, time.now(), operation="GET web:80")
    call.classify = lambda *_: GOOD
    for name, value in fields.items():
        setattr(call, name, value)
    call.attempts, told, dropped = [], [], []
    answers = list(elsewhere)
    call.elsewhere = lambda _: answers.pop(0) if answers else Elsewhere.NOWHERE
    call.emit = told.append

    async def discard(reply):
        dropped.append(reply)
        return kept  # may it still be handed over, because it was read to its end?

    call.discard = discard

    async def proceed(call):
        reply, call.verdict = replies.pop(0)
        if not isinstance(reply, NoEndpointsError):
            call.attempts.append(reply)
        if isinstance(reply, Exception):
            raise reply
        return reply

    try:
        result = run_blocking(policy.around(call, proceed))
    except Exception as error:
        result = error
    return result, call, told, dropped


AGAIN = Verdict(Blame.BAD, retry=True, sent=Sent.ANSWERED)
UNSENT = Verdict(Blame.BAD, retry=True, sent=Sent.NO)


def test_replies_that_are_not_handed_out_are_dropped(time):
    result, call, told, dropped = route(time, Retry(wait=0.5), [("busy", AGAIN), ("fine", GOOD)])
    assert (result, dropped, time.asked) == ("fine", ["busy"], [0.5])
    assert [(event.operation, event.attempt, event.wait, event.reason) for event in told] == [
        ("GET web:80", 1, 0.5, "result")
    ]
    assert call.why == ""


@pytest.mark.parametrize(("service", "told_as"), [("web:80", "web:80"), ("", "GET web:80")])
def test_the_event_names_the_service_or_else_the_operation(time, service, told_as):
    _, _, (event,), _ = route(time, Retry(), [("busy", AGAIN), ("fine", GOOD)], service=service)
    assert event.service == told_as


def test_a_reply_that_was_looked_at_and_is_fine_is_no_failure(time):
    result, call, *_ = route(time, Retry(on=503), [("fine", GOOD)])
    assert (result, call.why, call.sent) == ("fine", "", 0)


def test_any_stop_counts_the_attempts_at_other_endpoints_too(time):
    retry = Retry(5, stop=tenacity.stop_after_attempt(2))
    _, call, *_ = route(time, retry, [(ConnectionError(), BAD)] * 3, elsewhere=[Elsewhere.READY] * 3)
    assert (len(call.attempts), call.why) == (2, "stop")


def test_the_event_names_status_and_error(time):
    replies = [(httpx.Response(503), AGAIN), (ConnectionError(), BAD), ("fine", GOOD)]
    _, _, told, _ = route(time, Retry(), replies)
    assert [event.reason for event in told] == ["503", "ConnectionError"]


def test_an_endpoint_not_yet_tried_is_not_waited_for(time):
    replies = [(ConnectionError(), BAD), (ConnectionError(), BAD), ("fine", GOOD)]
    result, *_ = route(time, Retry(wait=2.0), replies, elsewhere=[Elsewhere.READY, Elsewhere.NOWHERE])
    assert (result, time.asked) == ("fine", [2.0])


def test_a_send_that_takes_another_ones_place_costs_nothing(time):
    """Nothing was sent, and somebody who answers takes over: no server sees an extra send."""
    budget = RetryBudget(0.0, min_per_second=0.0)
    replies = [(ConnectionError(), UNSENT), ("fine", GOOD)]
    retry = Retry(budget=budget)
    assert route(time, retry, list(replies), elsewhere=[Elsewhere.ANSWERING])[0] == "fine"
    for elsewhere, again in (([Elsewhere.READY], UNSENT), ([], UNSENT), ([Elsewhere.ANSWERING], BAD)):
        result, call, *_ = route(time, retry, [(ConnectionError(), again), ("fine", GOOD)], elsewhere=elsewhere)
        assert isinstance(result, ConnectionError)
        assert call.why == "budget"


@pytest.mark.parametrize(
    ("verdict", "repeatable", "why"),
    [
        (AGAIN, False, "not repeatable"),
        (Verdict(Blame.BAD, retry=False, sent=Sent.NO), True, "final"),
        (Verdict(Blame.BAD, retry=True, sent=Sent.NO, elsewhere=True), True, "no other endpoint"),
        (Verdict(Blame.BAD, retry=True, sent=Sent.NO, retry_after=31.0), True, "retry-after"),
    ],
)
def test_the_record_says_why_it_stopped(time, verdict, repeatable, why):
    error = ConnectionError()
    result, call, *_ = route(time, Retry(), [(error, verdict)], repeatable=repeatable)
    assert (result, call.why) == (error, why)
    assert not hasattr(error, "attempts"), "a client annotates once, for the whole call"


def test_an_only_attempt_is_told_by_a_note_where_there_is_more_to_say():
    (record,) = records = [AttemptRecord(1, None, None, 0.0, "bad")]
    error, untold = ConnectionError(), ConnectionError()
    annotate(error, records, alone=True)
    assert error.__notes__ == ["attempt 1: no answer"]
    annotate(error, records, why="budget")
    assert error.__notes__ == ["attempt 1: no answer; not sent again: budget"]
    annotate(untold, records)
    annotate(untold, [], why="budget")
    assert not hasattr(untold, "__notes__")
    assert error.attempts == (record,)


def test_what_was_never_sent_may_be_sent_again_whatever_it_is(time):
    replies = [(ConnectionError(), UNSENT), ("fine", GOOD)]
    assert route(time, Retry(), replies, repeatable=False)[0] == "fine"


def test_a_dropped_reply_is_not_handed_out_when_the_next_attempt_is_turned_away(time):
    refused = NoEndpointsError("nobody left")
    result, call, _, dropped = route(time, Retry(), [("busy", AGAIN), (refused, None)])
    assert (result, dropped, call.why) == (refused, ["busy"], "rejected: NoEndpointsError")
    result, call, *_ = route(time, Retry(2, on=NoEndpointsError), [("busy", AGAIN), (refused, None)])
    assert (result, call.why) == (refused, "attempts"), "nor when there is no attempt left"


def test_a_rejection_is_not_judged_by_what_the_attempt_before_it_came_to(time):
    error = ConnectionError()
    result, call, *_ = route(time, Retry(5), [(error, BAD), (NoEndpointsError("nobody left"), BAD)])
    assert (result, call.why) == (error, "rejected: NoEndpointsError")


def test_a_reply_that_was_read_to_its_end_is_handed_out_when_the_next_attempt_is_turned_away(time):
    replies = [("busy", AGAIN), (NoEndpointsError("nobody left"), None)]
    assert route(time, Retry(), replies, kept=True)[0] == "busy"


@pytest.mark.parametrize(("kept", "sends"), [(True, 1), (False, 2)])
def test_a_dropped_reply_leaves_no_way_back_from_an_overslept_wait(time, kept, sends):
    async def sleep(seconds):
        time.clock += seconds + 5.0

    time.sleep = sleep
    replies = [("busy", AGAIN), (TimeoutError(), Verdict(Blame.UNKNOWN, retry=False, sent=Sent.NO))]
    result, call, *_ = route(time, Retry(wait=1.0), replies, kept=kept, deadline=time.now() + 2.0)
    assert len(call.attempts) == sends
    assert result == "busy" if kept else isinstance(result, TimeoutError)
    assert call.why == ("deadline" if kept else "final")


def test_an_attempt_that_was_made_and_then_turned_away_ends_with_that(time):
    refused = OverloadedError("full")
    result, *_ = route(time, Retry(), [(ConnectionError(), BAD), (refused, None)])
    assert result is refused


def test_on_adds_to_the_clients_own_rule(time):
    final = Verdict(Blame.BAD, retry=False, sent=Sent.ANSWERED)
    for reply, verdict, sends in ((httpx.Response(500), final, 2), (httpx.Response(503), AGAIN, 2), ("x", final, 1)):
        _, call, *_ = route(time, Retry(2, on=500), [(reply, verdict)] * 2)
        assert len(call.attempts) == sends


@pytest.mark.parametrize("left", [7, NEVER])
def test_sends_left_are_given_back_to_who_is_further_out(time, left):
    call = Call(time, None, 0.0)

    async def proceed(call):
        assert call.sends_left == 2
        return "reply"

    call.sends_left = left
    assert run_blocking(Retry(3).around(call, proceed)) == "reply"
    assert call.sends_left == left


def test_a_timeout_around_retries_in_a_thread_that_is_left_behind():
    """Its deadline stays, although the call itself goes on under another: nothing is sent after it."""
    runtime = BlockingOnFakeTime()
    left_behind = []

    async def limit(seconds, work):
        left_behind.append(work)
        runtime.clock += seconds
        raise TimeoutError

    runtime.limit = limit
    function = Script(ConnectionError)
    with on(runtime):
        with pytest.raises(TimeoutError):
            Pipeline(Timeout(5.0), Retry(10, wait=0.0)).call(function)
        with pytest.raises(ConnectionError):
            run_blocking(left_behind[0]())
    assert function.calls == 1


def test_attempts_that_are_turned_away_are_not_paid_for(time):
    budget = RetryBudget(0.0, min_per_second=1.0)
    breaker = CircuitBreaker(consecutive_failures=1)
    outcome(Pipeline(Retry(5, wait=0.1, budget=budget), breaker), Script(ConnectionError))
    assert budget.state.balance(time.now()) == 10.0
    replies = [(ConnectionError(), BAD), (NoEndpointsError("nobody left"), None)]
    route(time, Retry(5, budget=budget), list(replies))
    assert budget.state.balance(time.now()) == 10.0
    assert isinstance(route(time, Retry(5, budget=False), list(replies))[0], ConnectionError)
    replies = [(ConnectionError(), BAD), (OverloadedError("after an attempt"), None)]
    route(time, Retry(5, budget=budget), replies)
    assert budget.state.balance(time.now()) == 9.0
    replies = [(ConnectionError(), UNSENT), (NoEndpointsError("nobody left"), None)]
    result, *_ = route(time, Retry(5, budget=budget), replies, elsewhere=[Elsewhere.ANSWERING])
    assert isinstance(result, ConnectionError)
    assert budget.state.balance(time.now()) == 9.0, "what was free is not given back either"


def test_what_was_returned_is_in_the_record_of_the_attempts(time):
    answers = [SimpleNamespace(status_code=503, headers={}), SimpleNamespace(status_code=500, headers={})]

    def function():
        if answers:
            return answers.pop(0)
        raise ValueError

    with on(time), pytest.raises(ValueError) as caught:
        Retry(4, wait=0.25, on=(503, 500)).call(function)
    told = [(it.number, it.endpoint, it.waited, it.blame, it.status, it.error) for it in caught.value.attempts]
    assert told == [
        (1, None, 0.0, "bad", 503, None),
        (2, None, 0.25, "bad", 500, None),
        (3, None, 0.25, "bad", None, "ValueError"),
    ]


def test_a_list_of_nothing_is_shown_as_it_was_given():
    with pytest.raises(ConfigurationError, match="at least one") as caught:
        Retry(on=())
    assert (caught.value.argument, caught.value.value) == ("on", ())


def test_what_was_listed_by_an_iterator_stays_listed():
    listing = Retry(on=(kind for kind in (KeyError, 500)), wait=0)
    for policy in (listing, listing.sharing(None), copy.copy(listing)):
        answers = iter([KeyError, None])
        assert policy.call(lambda answers=answers: raises(next(answers)) or "found") == "found"


def raises(kind):
    if kind is not None:
        raise kind
