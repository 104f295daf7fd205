"""Hedge on virtual time: when it sends, which answer it takes, what it costs, and what becomes of the losers."""

import math
from types import SimpleNamespace

import pytest

import resilience
from resilience.core.call import Call
from resilience.core.errors import CircuitOpenError, ConfigurationError, OverloadedError
from resilience.pipeline import Pipeline
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.budget import RetryBudget
from resilience.policies.bulkhead import Bulkhead
from resilience.policies.hedge import Hedge
from resilience.policies.latencies import quantile
from resilience.policies.policy import Policy
from resilience.policies.retry import Retry
from resilience.policies.timeout import Timeout
from resilience.runtimes.virtual import VirtualCancelled, VirtualRuntime
from tests.composition.fake_time import on


class Script:
    """A function whose n-th call takes so long and comes to that; the last one repeats."""

    def __init__(self, runtime, *steps):
        self.runtime = runtime
        self.steps = list(steps)
        self.began = []
        self.cut = []

    async def __call__(self):
        number = len(self.began)
        took, result = self.steps[min(number, len(self.steps) - 1)]
        self.began.append(self.runtime.now() - 1000.0)
        try:
            await self.runtime.sleep(took)
        except BaseException:
            self.cut.append(number)
            raise
        if isinstance(result, BaseException) or (isinstance(result, type) and issubclass(result, BaseException)):
            raise result
        return result


class Busy:
    status_code = 503

    def __init__(self, **headers):
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def play(policy, *steps):
    """Return what the call came to, when, and the script as it went."""
    runtime = VirtualRuntime()
    script = Script(runtime, *steps)
    with on(runtime):
        try:
            outcome = runtime.run(lambda: policy.acall(script))
        except BaseException as error:
            outcome = error
        ended = runtime.now() - 1000.0
        runtime.advance(100.0)
    return outcome, ended, script


def test_a_second_send_overtakes_a_slow_first_one():
    outcome, ended, script = play(Hedge(after=0.05), (0.5, "slow"), (0.01, "fast"))
    assert outcome == "fast"
    assert ended == pytest.approx(0.06)
    assert script.began == [0.0, pytest.approx(0.05)]
    assert script.cut == [0]


def test_the_first_may_still_win():
    outcome, ended, script = play(Hedge(after=0.05), (0.06, "first"), (0.5, "second"))
    assert (outcome, ended) == ("first", pytest.approx(0.06))
    assert script.cut == [1]


def test_one_send_that_a_retry_leaves_is_enough_and_the_last():
    hedge = Hedge(after=0.05, extra=2, budget=False)
    outcome, _, script = play(Pipeline(Retry(2, budget=False), hedge), (0.5, "slow"), (0.01, "fast"))
    assert (outcome, len(script.began)) == ("fast", 2)
    outcome, _, script = play(Pipeline(Retry(2, budget=False), hedge), (0.5, "slow"), (1.0, "slower"))
    assert (outcome, len(script.began)) == ("slow", 2)


def test_a_quick_answer_is_asked_for_once():
    outcome, _, script = play(Hedge(after=0.05), (0.04, "quick"))
    assert outcome == "quick"
    assert script.began == [0.0]


@pytest.mark.parametrize("failure", [ConnectionError("refused"), Busy()])
def test_a_fast_failure_does_not_win_but_lets_the_next_send_begin(failure):
    outcome, ended, script = play(Hedge(after=0.05), (0.01, failure), (0.02, "reply"))
    assert (outcome, ended) == ("reply", pytest.approx(0.03))
    assert script.began == [0.0, pytest.approx(0.01)]


def test_a_failure_that_repeating_cannot_mend_is_handed_over_at_once():
    outcome, _, script = play(Hedge(after=0.05), (0.01, KeyError("no such")))
    assert isinstance(outcome, KeyError)
    assert len(script.began) == 1


def test_a_failure_waits_for_what_is_still_under_way():
    outcome, ended, _ = play(Hedge(after=0.05), (0.5, "late"), (0.01, KeyError("no such")))
    assert (outcome, ended) == ("late", 0.5)


def test_a_server_that_asks_for_a_pause_gets_no_second_send():
    busy = Busy(retry_after="5")
    outcome, _, script = play(Hedge(after=0.05), (0.01, busy))
    assert outcome is busy
    assert len(script.began) == 1


