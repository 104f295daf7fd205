"""``CircuitBreaker`` as what it says it is: a ``pybreaker.CircuitBreaker``, whose calls are guarded by our circuit."""

import math
import pickle

import httpx
import pybreaker
import pytest

from resilience.core.call import Call
from resilience.core.errors import CircuitOpenError, ConfigurationError, DeadlineExceededError, OverloadedError
from resilience.core.outcome import Blame, Sent
from resilience.pipeline import Pipeline
from resilience.policies.breaker import CircuitBreaker
from resilience.policies.hedge import Hedge
from resilience.policies.successions import Balances, policy_after
from resilience.runtimes.blocking import BLOCKING, run_blocking
from resilience.runtimes.entry import deadline
from resilience.runtimes.virtual import VirtualRuntime
from tests.composition.fake_time import BlockingOnFakeTime, on


class Listener(pybreaker.CircuitBreakerListener):
    def __init__(self):
        self.heard = []

    def before_call(self, cb, func, *args, **kwargs):
        self.heard.append(("before_call", func, args, kwargs))

    def success(self, cb):
        self.heard.append(("success",))

    def failure(self, cb, exc):
        self.heard.append(("failure", type(exc)))

    def state_change(self, cb, old_state, new_state):
        assert isinstance(new_state, pybreaker.CircuitBreakerState)
        self.heard.append(("state_change", old_state.name, new_state.name))


def fail(error=ConnectionError):
    raise error


def fine(*args, **kwargs):
    return "reply"


@pytest.fixture
def time():
    with on(BlockingOnFakeTime()) as runtime:
        yield runtime


def trip(breaker):
    for _ in range(breaker.options.consecutive_failures):
        with pytest.raises(ConnectionError):
            breaker.call(fail)
    assert breaker.current_state == "open"


# The surface.


def test_it_is_a_pybreaker():
    breaker = CircuitBreaker(name="payments")
    assert isinstance(breaker, pybreaker.CircuitBreaker)
    assert (breaker.name, breaker.current_state, breaker.fail_counter) == ("payments", "closed", 0)
    breaker.name = "orders"
    assert repr(breaker).startswith("CircuitBreaker(")
    assert "name='orders'" in repr(breaker)


def test_the_call_that_trips_gets_its_own_exception_and_the_next_pybreakers(time):
    breaker = CircuitBreaker(name="payments")
    trip(breaker)
    assert breaker.fail_counter == 0
    with pytest.raises(pybreaker.CircuitBreakerError) as caught:
        breaker.call(fine)
    error = caught.value
    assert isinstance(error, CircuitOpenError)
    assert (error.service, error.retry_after) == ("payments", 1.0)
    assert str(error) == "circuit for payments is open; next probe in 1.0 s"


def test_an_unnamed_circuit_goes_by_the_function(time):
    breaker = CircuitBreaker()
    breaker.open()
    with pytest.raises(CircuitOpenError) as caught:
        breaker.call(fine)
    assert caught.value.service == "fine"
    with pytest.raises(CircuitOpenError) as caught, breaker.calling():
        pytest.fail("admitted")
    assert caught.value.service == "the call"


def test_a_refusals_text_is_true_of_this_refusal():
    # It is kept from one refusal to the next, and must follow whatever it tells of.
    breaker = CircuitBreaker()
    breaker.open()
    told = [
        str(breaker.rejection(wait, operation))
        for wait, operation in ((1.0, "f"), (1.04, "f"), (0.949, "f"), (0.949, "g"), (math.inf, "g"), (0.949, "g"))
    ]
    breaker.half_open()
    told.append(str(breaker.rejection(0.949, "g")))
    breaker.name = "db"
    told.append(str(breaker.rejection(0.949, "g")))
    assert told == [
        "circuit for f is open; next probe in 1.0 s",
        "circuit for f is open; next probe in 1.0 s",
        "circuit for f is open; next probe in 0.9 s",
        "circuit for g is open; next probe in 0.9 s",
        "circuit for g is forced open",
        "circuit for g is open; next probe in 0.9 s",
        "circuit for g is half-open; next probe in 0.9 s",
        "circuit for db is half-open; next probe in 0.9 s",
    ]


