"""Errors carry fields, travel between processes, and are what the contract says they are."""

import copy
import pickle
import threading

import pybreaker
import pytest

from resilience.core import errors
from resilience.core.attempt import AttemptRecord
from resilience.core.errors import (
    BadAnswerError,
    CircuitOpenError,
    ConfigurationError,
    DeadlineExceededError,
    NoEndpointsError,
    OverloadedError,
    RejectedError,
    ResilienceError,
    require,
)
from resilience.core.outcome import Sent

RECORD = AttemptRecord(1, "10.0.0.1:80", 0.5, 0.0, "bad", error="ReadTimeout")
FIELDS = {
    "service": "web:80",
    "endpoint": "10.0.0.1:80",
    "attempts": (RECORD,),
    "retry_after": 4.2,
    "causes": (ConnectionError("refused"),),
}


class UnpicklableError(Exception):
    def __init__(self):
        super().__init__("it holds a lock")
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    ("kind", "also"),
    [
        (CircuitOpenError, (RejectedError, pybreaker.CircuitBreakerError)),
        (NoEndpointsError, (RejectedError,)),
        (OverloadedError, (RejectedError,)),
        (RejectedError, (ResilienceError,)),
        (DeadlineExceededError, (ResilienceError, TimeoutError)),
        (ConfigurationError, (ResilienceError, ValueError)),
    ],
)
def test_the_tree(kind, also):
    assert all(issubclass(kind, base) for base in also)


@pytest.mark.parametrize(
    "kind", [ResilienceError, RejectedError, CircuitOpenError, NoEndpointsError, OverloadedError, DeadlineExceededError]
)
@pytest.mark.parametrize("through", [lambda it: pickle.loads(pickle.dumps(it)), copy.copy, copy.deepcopy])
def test_all_fields_travel(kind, through):
    error = kind("what happened", **FIELDS)
    error.add_note("attempt 1")
    there = through(error)
    assert type(there) is kind
    assert str(there) == "what happened"
    assert [repr(getattr(there, name)) for name in FIELDS] == [repr(value) for value in FIELDS.values()]
    assert there.__notes__ == ["attempt 1"]


def test_sent_travels():
    assert DeadlineExceededError("late").sent is Sent.MAYBE
    assert pickle.loads(pickle.dumps(DeadlineExceededError("late", sent=Sent.NO))).sent is Sent.NO


def test_what_cannot_travel_is_told_in_words():
    error = ResilienceError("x", causes=[UnpicklableError(), KeyError("k")], attempts=[RECORD, threading.Lock()])
    error.extra = threading.Lock()
    there = pickle.loads(pickle.dumps(error))
    assert [str(cause) for cause in there.causes] == ["UnpicklableError: it holds a lock", "'k'"]
    assert type(there.causes[1]) is KeyError
    assert there.attempts[0] == RECORD
    assert there.attempts[1].startswith("<unlocked")
    assert there.extra.startswith("<unlocked")


def test_a_configuration_error_names_argument_value_and_range():
    error = ConfigurationError("limit", -1, "a whole number from 1")
    assert str(error) == "limit=-1: expected a whole number from 1"
    there = pickle.loads(pickle.dumps(error))
    assert (there.argument, there.value, there.expected) == ("limit", -1, "a whole number from 1")
    assert pickle.loads(pickle.dumps(ConfigurationError("fn", print, "x"))).value is print
    assert "lambda" in pickle.loads(pickle.dumps(ConfigurationError("fn", lambda: 0, "x"))).value


def test_an_error_without_words_says_its_name():
    error = RejectedError("x")
    error.args = ()
    assert str(error) == "RejectedError"


@pytest.mark.parametrize("judge", [lambda value: value > 0, lambda value: value.nothing, lambda value: 1 / 0])
def test_a_requirement_that_cannot_judge_refuses(judge):
    if judge.__code__.co_names == ("nothing",):
        with pytest.raises(AttributeError):
            require("name", "text", "a number", judge)
        return
    with pytest.raises(ConfigurationError):
        require("name", "text", "a number", judge)


def test_every_error_is_of_the_tree():
    found = [it for name, it in vars(errors).items() if name.endswith("Error") and it.__module__ == errors.__name__]
    assert len(found) >= 7
    assert all(issubclass(it, ResilienceError) for it in found)


def test_a_bad_answer_says_which_rule_it_broke_if_anybody_has_said_so():
    assert BadAnswerError("x").why == ""
    assert pickle.loads(pickle.dumps(BadAnswerError("x", why="json"))).why == "json"