def test_an_answer_that_is_a_failure_does_not_win():
    outcome, ended, _ = play(Hedge(after=0.05), (0.5, "late"), (0.01, SimpleNamespace(status_code=500, headers={})))
    assert (outcome, ended) == ("late", 0.5)


def test_when_all_fail_the_last_failure_is_raised():
    outcome, _, script = play(Hedge(after=0.05, extra=2), (0.2, ConnectionError("1")), (0.1, ConnectionError("2")))
    assert isinstance(outcome, ConnectionError)
    assert str(outcome) == "1"
    assert len(script.began) == 3


def test_a_rejection_counts_for_less_than_what_happened():
    outcome, _, _ = play(Hedge(after=0.05), (0.2, ConnectionError("refused")), (0.01, OverloadedError("full")))
    assert isinstance(outcome, ConnectionError)
    outcome, _, script = play(Hedge(after=0.05), (0.0, CircuitOpenError("open")))
    assert isinstance(outcome, CircuitOpenError)
    assert len(script.began) == 1


def test_a_rejected_send_is_not_paid_for():
    budget = RetryBudget(0.0, min_per_second=1.0)
    outcome, _, script = play(Hedge(after=0.05, budget=budget), (0.2, "reply"), (0.01, OverloadedError("full")))
    assert outcome == "reply"
    assert len(script.began) == 2
    assert budget.state.balance(1000.0) == 10.0
    play(Hedge(after=0.05, budget=False), (0.2, "reply"), (0.01, OverloadedError("full")))


def test_extra_sends_are_a_share_of_the_calls():
    budget = RetryBudget(0.1, min_per_second=0.0)
    hedge = Hedge(after=0.05, budget=budget)
    sends = sum(len(play(hedge, (0.06, "reply"))[2].began) for _ in range(100))
    assert sends == 110


def test_an_empty_budget_leaves_the_first_send_alone():
    outcome, ended, script = play(
        Hedge(after=0.05, budget=RetryBudget(0.0, min_per_second=0.0)), (0.5, "late"), (0.0, "never")
    )
    assert (outcome, ended, len(script.began)) == ("late", 0.5, 1)


def test_retries_and_hedges_share_one_limit_and_one_budget():
    budget = RetryBudget(0.0, min_per_second=0.2)
    pipeline = Pipeline(Retry(4, budget=budget, wait=0.0), Hedge(after=0.05))
    hedge = pipeline.policies[1]
    assert hedge.state is budget.state
    assert hedge.shares
    outcome, _, script = play(pipeline, (0.06, ConnectionError("down")))
    assert isinstance(outcome, ConnectionError)
    assert len(script.began) == 3, "one and the budget's two"
    pipeline = Pipeline(Retry(3, budget=False, wait=0.0), Hedge(after=0.05, budget=False))
    assert len(play(pipeline, (0.06, ConnectionError("down")))[2].began) == 3
    pipeline = Pipeline(Retry(1, budget=False), Hedge(after=0.05, budget=False))
    assert len(play(pipeline, (0.06, "reply"))[2].began) == 1


def test_retries_further_in_count_too():
    pipeline = Pipeline(Retry(5, wait=0.0, budget=False), Hedge(after=0.05, budget=False), Retry(2, wait=0.0))
    assert len(play(pipeline, (0.06, ConnectionError("down")))[2].began) == 5
    one_by_one = Pipeline(Retry(4, wait=0.0, budget=False), Hedge(after=5.0, budget=False), Retry(2, wait=0.0))
    assert len(play(one_by_one, (0.06, ConnectionError("down")))[2].began) == 4


def test_retries_further_in_that_are_not_needed_count_for_nothing():
    pipeline = Pipeline(Hedge(after=0.05, budget=False), Retry(2, wait=0.0, budget=False))
    assert play(pipeline, (0.5, "slow"), (0.01, "fast"))[0] == "fast"


def test_a_send_that_was_rejected_is_left_to_the_retry_further_out():
    pipeline = Pipeline(Retry(3, wait=0.0, budget=False), Hedge(after=0.05, budget=False))
    down = (0.1, ConnectionError("down"))
    _, _, script = play(pipeline, down, (0.01, OverloadedError("full")), down)
    assert len(script.began) == 3 + 1