def test_rejections_pickle_with_their_fields(time):
    breaker = CircuitBreaker(name="payments")
    breaker.open()
    with pytest.raises(CircuitOpenError) as caught:
        breaker.call(fine)
    copied = pickle.loads(pickle.dumps(caught.value))
    assert type(copied) is CircuitOpenError
    assert isinstance(copied, pybreaker.CircuitBreakerError)
    assert (str(copied), copied.service, copied.retry_after) == (str(caught.value), "payments", 1.0)
    assert (copied.attempts, copied.causes, copied.endpoint) == (caught.value.attempts, (), None)


def test_listeners_hear_what_pybreaker_tells(time):
    listener = Listener()
    breaker = CircuitBreaker(consecutive_failures=2, listeners=[listener])
    assert breaker.call(fine, 1, two=2) == "reply"
    for _ in range(2):
        with pytest.raises(ConnectionError):
            breaker.call(fail)
    with pytest.raises(CircuitOpenError):
        breaker.call(fine)
    time.clock += 1.0
    assert breaker(fine)() == "reply"
    assert listener.heard == [
        ("before_call", fine, (1,), {"two": 2}),
        ("success",),
        ("before_call", fail, (), {}),
        ("failure", ConnectionError),
        ("before_call", fail, (), {}),
        ("state_change", "closed", "open"),
        ("failure", ConnectionError),
        ("state_change", "open", "half-open"),
        ("before_call", fine, (), {}),
        ("state_change", "half-open", "closed"),
        ("success",),
    ]


def test_looking_at_the_state_tells_nobody_anything(time):
    """pybreaker's own `state` would announce the change a second time."""
    listener = Listener()
    breaker = CircuitBreaker(listeners=[listener], consecutive_failures=1)
    trip(breaker)
    heard = list(listener.heard)
    assert breaker.state.name == "open"
    assert isinstance(breaker.state, pybreaker.CircuitOpenState)
    assert listener.heard == heard


def test_by_hand(time):
    listener = Listener()
    breaker = CircuitBreaker(listeners=[listener])
    breaker.open()
    breaker.open()
    breaker.half_open()
    breaker.close()
    breaker.state = str(b"half-open", "ascii")  # equal to our own name for it, not identical
    assert breaker.current_state == "half-open"
    assert breaker.call(fine) == "reply"
    changes = [tuple(states) for kind, *states in listener.heard if kind == "state_change"]
    assert changes == [
        ("closed", "open"),
        ("open", "half-open"),
        ("half-open", "closed"),
        ("closed", "half-open"),
        ("half-open", "closed"),
    ]
    with pytest.raises(ConfigurationError, match="state='ajar'"):
        breaker.state = "ajar"


@pytest.mark.parametrize("since", [9.0, 10.0, 500.0])
@pytest.mark.parametrize("how", ["open", "force_open"])
def test_opened_by_hand_while_open_it_stays_open_for_its_time_from_then_on(time, how, since):
    breaker = CircuitBreaker(open_for=10.0)
    getattr(breaker, how)()
    time.clock += since
    breaker.open()
    time.clock += 9.0
    with pytest.raises(CircuitOpenError) as caught:
        breaker.call(fine)
    assert caught.value.retry_after == 1.0
    time.clock += 1.0
    assert breaker.call(fine) == "reply"


def test_opened_by_hand_while_open_it_waits_out_a_longer_back_off(time):
    breaker = CircuitBreaker(consecutive_failures=1, open_for=1.0, max_open_for=4.0)
    for _ in range(3):
        with pytest.raises(ConnectionError):
            breaker.call(fail)
        wait = breaker.outcome(fine).error.retry_after
        time.clock += wait
    time.clock -= wait
    assert wait > 2.0
    breaker.open()
    assert breaker.outcome(fine).error.retry_after == wait


