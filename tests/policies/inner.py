"""What goes on inside a policy under test: rooms that reach verdicts, and functions that fail in each way."""

import httpx

from resilience.core.errors import OverloadedError
from resilience.policies.policy import Policy


class Judged(Policy):
    """An inner room that has reached a verdict, as a client's has."""

    def __init__(self, verdict):
        self.verdict = verdict

    async def around(self, call, proceed):
        call.verdict = self.verdict
        return await proceed(call)


def turned_away():
    raise OverloadedError("inside")


class Odd(httpx.ReadTimeout):
    """A failure that cannot even be judged."""

    @property
    def request(self):
        raise LookupError


def fails():
    raise ConnectionError