def test_budgets_of_its_own_stay():
    own = RetryBudget()
    retry = Retry()
    assert Pipeline(retry, Hedge(after=1, budget=own)).policies[1].state is own.state
    assert Pipeline(retry, Hedge(after=1, budget=False)).policies[1].state is None
    assert not Pipeline(Retry(budget=False), Hedge(after=1)).policies[1].shares
    shared = Pipeline(Retry(budget=own), Hedge(after=1, budget=own)).policies[1]
    assert shared.shares, "or every call would pay in twice"
    assert Hedge(after=1).sharing(None).state is None


class Unrepeatable(Policy):
    async def around(self, call, proceed):
        call.repeatable = False
        return await proceed(call)


def test_what_is_not_repeatable_is_sent_once():
    outcome, _, script = play(Pipeline(Unrepeatable(), Hedge(after=0.05)), (0.5, "reply"))
    assert outcome == "reply"
    assert len(script.began) == 1


def test_nobody_waits_for_a_loser():
    runtime = VirtualRuntime()
    cleaned = []

    async def slow():
        if not cleaned:
            cleaned.append("begun")
            try:
                await runtime.sleep(5.0)
            finally:
                async with runtime.shield():
                    await runtime.sleep(50.0)
                cleaned.append(runtime.now())
        return "fast"

    with on(runtime):
        assert runtime.run(lambda: Hedge(after=0.05).acall(slow)) == "fast"
        assert runtime.now() == pytest.approx(1000.05)
        runtime.advance(100.0)
    assert cleaned == ["begun", pytest.approx(1050.05)]


def test_a_caller_who_is_cut_leaves_when_everything_is_as_before():
    runtime = VirtualRuntime()
    bulkhead = Bulkhead(2)
    pipeline = Pipeline(Hedge(after=0.05), bulkhead)
    left = []

    async def slow():
        try:
            await runtime.sleep(5.0)
        finally:
            async with runtime.shield():
                await runtime.sleep(1.0)

    async def caller():
        try:
            await pipeline.acall(slow)
        finally:
            left.append((runtime.now(), bulkhead.slots.taken))

    with on(runtime):
        task = runtime.spawn(caller)
        runtime.advance(0.1)
        assert bulkhead.slots.taken == 2
        runtime.cancel(task)
        runtime.advance(10.0)
    assert left == [(pytest.approx(1001.1), 0)]
    assert isinstance(task.error, VirtualCancelled)


@pytest.mark.parametrize(("after", "state"), [(0.1, "open"), (0.01, "closed")])
def test_a_loser_that_had_its_time_is_to_blame_and_one_that_had_not_is_not(after, state):
    breaker = CircuitBreaker(consecutive_failures=1)
    calls = []

    class OneCircuitEach(Policy):
        """As in a client: the second send goes to an endpoint with a circuit of its own."""

        async def around(self, call, proceed):
            calls.append(call)
            return await (breaker.around(call, proceed) if len(calls) == 1 else proceed(call))

    outcome, _, _ = play(Pipeline(Hedge(after=after), OneCircuitEach()), (5.0, "hung"), (0.0, "reply"))
    assert outcome == "reply"
    assert breaker.current_state == state
    assert [getattr(call, "lost", False) for call in calls] == [True, False]
    assert [getattr(call, "hedging", False) for call in calls] == [False, True]


def test_a_send_that_stands_in_a_line_is_not_helped_by_another():
    bulkhead = Bulkhead(1, queue=5)
    bulkhead.slots.take()
    runtime = VirtualRuntime()
    script = Script(runtime, (0.0, "reply"))

    async def free():
        await runtime.sleep(0.5)
        bulkhead.slots.give_back()

    with on(runtime):
        runtime.spawn(free)
        assert runtime.run(lambda: Pipeline(Hedge(after=0.05), bulkhead).acall(script)) == "reply"
        runtime.advance(1.0)
    assert script.began == [0.5]
    assert bulkhead.slots.taken == 0


def test_a_failure_beside_a_send_in_a_line_calls_for_no_further_one():
    """It used to be called for without end, and nothing else came to run."""
    bulkhead = Bulkhead(1, queue=5)
    runtime = VirtualRuntime()
    script = Script(runtime, (0.25, ConnectionError), (0.0, "reply"))

    async def in_between():
        await runtime.sleep(0.01)
        await bulkhead.acall(lambda: runtime.sleep(0.5))

    with on(runtime):
        runtime.spawn(in_between)
        assert runtime.run(lambda: Pipeline(Hedge(after=0.1, extra=2), bulkhead).acall(script)) == "reply"
        runtime.advance(1.0)
    assert script.began == [0.0, 0.75]
    assert bulkhead.slots.taken == 0