def test_opened_by_hand_it_stays_open_for_its_time_on_the_clock_it_is_used_on():
    breaker = CircuitBreaker(open_for=5.0, listeners=[Listener()])
    runtime = VirtualRuntime(start=1.0)

    async def reply():
        return "reply"

    with on(runtime):
        assert runtime.run(lambda: breaker.acall(reply)) == "reply"
    breaker.open()  # not within virtual time, but on its clock all the same
    assert breaker._circuit.retry_after(1.0) == 5.0


def test_listeners_come_and_go(time):
    listener, breaker = Listener(), CircuitBreaker()
    breaker.add_listeners(listener)
    assert breaker.listeners == (listener,)
    breaker.call(fine)
    breaker.remove_listener(listener)
    breaker.call(fine)
    assert len(listener.heard) == 2


@pytest.mark.parametrize("moment", ["before_call", "success", "failure", "state_change"])
def test_a_listener_that_raises_keeps_no_permit(time, moment):
    class Raising(Listener):
        pass

    def veto(*args):
        raise PermissionError

    setattr(Raising, moment, veto)
    breaker = CircuitBreaker(listeners=[Raising()])
    breaker._circuit.force("half-open", time.now())
    for function in (fine, fail, fine, fail):
        with pytest.raises((PermissionError, ConnectionError, CircuitOpenError)):
            breaker.call(function)
            raise ConnectionError
        assert not breaker._circuit._probes


def test_before_call_may_refuse_a_probe(time):
    """Announcing half-open and asking for leave happen once the permit is out: it goes back."""

    class Veto(Listener):
        def before_call(self, cb, func, *args, **kwargs):
            raise PermissionError

    breaker = CircuitBreaker(listeners=[Veto()])
    breaker.half_open()
    for _ in range(3):
        with pytest.raises(PermissionError):
            breaker.call(fine)
    assert breaker.current_state == "half-open"


def test_calling_guards_a_block(time):
    listener = Listener()
    breaker = CircuitBreaker(consecutive_failures=2, listeners=[listener])
    with breaker.calling():
        pass
    for _ in range(2):
        with pytest.raises(ConnectionError), breaker.calling():
            fail()
    with pytest.raises(CircuitOpenError), breaker.calling():
        pytest.fail("admitted")
    time.clock += 1.0
    with breaker.calling():
        assert breaker.current_state == "half-open"
    assert breaker.current_state == "closed"
    assert [kind for kind, *_ in listener.heard].count("before_call") == 4


def test_calling_ignores_interrupts(time):
    breaker = CircuitBreaker(consecutive_failures=1)
    with pytest.raises(KeyboardInterrupt), breaker.calling():
        raise KeyboardInterrupt
    assert breaker.current_state == "closed"


def test_calling_blames_a_block_that_hung_until_the_deadline(time):
    class Cancelled(BaseException):
        pass

    breaker = CircuitBreaker(consecutive_failures=1)
    with deadline(1.0), pytest.raises(Cancelled), breaker.calling():
        time.clock += 1.0
        raise Cancelled
    assert breaker.current_state == "open"


async def test_call_async_is_pybreakers_name_for_acall(anyio_backend):
    async def function(number):
        return number

    assert await CircuitBreaker().call_async(function, 4) == 4


def test_pybreakers_settings_may_be_assigned(time):
    breaker = CircuitBreaker(open_for=1.0, max_open_for=2.0)
    assert (breaker.fail_max, breaker.reset_timeout, breaker.success_threshold) == (5, 1.0, 1)
    breaker.fail_max, breaker.reset_timeout, breaker.success_threshold = 2, 8.0, 3
    trip(breaker)
    with pytest.raises(CircuitOpenError) as caught:
        breaker.call(fine)
    assert caught.value.retry_after == 8.0
    time.clock += 8.0
    assert [breaker.call(fine) and breaker.success_counter for _ in range(3)] == [1, 2, 0]
    assert breaker.current_state == "closed"
    for name, value in {"fail_max": 0, "reset_timeout": -1.0, "success_threshold": "many"}.items():
        with pytest.raises(ConfigurationError, match=f"{name}="):
            setattr(breaker, name, value)


