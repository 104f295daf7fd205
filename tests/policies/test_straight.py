"""The straight way and the long way are made of the same parts; a part that is not overridden does nothing."""

import pytest

from resilience.pipeline import Pipeline
from resilience.policies.policy import StraightPolicy
from resilience.runtimes.entry import straight_for
from resilience.runtimes.straight import DETOUR


class Plain(StraightPolicy):
    """Overrides nothing."""


class Noting(StraightPolicy):
    """Notes what it is asked, and answers as told."""

    def __init__(self, *, token="token", stands=True, mends=False):
        self.token, self.stands, self.mends = token, stands, mends
        self.asked = []

    def enter(self, call):
        self.asked.append("enter")
        return self.token

    def leave(self, call, token, reply):
        self.asked.append(("leave", token, reply))
        return self.stands

    async def answered(self, call, token, reply, proceed):
        self.asked.append(("answered", token, reply))
        return await super().answered(call, token, reply, proceed)

    async def recover(self, call, token, error, proceed):
        self.asked.append(("recover", token, type(error)))
        return "mended" if self.mends else await super().recover(call, token, error, proceed)

    async def detour(self, call, proceed):
        self.asked.append("detour")
        return await super().detour(call, proceed)


def fails():
    raise KeyError("its own")


def replies():
    return "reply"


async def ways(policy, function):
    """Go the straight way, the long way of threads, and the long way of tasks; return what each came to."""

    async def task():
        return function()

    async def straight():
        return Pipeline(policy)(function)()

    async def long():
        return policy.call(function)

    ends = []
    for way in (straight, long, lambda: policy.acall(task)):
        try:
            ends.append(await way())
        except KeyError as error:
            ends.append(error.args)
    return ends


async def test_parts_that_are_not_overridden_let_a_call_pass(anyio_backend):
    policy = Plain()
    assert straight_for(policy) is not None
    assert await ways(policy, replies) == ["reply"] * 3
    assert await ways(policy, fails) == [("its own",)] * 3


@pytest.mark.parametrize(
    ("options", "function", "end", "asked"),
    [
        ({}, replies, "reply", ["enter", ("leave", "token", "reply")]),
        (
            {"stands": False},
            replies,
            "reply",
            ["enter", ("leave", "token", "reply"), ("answered", "token", "reply")],
        ),
        ({}, fails, ("its own",), ["enter", ("recover", "token", KeyError)]),
        ({"mends": True}, fails, "mended", ["enter", ("recover", "token", KeyError)]),
    ],
)
async def test_every_way_asks_the_same_parts(anyio_backend, options, function, end, asked):
    policy = Noting(**options)
    assert await ways(policy, function) == [end] * 3
    assert policy.asked == asked * 3


@pytest.mark.parametrize(("function", "end"), [(replies, "reply"), (fails, ("its own",))])
async def test_a_detour_is_the_long_way_from_there_inwards(anyio_backend, function, end):
    policy = Noting(token=DETOUR)
    assert await ways(policy, function) == [end] * 3
    # The straight way has asked before it goes the long way, which asks again: `enter` does nothing where it detours.
    assert policy.asked == ["enter", "enter", "detour", "enter", "detour", "enter", "detour"]