class Line(Policy):
    """Has the first send wait for so long, and those after it for ever, unless they are turned away."""

    def __init__(self, first, rejection=None):
        self.first, self.rejection = first, rejection
        self.sends = 0

    async def around(self, call, proceed):
        self.sends += 1
        if self.sends > 1 and self.rejection is not None:
            raise self.rejection
        call.queueing = True
        await call.runtime.sleep(self.first if self.sends == 1 else math.inf)
        call.queueing = False
        return await proceed(call)


@pytest.mark.parametrize("rejection", [None, OverloadedError("full")])
def test_whoever_is_cut_while_its_sends_stand_in_a_line_was_never_sent(rejection):
    line = Line(math.inf, rejection)
    first = []

    class Late(Policy):
        """The first send comes to the line only after the second one was made."""

        async def around(self, call, proceed):
            if not first:
                first.append(call)
                await call.runtime.sleep(0.25)
            return await proceed(call)

    outcome, ended, script = play(Pipeline(Timeout(0.5), Hedge(after=0.125), Late(), line), (0.0, "reply"))
    assert isinstance(outcome, OverloadedError)
    assert (ended, line.sends, script.began) == (0.5, 2, [])


def test_a_line_that_ends_as_the_caller_is_cut_has_sent_nothing():
    bulkhead = Bulkhead(1, queue=5)
    bulkhead.slots.take()
    outcome, ended, script = play(Pipeline(Timeout(0.5), Hedge(after=0.125), bulkhead), (0.0, "reply"))
    assert isinstance(outcome, OverloadedError)
    assert (ended, script.began) == (0.5, [])


def test_a_send_that_is_cut_while_it_stands_in_a_line_is_not_paid_for():
    budget = RetryBudget(0.0, min_per_second=1.0)
    line = Line(0.0)
    outcome, _, script = play(Pipeline(Hedge(after=0.125, budget=budget), line), (0.5, "reply"))
    assert (outcome, line.sends, script.began) == ("reply", 2, [0.0])
    assert budget.state.balance(1000.0) == 10.0


def test_interpreter_exits_and_cancellations_of_the_works_own_pass_through():
    outcome, _, script = play(Hedge(after=0.05), (0.2, "never"), (0.01, KeyboardInterrupt()))
    assert isinstance(outcome, KeyboardInterrupt)
    assert script.cut == [0]


def test_it_works_under_a_timeout():
    outcome, ended, script = play(Pipeline(Timeout(1.0), Hedge(after=0.3)), (5.0, "never"))
    assert isinstance(outcome, resilience.DeadlineExceededError)
    assert ended == 1.0
    assert script.began == [0.0, pytest.approx(0.3)]
    assert sorted(script.cut) == [0, 1]


def test_no_send_begins_at_the_deadline():
    outcome, _, script = play(Pipeline(Timeout(0.3), Hedge(after=0.3)), (0.2, "reply"))
    assert outcome == "reply"
    outcome, _, script = play(Pipeline(Timeout(0.3), Hedge(after=0.3)), (5.0, "never"))
    assert isinstance(outcome, resilience.DeadlineExceededError)
    assert len(script.began) == 1


@pytest.mark.parametrize(("deadline", "began"), [(1000.0625, [0.0]), (1000.125, [0.0, 0.0625])])
def test_a_deadline_that_nobody_enforces_is_kept_all_the_same(deadline, began):
    runtime = VirtualRuntime()
    script = Script(runtime, (0.5, "reply"))
    call = Call(runtime, "request", runtime.now(), deadline)
    assert runtime.run(lambda: Hedge(after=0.0625).around(call, lambda _call: script())) == "reply"
    assert script.began == began


def test_the_delay_follows_the_latencies_up_to_its_ceiling():
    hedge = Hedge(after=quantile(0.9, ceiling=1.0))
    assert hedge.delay(1000.0) == 1.0, "nothing is known yet"
    for _ in range(20):
        play(hedge, (0.1, "reply"))
    assert 0.1 <= hedge.delay(1000.0) <= 0.106
    outcome, _, script = play(hedge, (2.0, "late"), (0.01, "reply"))
    assert outcome == "reply"
    assert len(script.began) == 2
    assert 0.1 <= script.began[1] <= 0.106