def test_a_breaker_described_earlier_assigns_and_overrules_what_is_in_force(time):
    first, latest = CircuitBreaker(open_for=1.0), CircuitBreaker(open_for=30.0, consecutive_failures=7)
    policy_after(first, latest, Balances(0.0))
    assert (first.fail_max, first.reset_timeout, first.success_threshold) == (7, 30.0, 1)
    first.fail_max = 2
    assert (latest.fail_max, latest.reset_timeout) == (2, 30.0)
    first.shadow()
    latest.enable()
    trip(first)
    with pytest.raises(CircuitOpenError) as caught:
        latest.call(fine)
    assert caught.value.retry_after == 30.0


# Whom it blames.


class Metaclass(type):
    pass


class OddError(Exception, metaclass=Metaclass):
    """pybreaker takes an exception class with a metaclass of its own for a predicate that accepts everything."""


@pytest.mark.parametrize(
    ("exclude", "error"),
    [
        (KeyError, KeyError),
        ([LookupError], KeyError),
        (lambda error: "404" in str(error), ValueError("404")),
        ([ValueError, lambda error: isinstance(error, KeyError)], KeyError()),
        (iter([KeyError]), KeyError),
        (OddError, OddError),
        ((404,), httpx.HTTPStatusError("", request=None, response=httpx.Response(404))),
    ],
)
def test_what_is_excluded_says_nothing(time, exclude, error):
    breaker = CircuitBreaker(consecutive_failures=2, exclude=exclude)
    with pytest.raises(ConnectionError):
        breaker.call(fail)
    for _ in range(3):
        with pytest.raises(type(error) if isinstance(error, Exception) else error):
            breaker.call(fail, error)
    assert breaker.fail_counter == 1, "neither a failure nor a success"
    with pytest.raises(ConnectionError):
        breaker.call(fail)
    assert breaker.current_state == "open"


def test_exclusions_come_and_go(time):
    breaker = CircuitBreaker(consecutive_failures=1)
    breaker.add_excluded_exceptions(KeyError, OddError)
    assert breaker.excluded_exceptions == (KeyError, OddError)
    for error in (KeyError, OddError):
        with pytest.raises(error):
            breaker.call(fail, error)
    assert breaker.current_state == "closed"
    assert not breaker.is_system_error(KeyError())
    assert breaker.is_system_error(ValueError())
    breaker.remove_excluded_exception(KeyError)
    with pytest.raises(KeyError):
        breaker.call(fail, KeyError)
    assert breaker.current_state == "open"
    with pytest.raises(ConfigurationError, match="exception="):
        breaker.add_excluded_exception(KeyboardInterrupt)


def test_an_exclusion_that_cannot_read_the_exception_does_not_replace_it(time):
    breaker = CircuitBreaker(exclude=lambda error: error.no_such_field)
    with pytest.raises(ConnectionError):
        breaker.call(fail)
    assert breaker.fail_counter == 1


REQUEST = httpx.Request("GET", "http://service.test/")


def status_error(status):
    return httpx.HTTPStatusError("", request=REQUEST, response=httpx.Response(status, request=REQUEST))


