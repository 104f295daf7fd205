"""A policy of one's own, written once for threads, asyncio and trio. Run: ``python examples/own_policy.py``."""

import asyncio
import time

import resilience


class Slow(resilience.Policy):
    """Tell of calls that take longer than `limit` seconds."""

    def __init__(self, limit):
        self.limit = limit

    async def around(self, call, proceed):
        started = call.runtime.now()
        try:
            return await proceed(call)
        finally:
            took = call.runtime.now() - started
            if took > self.limit:
                print(f"{call.operation} took {took:.2f} s")


watched = resilience.Pipeline(Slow(0.05), resilience.Retry())


@watched
def in_a_thread():
    time.sleep(0.1)


@watched
async def in_a_task():
    await asyncio.sleep(0.1)


if __name__ == "__main__":
    in_a_thread()
    asyncio.run(in_a_task())