def test_a_loser_took_as_long_as_it_was_given_at_least():
    hedge = Hedge(after=quantile(0.5, ceiling=1.0), budget=False)
    play(hedge, (9.0, "late"), (0.01, "reply"))
    hedge.latencies.observe(0.01, 1000.0)
    assert hedge.delay(1000.0) < 0.0106, "two of three were that quick"
    hedge = Hedge(after=quantile(0.75, ceiling=2.0), budget=False)
    for _ in range(2):
        play(hedge, (9.0, "late"), (0.01, "reply"))
    assert 2.01 / 1.05 <= hedge.delay(1000.0) <= 2.0, "the other two were slow"


class Replies(Policy):
    """Gives the call something that drops replies, as calls to endpoints have."""

    def __init__(self, runtime):
        self.runtime = runtime
        self.dropped = []

    async def around(self, call, proceed):
        class Discarding(Call):
            __slots__ = ()

            @staticmethod
            async def discard(reply, runtime=self.runtime, dropped=self.dropped):
                await runtime.sleep(0.01)
                dropped.append(reply)

        call.__class__ = Discarding
        return await proceed(call)


class Stubborn:
    """Work that answers although it was cut."""

    def __init__(self, runtime):
        self.runtime = runtime
        self.calls = 0

    async def __call__(self):
        self.calls += 1
        if self.calls == 2:
            return "second"
        try:
            await self.runtime.sleep(10.0)
        except VirtualCancelled:
            return "first, after all"


def test_replies_that_nobody_takes_are_dropped():
    runtime = VirtualRuntime()
    replies = Replies(runtime)
    with on(runtime):
        pipeline = Pipeline(replies, Hedge(after=0.05))
        assert runtime.run(lambda: pipeline.acall(Stubborn(runtime))) == "second"
        runtime.advance(1.0)
        assert replies.dropped == ["first, after all"]
        busy = Busy()
        assert runtime.run(lambda: pipeline.acall(Script(runtime, (0.1, busy), (0.2, "reply")))) == "reply"
        runtime.advance(1.0)
        assert replies.dropped == ["first, after all", busy]
        # Both arrive at the same instant.
        exact = Pipeline(replies, Hedge(after=0.0625))
        assert runtime.run(lambda: exact.acall(Script(runtime, (0.125, "one"), (0.0625, "two")))) in {"one", "two"}
        runtime.advance(1.0)
        assert len(replies.dropped) == 3
        # And where the caller is cut.
        task = runtime.spawn(lambda: pipeline.acall(Script(runtime, (0.04, busy), (9.0, "never"))))
        runtime.advance(1.0)
        runtime.cancel(task)
        runtime.advance(1.0)
        assert task.done
        assert replies.dropped[3:] == [busy]


def test_what_arrives_as_the_caller_is_cut_is_dropped_too():
    runtime = VirtualRuntime()
    replies = Replies(runtime)
    pipeline = Pipeline(replies, Hedge(after=0.0625))

    def cut_at_the_instant_of(script):
        async def cut():
            await runtime.sleep(0.125)
            runtime.cancel(task)

        runtime.spawn(cut)
        task = runtime.spawn(lambda: pipeline.acall(script))
        runtime.advance(1.0)
        return task

    with on(runtime):
        task = cut_at_the_instant_of(Script(runtime, (0.125, "unseen"), (9.0, "never")))
        assert isinstance(task.error, VirtualCancelled)
        assert replies.dropped == ["unseen"]
        task = cut_at_the_instant_of(Script(runtime, (0.125, KeyboardInterrupt()), (9.0, "never")))
        assert isinstance(task.error, VirtualCancelled)
        # A failure has nothing to drop.
        task = cut_at_the_instant_of(Script(runtime, (0.03125, ConnectionError()), (9.0, "never")))
        assert isinstance(task.error, VirtualCancelled)
    assert replies.dropped == ["unseen"]


def test_a_reply_that_arrives_together_with_an_interpreter_exit_is_dropped_too():
    runtime = VirtualRuntime()
    replies = Replies(runtime)
    script = Script(runtime, (0.125, KeyboardInterrupt()), (0.0625, "unseen"))
    with on(runtime), pytest.raises(KeyboardInterrupt):
        runtime.run(lambda: Pipeline(replies, Hedge(after=0.0625)).acall(script))
    runtime.advance(1.0)
    assert replies.dropped == ["unseen"]


