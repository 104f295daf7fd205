"""Run a scenario again and again, cancelling it at its first suspension, then at its second, and so on to its last."""

import asyncio

import anyio

from resilience.core.call import Ambient, ambient
from resilience.runtimes.stepping import Stepped
from resilience.runtimes.virtual import VirtualCancelled, VirtualRuntime


def stepped(story, at, cancel):
    """Await a story's run, telling it each suspension."""

    def seen():
        story.suspended()  # looked up each time: a story may change it on its way

    return Stepped(story.run(), at, cancel, seen)


async def on_anyio(story, at):
    """Cancel by a cancel scope, as anyio and trio programs do."""
    with anyio.CancelScope() as scope:
        running = stepped(story, at, scope.cancel)
        await running
    return running.suspensions, scope.cancelled_caught


async def on_asyncio(story, at):
    """Cancel the task itself, as asyncio programs do."""
    steps = []

    async def main():
        steps.append(stepped(story, at, asyncio.current_task().cancel))
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
