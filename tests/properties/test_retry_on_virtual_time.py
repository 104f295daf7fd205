"""Retry as a whole, on virtual time: whatever the function does, the sends keep every promise."""

import math
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from resilience.core.call import Ambient, ambient
from resilience.core.errors import DeadlineExceededError
from resilience.policies.budget import RetryBudget
from resilience.policies.retry import Retry
from resilience.policies.waits import full_jitter
from resilience.runtimes.entry import deadline
from resilience.runtimes.virtual import VirtualRuntime


@dataclass
class Answer:
    status_code: int
    headers: dict


ANSWERS = st.builds(
    Answer,
    st.sampled_from([200, 404, 429, 500, 503]),
    st.sampled_from([{}, {"retry-after": "0"}, {"retry-after": "2"}, {"retry-after": "90"}]),
)
STEPS = st.tuples(st.sampled_from([0.0, 0.4, 3.0]), st.one_of(st.just(ConnectionError), st.just(KeyError), ANSWERS))


@given(
    script=st.lists(STEPS, min_size=1, max_size=8),
    attempts=st.integers(1, 5),
    limit=st.sampled_from([None, 1.0, 5.0]),
    reserve=st.sampled_from([0.0, 1.0, 3.0]),
    seed=st.integers(0, 3),
)
def test_sends_keep_every_promise(script, attempts, limit, reserve, seed):
    runtime = VirtualRuntime(seed=seed)
    budget = RetryBudget(0.0, min_per_second=reserve / 10)
    retry = Retry(attempts, wait=full_jitter(0.1, 1.0), on=(ConnectionError, 429, 503), budget=budget)
    sends = []
    steps = iter(script)

    @retry
    async def function():
        took, result = next(steps, (0.0, Answer(200, {})))
        sends.append([runtime.now(), None, result])
        await runtime.sleep(took)
        sends[-1][1] = runtime.now()
        if isinstance(result, Answer):
            return result
        raise result

    async def main():
        if limit is None:
            return await function()
        with deadline(limit):
            return await function()

    ambient_token = ambient.set(Ambient(runtime=runtime))
    try:
        outcome = runtime.run(main)
    except (ConnectionError, KeyError, DeadlineExceededError) as error:
        outcome = type(error)
    finally:
        ambient.reset(ambient_token)

    until = math.inf if limit is None else 1000.0 + limit
    assert 1 <= len(sends) <= attempts
    assert len(sends) - 1 <= reserve
    assert runtime.now() <= until
    for (_, ended, result), (began, _, _) in pairwise(sends):
        assert result is ConnectionError or (isinstance(result, Answer) and result.status_code in {429, 503})
        asked = float(result.headers.get("retry-after", 0)) if isinstance(result, Answer) else 0.0
        assert asked <= began - ended <= max(asked, 1.0)
        assert began < until
    last = sends[-1][2]
    assert outcome in (last, DeadlineExceededError)
    assert (outcome is DeadlineExceededError) is (sends[-1][1] is None)