def test_a_reply_that_arrives_while_another_is_taken_is_dropped_too():
    class Sneaky(VirtualRuntime):
        """Another thread hands in its answer when the race has just been decided."""

        late = None

        def start(self, work, /):
            if script.began:
                return super().start(work)
            self.late = work()
            script.began.append(0.0)
            return super().start(self.nothing)

        def now(self):
            if len(script.ended) and self._running.name == "main" and self.late is not None:
                late, self.late = self.late, None
                with pytest.raises(StopIteration):
                    late.send(None)
            return super().now()

        @staticmethod
        async def nothing():
            """The work is done elsewhere."""

    class Quick(Script):
        ended = ()

        async def __call__(self):
            if self.ended:
                return "late"
            reply = await super().__call__()
            self.ended = (reply,)
            return reply

    runtime = Sneaky()
    script = Quick(runtime, (0.0, "unused"), (0.0625, "reply"))
    replies = Replies(runtime)
    with on(runtime):
        assert runtime.run(lambda: Pipeline(replies, Hedge(after=0.0625)).acall(script)) == "reply"
    runtime.advance(1.0)
    assert runtime.late is None
    assert replies.dropped == ["late"]


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"after": 0}, "after"),
        ({"after": -1.0}, "after"),
        ({"after": math.nan}, "after"),
        ({"after": math.inf}, "after"),
        ({"after": "1"}, "after"),
        ({"after": 1.0, "extra": 0}, "extra"),
        ({"after": 1.0, "extra": 1.5}, "extra"),
        ({"after": 1.0, "budget": 0.2}, "budget"),
        ({"after": 1.0, "budget": True}, "budget"),
    ],
)
def test_bad_arguments_are_named(arguments, argument):
    with pytest.raises(ConfigurationError) as caught:
        Hedge(**arguments)
    assert caught.value.argument == argument


@pytest.mark.parametrize("q", [0, 1, -0.5, math.nan, "0.9"])
def test_bad_quantiles_are_named(q):
    with pytest.raises(ConfigurationError, match="q="):
        quantile(q, ceiling=1.0)


def test_a_quantile_needs_a_ceiling():
    with pytest.raises(ConfigurationError, match="ceiling"):
        quantile(0.95, ceiling=0)


class LikeThreads(VirtualRuntime):
    """Virtual time whose started work cannot be stopped, as that of threads cannot."""

    def start(self, work, /):
        started = super().start(work)

        class Unstoppable:
            @staticmethod
            def stop():
                """As threads do: nothing."""

            gone = started.gone

        return Unstoppable()


def test_a_send_that_has_not_begun_when_the_race_is_over_is_never_made_and_not_paid_for():
    class Slow(LikeThreads):
        """A machine so busy that a new thread comes to run only after a while."""

        def start(self, work, /):
            async def later():
                await self.sleep(1.0)
                await work()

            return super().start(later if script.began else work)

    runtime = Slow()
    budget = RetryBudget(0.0, min_per_second=1.0)
    script = Script(runtime, (0.125, "reply"))
    with on(runtime):
        assert runtime.run(lambda: Hedge(after=0.0625, budget=budget).acall(script)) == "reply"
        runtime.advance(10.0)
    assert script.began == [0.0]
    assert budget.state.balance(1000.0) == 10.0


def test_a_circuit_inside_hears_at_once_of_a_loser_that_cannot_be_stopped():
    runtime = LikeThreads()
    breakers = [CircuitBreaker(consecutive_failures=1) for _ in range(2)]
    entered = []

    class OneCircuitEach(Policy):
        async def around(self, call, proceed):
            entered.append(call)
            return await breakers[len(entered) - 1].around(call, proceed)

    script = Script(runtime, (500.0, "hung"), (0.0, "reply"))
    with on(runtime), resilience.deadline(1000.0):
        assert runtime.run(lambda: Pipeline(Hedge(after=0.1), OneCircuitEach()).acall(script)) == "reply"
    assert [breaker.current_state for breaker in breakers] == ["open", "closed"]
    assert script.cut == []


