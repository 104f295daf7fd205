"""Run a scenario again and again, cancelling it at its first suspension, then at its second, and so on to its last."""

import asyncio

import anyio

from resilience.core.call import Ambient, ambient
from resilience.runtimes.virtual import VirtualCancelled, VirtualRuntime


class Stepped:
    """Awaits a story's run, counts how often it suspends, tells it so, and calls `cancel` at the chosen suspension."""

    def __init__(self, story, at, cancel):
        self.story, self.coroutine, self.at, self.cancel = story, story.run(), at, cancel
        self.suspensions = 0

    def __await__(self):
        inner = self.coroutine.__await__()
        resume, value = inner.send, None
        while True:
            try:
                suspended_on = resume(value)
            except StopIteration as stop:
                return stop.value
            self.suspensions += 1
            self.story.suspended()
            if self.suspensions == self.at:
                self.cancel()
            try:
                value = yield suspended_on
                resume = inner.send
            except BaseException as error:
                resume, value = inner.throw, error


async def on_anyio(story, at):
    """Cancel by a cancel scope, as anyio and trio programs do."""
    with anyio.CancelScope() as scope:
        stepped = Stepped(story, at, scope.cancel)
        await stepped
    return stepped.suspensions, scope.cancelled_caught


async def on_asyncio(story, at):
    """Cancel the task itself, as asyncio programs do."""
    steps = []

    async def main():
        steps.append(Stepped(story, at, asyncio.current_task().cancel))
        await steps[0]

    task = asyncio.create_task(main())
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return steps[0].suspensions, task.cancelled()


class SteppedRuntime(VirtualRuntime):
    """Virtual time that counts the steps of all its tasks, and cancels the first task after the chosen one."""

    def __init__(self, story, at):
        super().__init__()
        self.story, self.at, self.steps = story, at, 0
        self.main = self.spawn(story.run)

    def _step(self):
        super()._step()
        self.steps += 1
        self.story.suspended()
        if self.steps == self.at:
            self.cancel(self.main)


def on_virtual_time(story, at):
    """Cancel a task on virtual time."""
    runtime = SteppedRuntime(story, at)
    runtime.main.context.run(ambient.set, Ambient(runtime=runtime))
    runtime.advance(1.0)
    if runtime.main.error is not None and not isinstance(runtime.main.error, VirtualCancelled):
        raise runtime.main.error
    return runtime.steps, runtime.main.error is not None