@pytest.mark.parametrize(
    ("error", "blame", "counter"),
    [
        (RuntimeError(), Blame.BAD, 2),
        (httpx.ReadTimeout("", request=REQUEST), Blame.BAD, 2),
        (status_error(503), Blame.BAD, 2),
        (status_error(500), Blame.BAD, 1),  # counts in the ratio alone
        (status_error(404), Blame.GOOD, 0),  # an answer like any other
        (status_error(429), Blame.GOOD, 0),
        (httpx.PoolTimeout("", request=REQUEST), Blame.UNKNOWN, 1),  # our own
        (OverloadedError("full"), Blame.UNKNOWN, 1),
        (ConfigurationError("fn", 1, "a function"), Blame.UNKNOWN, 1),
        (DeadlineExceededError("late"), Blame.BAD, 2),
        (DeadlineExceededError("too late to begin", sent=Sent.NO), Blame.UNKNOWN, 1),
    ],
    ids=repr,
)
def test_whom_it_blames(time, error, blame, counter):
    listener = Listener()
    breaker = CircuitBreaker(consecutive_failures=3, listeners=[listener])
    for raised in (ConnectionError(), error):
        with pytest.raises(type(raised)):
            breaker.call(fail, raised)
    assert breaker.fail_counter == counter
    told = {"success", "failure"} & {listener.heard[-1][0]}
    assert told == {Blame.GOOD: {"success"}, Blame.BAD: {"failure"}, Blame.UNKNOWN: set()}[blame]


def test_nine_500s_in_a_row_open_nothing_and_a_ratio_of_them_does(time):
    breaker = CircuitBreaker()
    for _ in range(9):
        with pytest.raises(httpx.HTTPStatusError):
            breaker.call(fail, status_error(500))
    assert breaker.current_state == "closed"
    with pytest.raises(httpx.HTTPStatusError):
        breaker.call(fail, status_error(500))
    assert breaker.current_state == "open"


@pytest.mark.parametrize(("after", "takes", "state"), [(0.1, 0.15, "closed"), (0.4, 5.0, "open")])
def test_sends_that_lose_a_race_are_blamed_only_if_they_hung(after, takes, state):
    """A healthy function loses half of the races against itself."""
    runtime = VirtualRuntime()
    breaker = CircuitBreaker()
    first = []

    @Pipeline(Hedge(after=after), breaker)
    async def function():
        first.append(1)
        await runtime.sleep(takes if len(first) % 2 else 0.15)

    async def main():
        for _ in range(20):
            if breaker.current_state == "closed":
                await function()
                await runtime.sleep(0.1)

    with on(runtime):
        runtime.run(main)
    assert breaker.current_state == state


def test_a_hedge_is_no_probe(time):
    breaker = CircuitBreaker()
    breaker.half_open()
    call = Call(time, (fine, (), {}), 0.0, operation="fine")
    call.hedging = True

    async def proceed(call):
        return "reply"

    with pytest.raises(CircuitOpenError):
        run_blocking(breaker.around(call, proceed))
    call.hedging = False
    assert run_blocking(breaker.around(call, proceed)) == "reply"
    assert breaker.current_state == "closed"


def test_a_call_that_is_no_functions(time):
    """Somebody's own chain may hold anything in a call: listeners are then told its name."""
    listener = Listener()
    breaker = CircuitBreaker(listeners=[listener])

    async def main():
        async def proceed(call):
            return call.request

        return await breaker.around(Call(BLOCKING, object, 0.0, operation="get_item"), proceed)

    with pytest.raises(StopIteration) as caught:
        main().send(None)
    assert caught.value.value is object
    assert listener.heard[0] == ("before_call", "get_item", (), {})


def test_a_template_makes_circuits_of_its_kind():
    breaker = CircuitBreaker(consecutive_failures=2, open_for=3.0)
    circuit = breaker.fresh(draw=lambda: 0.0)
    assert circuit.options == breaker.options
    assert circuit is not breaker.fresh(draw=lambda: 0.0)


def test_listeners_may_come_from_an_iterator(time):
    listener = Listener()
    breaker = CircuitBreaker(listeners=(it for it in [listener]))
    breaker.call(fine)
    assert breaker.listeners == (listener,)
    assert [what for what, *_ in listener.heard] == ["before_call", "success"]