def test_a_loser_that_cannot_be_stopped_is_abandoned():
    runtime = LikeThreads()
    script = Script(runtime, (500.0, "hung"), (0.0, "reply"))
    call = Call(runtime, "request", runtime.now())
    sends, abandoned = [], []
    call.abandon = abandoned.append

    async def proceed(branch):
        sends.append(branch)
        return await script()

    assert runtime.run(lambda: Hedge(after=0.1).around(call, proceed)) == "reply"
    assert abandoned == sends[:1]


def test_a_coroutine_that_is_closed_stops_its_sends():
    runtime = VirtualRuntime()
    script = Script(runtime, (500.0, "hung"))

    async def proceed(_call):
        return await script()

    coroutine = Hedge(after=0.1).around(Call(runtime, "request", runtime.now()), proceed)
    coroutine.send(None)
    runtime.advance(0.01)
    coroutine.close()
    runtime.advance(1.0)
    assert script.cut == [0]


def test_what_arrives_before_anybody_waits_is_not_waited_for():
    """Eager tasks run as soon as they are started."""

    class Eager(VirtualRuntime):
        def start(self, work, /):
            coroutine = work()
            with pytest.raises(StopIteration):
                coroutine.send(None)
            return super().start(self.nothing)

        @staticmethod
        async def nothing():
            """It is over already."""

    runtime = Eager()

    async def function():
        return "reply"

    with on(runtime):
        assert runtime.run(lambda: Hedge(after=60.0).acall(function)) == "reply"
    assert runtime.now() == 1000.0
    runtime.advance(0.0)


def test_what_arrives_while_one_makes_ready_to_wait_is_not_waited_for():
    class Sneaky(VirtualRuntime):
        """Another thread hands in its answer just before the caller waits."""

        def start(self, work, /):
            self.work = work
            return super().start(self.nothing)

        def gate(self):
            coroutine = self.work()
            with pytest.raises(StopIteration):
                coroutine.send(None)
            return super().gate()

        @staticmethod
        async def nothing():
            """The work is done elsewhere."""

    runtime = Sneaky()

    async def function():
        return "reply"

    with on(runtime):
        assert runtime.run(lambda: Hedge(after=60.0).acall(function)) == "reply"
    assert runtime.now() == 1000.0
    runtime.advance(0.0)


class NoMoreThreads(VirtualRuntime):
    """A system that can start so many threads."""

    left = 1

    def start(self, work, /):
        if not self.left:
            raise RuntimeError("can't start new thread")
        self.left -= 1
        return super().start(work)


def test_a_second_send_that_cannot_be_started_is_done_without():
    runtime = NoMoreThreads()
    budget = RetryBudget(0.0, min_per_second=1.0)
    script = Script(runtime, (0.2, "reply"))
    with on(runtime):
        budget.state.try_withdraw(1000.0)
        assert runtime.run(lambda: Hedge(after=0.1, budget=budget).acall(script)) == "reply"
        assert budget.state.balance(1000.0) == 9.0, "it is given back, and what somebody else has paid is not"
        with pytest.raises(RuntimeError, match="can't start"):
            runtime.run(lambda: Hedge(after=0.1).acall(script))
        runtime.left = 1
        task = runtime.spawn(lambda: Hedge(after=0.1).acall(script))
        runtime.advance(0.15)
        runtime.cancel(task)
        runtime.advance(1.0)
    assert isinstance(task.error, VirtualCancelled)
    assert script.cut == [1]


def test_a_spare_reply_that_cannot_be_dropped_does_not_take_the_place_of_the_answer():
    runtime = NoMoreThreads()
    runtime.left = 2
    busy = Busy()
    with on(runtime):
        pipeline = Pipeline(Replies(runtime), Hedge(after=0.05))
        assert runtime.run(lambda: pipeline.acall(Script(runtime, (0.1, busy), (0.2, "reply")))) == "reply"
    assert runtime.left == 0


class OfAFile(Policy):
    """Gives the call a body that has one position for all who read it."""

    async def around(self, call, proceed):
        call.shareable = False
        return await proceed(call)


def test_what_cannot_be_read_twice_at_a_time_is_sent_once():
    runtime = VirtualRuntime()
    script = Script(runtime, (0.2, "reply"), (0.0, "never"))
    with on(runtime):
        assert runtime.run(lambda: Pipeline(OfAFile(), Hedge(after=0.1)).acall(script)) == "reply"
    assert len(script.began) == 1
